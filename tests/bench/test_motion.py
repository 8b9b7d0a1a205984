import json
import sys

import numpy as np
import pytest

from nextpyp_nb.bench import motion, motion_sets, report
from nextpyp_nb.bench.cost import run_measured


def tiny(**column):
    size = {"height": 384, "width": 448, "frames": 8, "drift": 8.0, "local_motion": 0.0}
    return motion_sets.MotionSet(name="tiny", labels=("good",), formats=("mrc", "tiff"), column=size | column)


def test_each_format_is_measured_against_the_truth(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(motion.SETS, "tiny", tiny(law="jerk"))
    out = tmp_path / "b.json"
    assert motion.bench_motion(sets=["tiny"], laws=[], seeds=[3, 4], against=None, out=out) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["seed"], row["format"]) for row in rows[:4]] == [
        (3, "mrc"), (3, "tiff"), (4, "mrc"), (4, "tiff")
    ]  # fmt: skip
    assert all(row["missing"] == 0 and row["global_px"][0] < 0.6 for row in rows[:4])
    assert rows[0]["global_px"] == rows[1]["global_px"]
    assert all(0.05 < row["peak_GB"] < 5 and row["cpu_s"] > 0.1 for row in rows[:4])
    both = rows[4]
    assert both["seed"] == "all"
    assert both["cpu_s"] == pytest.approx(rows[0]["cpu_s"] + rows[2]["cpu_s"])
    assert "global median px" in capsys.readouterr().out


def test_both_formats_hold_the_same_movie(tmp_path):
    from nextpyp_nb.formats.frames import read_frames

    motion_sets.expose(tiny(), 3, tmp_path)
    frames = read_frames(tmp_path / "mrc" / "mov_0001.mrc")
    counts = read_frames(tmp_path / "tiff" / "mov_0001.tiff")
    np.testing.assert_array_equal(frames, np.minimum(counts, 127))


def test_a_movie_without_a_result_counts_as_uncorrected(tmp_path):
    motion_sets.expose(tiny(), 3, tmp_path)
    errors = motion._errors(tmp_path, tmp_path / "nothing")
    assert errors["missing"] == 1
    assert errors["global_median_px"] > 1


def test_laws_choose_among_the_sets_and_nothing_left_is_said():
    with pytest.raises(ValueError, match="no set of jerk follows the law walk"):
        motion.bench_motion(sets=["jerk"], laws=["walk"], seeds=[1], against=None, out=None)


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match="no set huge; expected some of s1, exponential"):
        motion.bench_motion(sets=["huge"], laws=[], seeds=[], against=None, out=None)


def test_a_missing_peer_is_said(monkeypatch):
    monkeypatch.setattr(report.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="is not on PATH"):
        motion.bench_motion(sets=[], laws=[], seeds=[], against="relion", out=None)


def test_the_peak_memory_of_a_program_is_seen_behind_another_that_started_it():
    held = "import time; a = bytearray(300 << 20); time.sleep(0.2)"
    assert run_measured(["sh", "-c", f"{sys.executable} -c '{held}'; true"])["peak_GB"] > 0.3


def test_the_peak_memory_is_that_of_the_program():
    cost = run_measured([sys.executable, "-c", "import time; a = bytearray(300 << 20); time.sleep(0.2)"])
    small = run_measured([sys.executable, "-c", "import time; time.sleep(0.2)"])
    assert 0.29 < cost["peak_GB"] < 0.4
    assert small["peak_GB"] < 0.05
