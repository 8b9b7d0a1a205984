"""A range of frames is cut while reading: the same result as of a file that holds no others."""

import numpy as np
import pytest

from nextpyp_nb.formats.frames import read_exposure, read_frames
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star import read_star
from nextpyp_nb.session.places import Places
from nextpyp_nb.tracks.motion_stage import correct_movie

FIRST, LAST = 2, 5


@pytest.fixture
def movie(microscope):
    return sorted(microscope.gain_path.parent.rglob("*.tiff"))[0]


def corrected(folder, path, settings):
    places = Places(folder, path.stem)
    for part in ("micrographs", "previews", "motion"):
        (folder / part).mkdir(exist_ok=True)
    row = correct_movie(path, places, settings, {"threads": 1, "device": None})
    return row, read_mrc(places("average"))[0], read_mrc(places("weighted"))[0], places


@pytest.mark.parametrize("kind", ["tiff", "mrc"])
def test_only_the_range_is_held(tmp_path, movie, kind):
    every = read_frames(movie)
    path = movie
    if kind == "mrc":
        path = tmp_path / "m.mrc"
        write_mrc(path, every, pixel_size=1.3)
    part = read_exposure(path, first=FIRST, last=LAST)
    np.testing.assert_array_equal(part.frames, every[FIRST : LAST + 1])
    assert (part.first, part.n_stored) == (FIRST, len(every))
    held = part.frames if part.frames.base is None else part.frames.base
    assert held.nbytes == part.frames.nbytes
    assert len(part.doses(30.0)) == len(every)


def test_a_range_ends_as_the_cut_file_with_its_dose_before(tmp_path, movie, settings):
    every = read_frames(movie)
    write_mrc(tmp_path / "cut.mrc", every[FIRST : LAST + 1], pixel_size=1.3)
    dose = settings.microscope.dose / len(every)
    assert dose > 0
    ranged = settings.updated({"motion.first_frame": FIRST, "motion.last_frame": LAST})
    cut = settings.updated(
        {
            "microscope.dose": dose * (LAST - FIRST + 1),
            "microscope.initial_dose": settings.microscope.initial_dose + FIRST * dose,
        }
    )
    row, average, weighted, places = corrected(tmp_path, movie, ranged)
    alone, plain, filtered, _ = corrected(tmp_path, tmp_path / "cut.mrc", cut)
    np.testing.assert_array_equal(average, plain)
    np.testing.assert_allclose(np.float32(weighted), np.float32(filtered), atol=2e-3)
    assert row["dose_per_frame"] == pytest.approx(alone["dose_per_frame"])
    assert row["n_frames"] == len(every)
    assert int(read_star(places("motion"))["general"]["rlnMicrographStartFrame"]) == FIRST + 1


def test_one_image_is_taken_whole(tmp_path):
    image = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    write_mrc(tmp_path / "one.mrc", image, pixel_size=1.0)
    np.testing.assert_array_equal(read_exposure(tmp_path / "one.mrc", first=3, last=9).frames, image)
