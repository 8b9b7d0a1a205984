"""Motion between RELION and us, signs and units: its polishing starts from ours, its models read true."""

import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.formats.motion_star import read_motion_star, write_motion_star
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.star import (
    OpticsGroup,
    micrograph_rows,
    optics_block,
    particle_rows,
    read_star,
    write_star,
)  # fmt: skip
from nextpyp_nb.kernels.motion import correct_motion
from nextpyp_nb.records import MotionModel

pytestmark = [
    pytest.mark.relion,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("relion_motion_refine") is None, reason="RELION is not installed"),
]

HEIGHT, WIDTH, FRAMES, PIXEL, WIDE = 384, 512, 8, 2.0, 2.5
TIMES = np.arange(FRAMES)


def truth():
    """A motion with every term that tells axes, signs and powers apart."""
    local = np.zeros((2, 6, 3))
    local[0, 1, 0], local[0, 2, 0], local[0, 0, 1] = 0.9, 0.5, 0.01
    local[1, 3, 0], local[1, 5, 1], local[1, 4, 2] = -0.6, 0.15, 0.004
    return MotionModel(
        shifts=np.stack([0.6 * TIMES, -0.4 * TIMES], axis=1), local=local,
        pixel_size=PIXEL, dose_per_frame=1.0, height=HEIGHT, width=WIDTH,
    )  # fmt: skip


def moved(motion, centres):
    """Shifts (frame, place, 2) of places of the raw frames, written out term by term."""
    y, x = centres[:, 0] / motion.height - 0.5, centres[:, 1] / motion.width - 0.5
    found = np.repeat(motion.shifts[:, None, :].astype(float), len(centres), axis=1)
    for axis in (0, 1):
        for term, value in enumerate((1 + 0 * x, x, x * x, y, y * y, x * y)):
            for power in (1, 2, 3):
                local = 0 if motion.local is None else motion.local[axis, term, power - 1]
                found[:, :, axis] += local * value * TIMES[:, None].astype(float) ** power
    return found


def blobs(motion, centres, rng):
    """Round particles that move, as counts."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for at in moved(motion, centres):
        rate = np.full((HEIGHT, WIDTH), 20.0)
        for (top, left), (dy, dx) in zip(centres, at, strict=True):
            window = np.s_[int(top) - 28 : int(top) + 29, int(left) - 28 : int(left) + 29]
            distance = (y[window] - top - dy) ** 2 + (x[window] - left - dx) ** 2
            rate[window] -= 8 * np.exp(-distance / (2 * WIDE**2))
        frames.append(rng.poisson(rate))
    return np.array(frames, np.int16)


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(4)
    grid = np.mgrid[40 : HEIGHT - 36 : 22, 40 : WIDTH - 36 : 22].reshape(2, -1).T
    centres = grid + rng.integers(-6, 7, grid.shape)
    return centres, blobs(truth(), centres, rng)


def relion(folder, *words):
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # It draws its logfile with a program that need not be there.
    assert "ERROR" not in done.stderr.replace("ERROR in executing: gs", ""), done.stderr


def polishing_input(folder, frames, centres, binning, box=32):
    """A motion STAR, corrected_micrographs.star, particles with angles, two half maps and their FSC."""
    (folder / "motion").mkdir()
    write_mrc(folder / "m.mrc", frames, pixel_size=PIXEL)
    write_motion_star(folder / "motion" / "m.star", truth(), movie_name="m.mrc", voltage=300, binning=binning)
    pixel, box = PIXEL * binning, box // binning
    scope = {"voltage": 300, "cs": 0.001, "amplitude_contrast": 1.0, "original_pixel_size": PIXEL}
    group = OpticsGroup(**scope, micrograph_pixel_size=pixel)
    corrected = pd.DataFrame({"path": ["mic.mrc"], "motion_path": ["motion/m.star"], "motion_total": [1.0]})
    write_star(
        folder / "corrected_micrographs.star",
        {"optics": optics_block([group]), "micrographs": micrograph_rows(corrected)},
    )
    places = {"micrograph": "mic.mrc", "y": centres[:, 0] / binning, "x": centres[:, 1] / binning}
    particles = particle_rows(
        pd.DataFrame(places | {"defocus_u": 10.0, "defocus_v": 10.0, "defocus_angle": 0.0})
    )
    particles.insert(0, "rlnImageName", [f"{n + 1:06d}@p.mrcs" for n in range(len(centres))])
    angles = dict.fromkeys(("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"), 0.0)
    particles = particles.assign(**{f"rln{name}": value for name, value in angles.items()})
    particles["rlnRandomSubset"] = np.arange(len(centres)) % 2 + 1
    write_mrc(folder / "p.mrcs", np.zeros((len(centres), box, box), np.float32), pixel_size=pixel, stack=True)
    boxed = OpticsGroup(**scope, micrograph_pixel_size=pixel, image_pixel_size=pixel, box=box)
    write_star(folder / "particles.star", {"optics": optics_block([boxed]), "particles": particles})
    reference(folder, box, pixel)


def reference(folder, box, pixel):
    distance = ((np.mgrid[:box, :box, :box] - box // 2) ** 2).sum(axis=0) * pixel**2
    for name in ("h1.mrc", "h2.mrc"):
        density = np.exp(-distance / (2 * (WIDE * PIXEL) ** 2)).astype(np.float32)
        write_mrc(folder / name, density, pixel_size=pixel)
    shells = np.arange(box // 2 + 1)
    curve = {
        "rlnSpectralIndex": shells,
        "rlnResolution": shells / (box * pixel),
        "rlnAngstromResolution": box * pixel / np.maximum(shells, 0.1),
        "rlnFourierShellCorrelationCorrected": 0.99,
    }
    general = {"rlnFinalResolution": 2 * pixel, "rlnBfactorUsedForSharpening": 0.0}
    write_star(folder / "fsc.star", {"general": general, "fsc": pd.DataFrame(curve)})


def tracks(folder, *more):
    """Where RELION's polishing sees each particle, (frame, particle, 2) in px of the raw frames."""
    relion(
        folder, "relion_motion_refine", "--i", "particles.star", "--f", "fsc.star", "--m1", "h1.mrc",
        "--m2", "h2.mrc", "--corr_mic", "corrected_micrographs.star", "--o", "polish/", "--fdose", 1,
        "--max_iters", 0, *more,
    )  # fmt: skip
    blocks = read_star(next((folder / "polish").rglob("*_tracks.star")))
    found = [
        block[["rlnOriginYAngst", "rlnOriginXAngst"]] for name, block in blocks.items() if name.isdigit()
    ]
    return np.array([table.to_numpy(float) for table in found]).swapaxes(0, 1) / PIXEL


@pytest.mark.parametrize("binning", [1, 2])
def test_polishing_starts_from_our_whole_and_local_motion(tmp_path, movie, binning):
    centres, frames = movie
    polishing_input(tmp_path, frames, centres, binning)
    found = tracks(tmp_path)
    wanted = moved(truth(), centres)
    spread = (wanted - wanted.mean(axis=1, keepdims=True))[-1]
    assert np.abs(spread).max() > 2
    # RELION truncates coordinates to whole pixels.
    np.testing.assert_allclose(found - found[0], wanted, atol=1e-4 if binning == 1 else 0.03)
    without = tracks(tmp_path, "--gi")
    assert np.ptp(without[-1] - without[0], axis=0).max() < 1e-6


@pytest.mark.parametrize("binning", [1, 2])
def test_relions_local_model_read_by_us_is_the_truth_and_so_is_ours(tmp_path, movie, binning):
    centres, frames = movie
    write_mrc(tmp_path / "m.mrc", frames, pixel_size=PIXEL)
    scope = {"voltage": 300, "cs": 2.7, "amplitude_contrast": 0.1, "original_pixel_size": PIXEL}
    optics = optics_block([OpticsGroup(**scope, micrograph_pixel_size=PIXEL)])
    listed = pd.DataFrame({"rlnMicrographMovieName": ["m.mrc"], "rlnOpticsGroup": [1]})
    write_star(tmp_path / "movies.star", {"optics": optics, "movies": listed})
    relion(
        tmp_path, "relion_run_motioncorr", "--i", "movies.star", "--o", "o/", "--use_own", "--patch_x", 4,
        "--patch_y", 3, "--bfactor", 50, "--bin_factor", binning, "--j", 1,
    )  # fmt: skip
    theirs = read_motion_star(tmp_path / "o" / "m.star")
    ours = correct_motion(frames, pixel_size=PIXEL, voltage=300, dose_per_frame=1.0).motion
    write_motion_star(tmp_path / "ours.star", ours, movie_name="m.mrc", voltage=300, binning=binning)
    wanted = moved(truth(), centres)
    rigid = np.sqrt(((wanted - wanted.mean(axis=1, keepdims=True)) ** 2).sum(-1).mean())
    for motion, limit in ((theirs, 0.35), (ours, 0.25), (read_motion_star(tmp_path / "ours.star"), 0.25)):
        assert motion.local is not None
        error = moved(motion, centres) - wanted
        error -= error.mean(axis=0)
        assert np.sqrt((error**2).sum(-1).mean()) < limit * rigid
        flipped = moved(MotionModel(
            shifts=motion.shifts, local=-motion.local, pixel_size=PIXEL, dose_per_frame=1.0,
            height=HEIGHT, width=WIDTH,
        ), centres) - wanted  # fmt: skip
        flipped -= flipped.mean(axis=0)
        assert np.sqrt((flipped**2).sum(-1).mean()) > rigid
