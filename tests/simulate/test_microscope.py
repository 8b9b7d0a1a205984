import asyncio
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.acquisition import epu_name_parts, read_acquisition, side_file
from nextpyp_nb.simulate import Microscope
from nextpyp_nb.simulate.writers import WRITERS, appended, preallocated, renamed, truncated, zero_tail

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_movies_lie_in_an_epu_tree(microscope):
    session = microscope()
    path = session.expose()
    assert (session.folder / "EpuSession.dm").read_text().startswith("<?xml")
    inside = path.relative_to(session.folder)
    assert inside.parts[0] == "Images-Disc1"
    assert inside.parts[1].startswith("GridSquare_")
    assert inside.parts[2] == "Data"
    assert path.name.endswith("_20260504_030201_fractions.tiff")
    assert epu_name_parts(path.name).hole.isdigit()
    assert [p.name for p in session.truth_folder.iterdir()] == [f"{path.stem}.json"]


def test_xml_tells_how_the_movie_was_taken(microscope):
    session = microscope(voltage=200.0, pixel_size=0.98)
    path = session.expose()
    told = read_acquisition(side_file(path))
    truth = json.loads((session.truth_folder / f"{path.stem}.json").read_text())
    assert told.pixel_size == pytest.approx(0.98)
    assert told.voltage == 200
    assert told.dose == pytest.approx(8.0)
    assert told.n_frames == 4
    assert told.time == datetime(2026, 5, 4, 3, 2, 1)
    assert told.camera == "Pretend"
    assert [told.beam_shift_x, told.beam_shift_y] == pytest.approx(truth["beam_shift"], abs=1e-7)
    assert np.isfinite([told.stage_x, told.stage_y, told.stage_z, told.magnification]).all()
    assert told.defocus == pytest.approx(0.5 * (truth["defocus_u"] + truth["defocus_v"]), abs=1500)


def test_beam_shift_follows_the_shot_in_the_hole(tmp_path):
    session = Microscope(tmp_path, start=datetime(2026, 1, 1))
    shots = [session._shot(i) for i in range(40)]
    shifts = {
        t: np.array([s.beam_shift for s in shots if s.template == t]) for t in {s.template for s in shots}
    }
    centres = np.array([group.mean(axis=0) for group in shifts.values()])
    assert len(shifts) == 4
    assert max(group.std(axis=0).max() for group in shifts.values()) < 0.002
    assert min(np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i]) > 0.05
    assert len({s.name for s in shots}) == 40
    assert len({s.hole for s in shots}) == 10


def test_tiff_pages_are_flipped_and_otherwise_the_frames(microscope):
    session = microscope()
    path = session.expose()
    frames = np.stack(list(session.compose(0).record()))
    with tifffile.TiffFile(path) as tiff:
        assert [len(page.dataoffsets) for page in tiff.pages] == [1] * 4
        assert tiff.pages[0].compression == tifffile.COMPRESSION.LZW
        np.testing.assert_array_equal(tiff.asarray()[:, ::-1], frames)


def test_gain_is_that_of_the_camera(microscope):
    session = microscope()
    with mrcfile.open(session.gain_path) as mrc:
        np.testing.assert_array_equal(mrc.data, session.column.camera.gain)
    assert (session.column.camera.gain == 0).any()


def test_the_seed_decides_everything(microscope):
    one, same, other = (microscope(name, seed=seed).expose() for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert one.name == same.name
    assert one.read_bytes() == same.read_bytes()
    assert one.read_bytes() != other.read_bytes()


def test_every_eighth_movie_is_spoilt(tmp_path):
    labels = [Microscope(tmp_path).label(i) for i in range(32)]
    assert labels.count("good") == 28
    assert {"carbon_edge", "ice_contamination", "empty", "severe_drift"} < set(labels)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared test data")
def test_truth_has_the_keys_of_the_independent_generator(microscope):
    session = microscope(layout="flat")
    session.expose()
    ours = json.loads((session.truth_folder / "mov_0001.json").read_text())
    theirs = json.loads((SHARED / "truth" / "mov_0001.json").read_text())
    assert theirs.keys() <= ours.keys()
    assert theirs["grid_shift"][0].keys() == ours["grid_shift"][0].keys()
    assert theirs["local_basis"] == ours["local_basis"]
    assert len(ours["grid_shift"]) == 9
    assert theirs["particles"][0].keys() == ours["particles"][0].keys()
    for grid in ours["grid_shift"]:
        assert np.shape(grid["shift"]) == (4, 2)


def steps(name, path, content):
    """Sizes of the file under its own name after each step, None while it is not there."""
    return [path.stat().st_size if path.exists() else None for _ in WRITERS[name](path, content, 5)]


def test_writers_leave_what_they_promise(tmp_path):
    content = np.random.default_rng(1).integers(1, 256, 10_001, np.uint8).tobytes()
    for number, writer in enumerate((appended, preallocated, renamed)):
        path = tmp_path / str(number)
        list(writer(path, content, 5))
        assert path.read_bytes() == content
    list(truncated(tmp_path / "short", content))
    assert (tmp_path / "short").read_bytes() == content[:7000]
    list(zero_tail(tmp_path / "tail", content))
    assert (tmp_path / "tail").read_bytes() == content[:7000] + bytes(3001)


def test_writers_can_be_watched(tmp_path):
    content = bytes(range(1, 251)) * 4
    assert steps("appended", tmp_path / "a", content) == [200, 400, 600, 800, 1000]
    assert steps("preallocated", tmp_path / "p", content) == [1000] * 6
    assert steps("renamed", tmp_path / "r", content) == [None] * 5 + [1000]
    assert [p.name for p in tmp_path.iterdir() if p.suffix] == []


@pytest.mark.parametrize(("when", "expected"), [("after", True), ("first", True), ("never", False)])
def test_metadata_come_when_asked(microscope, when, expected):
    session = microscope(xml=when)
    path = session.expose()
    side = side_file(path)
    assert (side is not None) is expected
    if when == "after":
        assert side.stat().st_mtime_ns >= path.stat().st_mtime_ns
    if when == "first":
        assert side.stat().st_mtime_ns <= path.stat().st_mtime_ns


def test_unknown_writer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of appended"):
        Microscope(tmp_path, writer="carrier pigeon")


def test_run_takes_movies_and_reports(microscope):
    session, told = microscope(layout="flat", frames=2), []
    paths = asyncio.run(session.run(3, interval=0.0, progress=lambda n, path: told.append((n, path.name))))
    assert told == [(1, "mov_0001.tiff"), (2, "mov_0002.tiff"), (3, "mov_0003.tiff")]
    assert all(path.stat().st_size > 0 for path in paths)


def test_command_collects_into_a_folder(tmp_path):
    command = f"-m nextpyp_nb.simulate {tmp_path / 'out'} --movies 2 --interval 0 --write-seconds 0"
    small = "--height 192 --width 192 --frames 2 --seed 3"
    done = subprocess.run(
        [sys.executable, *command.split(), *small.split()], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("_fractions.tiff") == 2
    assert len(list((tmp_path / "out").rglob("*_fractions.tiff"))) == 2
    assert len(list((tmp_path / "out-truth").glob("*.json"))) == 2
