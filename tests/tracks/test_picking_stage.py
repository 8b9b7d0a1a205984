"""Picks of the session: thresholds that move, imports, and plug-ins that work, fail or hang."""

import sys
import time

import numpy as np
import pytest

from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks import picking_stage
from nextpyp_nb.tracks.pick_plugin import run_plugin

GOOD = (
    "def pick(micrograph, pixel_size):\n    return [[3, 4], [micrograph.shape[0], pixel_size]], [1.0, 2.0]\n"
)


@pytest.fixture
def places(tmp_path):
    average = np.random.default_rng(1).normal(size=(300, 400)).astype(np.float32)
    y, x = np.ogrid[:300, :400]
    for cy, cx in ((80, 90), (80, 250), (200, 120), (200, 300)):
        average -= 3.0 * (np.hypot(y - cy, x - cx) < 20)
    places = Places(tmp_path, "m")
    places("average").parent.mkdir()
    write_mrc(places("average"), average, pixel_size=2.5)
    return places


def pick(places, key="k", **values):
    settings = Settings.from_flat({"picking.radius": 50} | {f"picking.{k}": v for k, v in values.items()})
    average = np.array(picking_stage.read_mrc(places("average"))[0], np.float32)
    row = picking_stage.find_particles(average, 2.5, None, places, settings, {"ctf_key": key})
    return row, np.load(places("picks"))


def test_a_moved_threshold_picks_nothing_again(places, monkeypatch):
    first, stored = pick(places)
    scores = stored["candidate_scores"]
    middle = float(scores[:3].mean())
    search = picking_stage.find_candidates
    monkeypatch.setattr(picking_stage, "find_candidates", None)
    moved, higher = pick(places, threshold=middle)
    assert moved["particles"] == len(higher["centres"]) == (scores > middle).sum() > 0
    assert pick(places, method="all")[0]["particles"] == len(scores)
    again, same = pick(places)
    assert again == first
    np.testing.assert_array_equal(same["centres"], stored["centres"])
    monkeypatch.setattr(picking_stage, "find_candidates", search)
    fresh, there = pick(places, key="other", threshold=middle)
    assert fresh == moved
    np.testing.assert_array_equal(there["centres"], higher["centres"])


@pytest.mark.parametrize("change", [{"radius": 40}, {"key": "other"}, {"distance": 90.0}])
def test_what_the_candidates_depend_on_picks_again(places, monkeypatch, change):
    pick(places)
    monkeypatch.setattr(picking_stage, "find_candidates", None)
    with pytest.raises(TypeError, match="not callable"):
        pick(places, **change)


def test_imported_picks_are_all_taken_until_a_threshold_is_set(places, tmp_path):
    (tmp_path / "p.csv").write_text("micrograph,x,y,score\nm_DW.mrc,10,20,-1\nm_DW.mrc,30,40,5\n")
    row, stored = pick(places, method="import", source=str(tmp_path / "p.csv"))
    assert row["particles"] == 2
    np.testing.assert_allclose(stored["centres"], [[40, 30], [20, 10]])
    assert pick(places, method="import", source=str(tmp_path / "p.csv"), threshold=0)[0]["particles"] == 1


def test_a_function_picks_in_its_own_process(places, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    _, stored = pick(places, method="plug-in", plugin=f"{tmp_path / 'mine.py'}:pick")
    np.testing.assert_allclose(stored["centres"], [[300, 2.5], [3, 4]])
    np.testing.assert_allclose(stored["scores"], [2, 1])


def test_a_program_picks(places, tmp_path):
    script = tmp_path / "their pick.py"
    script.write_text("import sys\nopen(sys.argv[2], 'w').write('x,y,score\\n7,8,0.5\\n')\n")
    _, stored = pick(places, method="plug-in", plugin=f"{sys.executable} '{script}' {{micrograph}} {{out}}")
    np.testing.assert_allclose(stored["centres"], [[8, 7]])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no network given')", "no network given"),
        ("return [[1, 2, 3]], [1]", r"expected \(n, 2\)"),
        ("return [[1, float('nan')]], [1]", "not numbers"),
        ("import os; os._exit(3)", "ended with 3"),
    ],
)
def test_a_plugin_that_fails_says_why(places, tmp_path, body, said):
    (tmp_path / "bad.py").write_text(f"def pick(micrograph, pixel_size):\n    {body}\n")
    with pytest.raises(ValueError, match=said):
        run_plugin(f"{tmp_path / 'bad.py'}:pick", places("average"), 2.5, timeout=60)


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("/no/such/program {micrograph} {out}", "cannot start /no/such/program"),
        ("echo {micrograph}", "expected {micrograph} and {out}"),
        ("true {micrograph} {out}", "wrote nothing"),
        ("pick", "expected FILE.py:FUNCTION"),
    ],
)
def test_a_plugin_that_is_none_is_refused(places, plugin, said):
    with pytest.raises(ValueError, match=said):
        run_plugin(plugin, places("average"), 2.5, timeout=60)


def test_a_plugin_that_hangs_is_ended_with_its_children(places, tmp_path):
    script = tmp_path / "hang.sh"
    script.write_text(f"(sleep 3; touch {tmp_path / 'alive'}) &\nsleep 60\n")
    with pytest.raises(ValueError, match="took longer than 1 s and was ended"):
        run_plugin(f"sh {script} {{micrograph}} {{out}}", places("average"), 2.5, timeout=1)
    time.sleep(3.5)
    assert not (tmp_path / "alive").exists()
