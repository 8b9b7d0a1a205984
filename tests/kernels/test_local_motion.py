import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from nextpyp_nb.formats.motion_star import read_motion_star, write_motion_star
from nextpyp_nb.kernels import frame_sum, motion
from nextpyp_nb.kernels.align import FrameSpectra
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.fourier import rfft_frequency
from nextpyp_nb.kernels.local_motion import fit_local_motion, frames_together
from nextpyp_nb.kernels.moving import moving_part
from nextpyp_nb.records import local_shifts

SHAPE = (320, 400)
FRAMES = 12
KNOWN = {"pixel_size": 3.0, "voltage": 300.0, "dose_per_frame": 2.0}
PLACES = np.array([(y, x) for y in (-0.4, 0, 0.4) for x in (-0.4, 0, 0.4)])


def specimen(seed=0):
    ky, kx = rfft_frequency(SHAPE)
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    image = np.fft.irfft2(np.fft.rfft2(noise) * np.exp(-((np.hypot(ky, kx) / 0.12) ** 2)), s=SHAPE)
    return 1 + 0.25 * image / image.std()


def field(amount):
    """Coefficients of a field that grows early: a stretch, a shear and a bulge; up to ``amount`` px."""
    fast = np.linalg.lstsq(
        np.arange(1, FRAMES)[:, None] ** np.arange(1, 4),
        1 - np.exp(-np.arange(1, FRAMES) / 3.0),
        rcond=None,
    )[0]
    along_y = amount * np.array([0, 0.8, 0, 1.2, 0, -0.8])
    along_x = amount * np.array([-0.05, 1.5, 0.6, -0.6, 0, 0.6])
    return np.stack([along_y, along_x])[:, :, None] * fast


def ideal(shifts, local, frame):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    y0, x0 = y.copy(), x.copy()
    # The feature seen here started where the place plus its shift is here.
    for _ in range(4):
        places = np.stack([(y0 + 0.5) / SHAPE[0] - 0.5, (x0 + 0.5) / SHAPE[1] - 0.5], axis=-1)
        dy, dx = np.moveaxis(shifts[frame] + local_shifts(local, places, frame), -1, 0)
        y0, x0 = y - dy, x - dx
    return map_coordinates(specimen(), [y0, x0], order=3, mode="reflect")


def movie(amount, dose=3.0, seed=3, drift=4.0):
    local = field(amount)
    shifts = drift * np.sqrt(np.arange(FRAMES) / (FRAMES - 1))[:, None] * np.array([1.0, -0.6])
    rng = np.random.default_rng(seed)
    frames = [rng.poisson(dose * np.clip(ideal(shifts, local, f), 0.05, None)) for f in range(FRAMES)]
    return np.array(frames, np.uint8), shifts, local


def counts(frames):
    return Counts(raw=frames, gain=None, bad=np.zeros(frames.shape[1:], bool))


def trajectories(shifts, local):
    moved = [s + (0 if local is None else local_shifts(local, PLACES, f)) for f, s in enumerate(shifts)]
    moved = np.array(moved) if local is not None else np.repeat(shifts[:, None], len(PLACES), axis=1)
    return moved - moved.mean(axis=0)


def field_error(found, shifts, local):
    difference = trajectories(found.shifts, found.local) - trajectories(shifts, local)
    return np.sqrt((difference**2).sum(axis=-1).mean())


@pytest.fixture(scope="module")
def torn():
    return movie(2.0)


def local_motion(frames, shifts):
    """The local model of frames with pixels of 3 Å."""
    half = FrameSpectra(frames, 8.0).halved(shifts, frames_together(len(shifts)))
    return fit_local_motion(half, shifts / 2, shape=np.array(frames.shape[1:]) / 2, pixel_size=6.0)


def test_the_field_is_found_and_helps(torn):
    frames, shifts, local = torn
    whole = motion.correct_motion(frames, **KNOWN, method="whole-frame").motion
    found = motion.correct_motion(frames, **KNOWN).motion
    assert whole.local is None
    assert found.local.shape == (2, 6, 3)
    assert field_error(found, shifts, local) < 0.45 * field_error(whole, shifts, local)
    np.testing.assert_array_equal(found.shifts, whole.shifts)


def test_a_specimen_that_moves_as_one_has_no_field():
    for seed in range(4):
        frames, shifts, _ = movie(0.0, seed=seed)
        small = moving_part(frames.astype(np.float32))
        assert local_motion(small, shifts) is None


def test_a_crystal_that_stands_still_makes_no_field():
    frames, shifts, _ = movie(0.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    crystal = 1 - 0.45 / (1 + np.exp((np.hypot(y - 90, x - 200) - 50) / 1.5))
    still = np.random.default_rng(2).binomial(frames, crystal).astype(np.float32)
    assert local_motion(moving_part(still), shifts) is None


def test_the_sum_is_sharper_with_the_field(torn):
    frames, _, _ = torn
    inner = (slice(30, -30), slice(30, -30))

    def likeness(method):
        average = motion.correct_motion(frames, **KNOWN, method=method).average
        return np.corrcoef(average[inner].ravel(), specimen()[inner].ravel())[0, 1]

    assert likeness("local") > likeness("whole-frame") + 0.01


def test_frames_are_sampled_where_the_field_says():
    local = field(3.0)
    shifts = np.array([[0.0, 0.0], [5.3, -7.6], [11.2, -14.9]])
    frames = np.stack([ideal(shifts, local, f).astype(np.float32) for f in range(3)])
    average, *_ = frame_sum.sum_frames(counts(frames), shifts, None, local)
    inner = (slice(30, -30), slice(30, -30))
    np.testing.assert_allclose(average[inner], specimen()[inner], atol=0.02)


def test_a_field_of_nothing_changes_nothing():
    frames, shifts, _ = movie(0.0)
    frames = frames.astype(np.float32)
    plain, *_ = frame_sum.sum_frames(counts(frames), shifts, None)
    field_free, *_ = frame_sum.sum_frames(counts(frames), shifts, None, np.zeros((2, 6, 3)))
    np.testing.assert_allclose(field_free, plain, atol=0.01)


def test_the_motion_star_keeps_the_field(torn, tmp_path):
    frames, _, _ = torn
    found = motion.correct_motion(frames, **KNOWN).motion
    path = tmp_path / "movie.star"
    write_motion_star(path, found, movie_name="movie.tif", voltage=300)
    back = read_motion_star(path)
    np.testing.assert_allclose(
        trajectories(back.shifts, back.local), trajectories(found.shifts, found.local), atol=1e-3
    )


@pytest.mark.parametrize(("frames", "side"), [(5, 320), (12, 90), (12, 100)])
def test_too_little_to_tell_is_no_field(frames, side):
    noise = np.random.default_rng(0).normal(size=(frames, side, side)).astype(np.float32)
    assert local_motion(noise, np.zeros((frames, 2))) is None


def test_blank_frames_have_no_field():
    assert local_motion(np.zeros((8, 256, 256), np.float32), np.zeros((8, 2))) is None


def test_whole_pixel_shifts_leave_the_field_out(torn):
    assert motion.correct_motion(torn[0], **KNOWN, integer_shifts=True).motion.local is None
