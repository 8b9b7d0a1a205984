"""The fault matrix at the size of a trial: what was promised holds, and the trials themselves can fail."""

import threading
import time

import pytest

from nextpyp_nb.bench.faults import NotRun
from nextpyp_nb.bench.faults.matrix import FAULTS, Fault, _line, tried
from nextpyp_nb.bench.faults.points import in_child, killer, watched
from nextpyp_nb.bench.faults.pretend import pretend_session, run, small_movie, write_movies
from nextpyp_nb.bench.faults.promises import broken, unfinished

# Damaged headers and more machines have tests of their own, and poison needs workers that take long to start.
ELSEWHERE = ("F10", "F11", "F12", "F13")


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.code not in ELSEWHERE], ids=lambda f: f"{f.code} {f.name}"
)
def test_what_was_promised_holds(fault):
    figures, _ = tried(fault)
    assert figures["problems"] == []
    assert len(figures) > 1


def test_a_trial_that_cannot_be_made_here_says_why_and_does_not_hold():
    def refuse(root):
        raise NotRun("SLURM is started as root only")

    fault = Fault(code="F0", name="n", goal="g", trial=refuse, quick={}, full={})
    figures, _ = tried(fault)
    assert figures["problems"] == []
    assert _line(fault, figures) == "| F0 | n | g | not run SLURM is started as root only | not run |"


def test_a_killed_run_dies_at_its_point_and_nowhere_else(tmp_path):
    write_movies(tmp_path / "camera", 2)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")

    def die():
        with watched(killer("before link", 2)):
            return run(session)

    assert in_child(die) == -9
    assert "transferring" in set(session.movies["state"])
    assert len([p for p in (session.folder / "raw").iterdir() if p.suffix == ".tiff"]) == 1


def test_the_checks_see_what_is_wrong(tmp_path):
    written = write_movies(tmp_path / "camera", 2)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    run(session)
    assert broken(session, written) + unfinished(session, written) == []
    (copy, _) = sorted((session.folder / "raw").glob("*.tiff"))
    content = copy.read_bytes()
    copy.write_bytes(content[:-1])
    assert {text[:2] for text in broken(session, written)} == {"T2", "T3"}
    copy.write_bytes(content)
    (session.folder / "raw" / "again.tiff").write_bytes(content)
    assert [text[:2] for text in broken(session, written)] == ["T5"]
    (session.folder / "raw" / "again.tiff").unlink()
    next(iter(written)).unlink()
    assert [text[:2] for text in broken(session, written)] == ["T1"]


def test_a_run_does_not_end_before_the_last_movie_that_was_announced(tmp_path):
    write_movies(tmp_path / "camera", 1)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")

    def write_one_more():
        until = time.monotonic() + 60
        while not len(session.micrographs) and time.monotonic() < until:
            time.sleep(0.05)
        # All is quiet for a while, then a movie comes and nothing more is announced.
        time.sleep(1.0)
        (tmp_path / "camera" / "grid0" / "last.tiff").write_bytes(small_movie(1))

    writing = threading.Thread(target=write_one_more)
    writing.start()
    run(session, still_coming=writing.is_alive)
    assert sorted(session.micrographs["name"]) == ["last", "mov_00000"]
