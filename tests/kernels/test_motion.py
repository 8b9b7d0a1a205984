import numpy as np
import pytest

from nextpyp_nb.kernels import frame_sum, motion
from nextpyp_nb.kernels.align import FrameSpectra, align_frames, peak_positions, smooth_trajectory
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.exposure import low_rank_filters
from nextpyp_nb.kernels.fourier import phase_shift, rfft_frequency
from nextpyp_nb.kernels.moving import moving_part

SHAPE = (256, 320)
KNOWN = {"pixel_size": 3.0, "voltage": 300.0, "dose_per_frame": 2.0}


@pytest.mark.parametrize(
    ("pixel_size", "bin_"),
    [(0.36, 6), (0.53, 4), (0.83, 2), (1.06, 2), (1.3, 2), (2.0, 2), (2.2, 1), (4.0, 1)],
)
def test_frames_are_aligned_with_pixels_of_2_to_4_angstrom(pixel_size, bin_):
    assert motion._align_binning((4096, 4096), pixel_size) == bin_


def trajectory(n, scale):
    u = np.arange(n) / (n - 1)
    return scale * np.stack([1 - np.exp(-3 * u), 0.4 * u - 0.8 * u**2], axis=1)


def specimen(seed=0, contrast=0.25):
    ky, kx = rfft_frequency(SHAPE)
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    band = np.exp(-((np.hypot(ky, kx) / 0.12) ** 2))
    image = np.fft.irfft2(np.fft.rfft2(noise) * band, s=SHAPE)
    return 1 + contrast * image / image.std()


def moved(image, shift):
    return np.fft.irfft2(phase_shift(np.fft.rfft2(image), SHAPE, shift), s=SHAPE)


def movie(shifts, dose=3.0, seed=0, pattern=1.0):
    rng = np.random.default_rng(seed + 1)
    image = specimen(seed)
    ideal = np.stack([np.clip(moved(image, s), 0.05, None) for s in shifts])
    return rng.poisson(dose * ideal * pattern).astype(np.uint8)


def counts(frames):
    return Counts(raw=frames, gain=None, bad=np.zeros(frames.shape[1:], bool))


def rms(shifts, truth):
    difference = (shifts - shifts.mean(0)) - (truth - truth.mean(0))
    return np.sqrt((difference**2).sum(1).mean())


def test_a_roll_gives_the_sign_and_the_axis_order():
    still = movie(np.zeros((4, 2)))
    frames = np.stack([np.roll(image, (2 * f, -3 * f), (0, 1)) for f, image in enumerate(still)])
    shifts = motion.correct_motion(frames, **KNOWN, hot_pixels=False).motion.shifts
    np.testing.assert_allclose(shifts, [[0, 0], [2, -3], [4, -6], [6, -9]], atol=0.2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float16])
def test_the_trajectory_is_found_in_every_type(dtype):
    truth = trajectory(12, 6.0)
    result = motion.correct_motion(movie(truth).astype(dtype), **KNOWN)
    assert rms(result.motion.shifts, truth) < 0.1
    assert result.motion.shifts[0] == pytest.approx([0, 0])
    assert result.mean_dose == pytest.approx(3.0, rel=0.03)


def test_the_sum_is_sharp_again():
    truth = trajectory(12, 6.0)
    frames = movie(truth)
    still = movie(np.zeros((12, 2)))
    wanted = still.mean(0)
    inner = (slice(20, -20), slice(20, -20))

    def likeness(image):
        return np.corrcoef(image[inner].ravel(), wanted[inner].ravel())[0, 1]

    best = np.corrcoef(movie(np.zeros((12, 2)), seed=0)[:6].mean(0).ravel(), specimen().ravel())[0, 1]
    result = motion.correct_motion(frames, **KNOWN)
    assert likeness(result.average) > likeness(frames.mean(0)) + 0.2
    assert likeness(result.average) > 0.9 * best
    assert result.weighted.dtype == result.average.dtype == np.float32
    assert result.weighted.mean() == pytest.approx(result.average.mean(), rel=1e-3)


def test_a_fixed_pattern_does_not_hold_the_frames():
    truth = trajectory(16, 8.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    crystal = 1 - 0.45 / (1 + np.exp((np.hypot(y - 90, x - 200) - 50) / 1.5))
    columns = 1 + 0.05 * ((x // 40) % 2)
    result = motion.correct_motion(movie(truth, pattern=crystal * columns), **KNOWN)
    assert rms(result.motion.shifts, truth) < 0.35


def test_large_drift_is_followed():
    truth = trajectory(16, 45.0)
    assert rms(motion.correct_motion(movie(truth), **KNOWN).motion.shifts, truth) < 0.3


def test_low_dose_frames_are_followed():
    truth = trajectory(40, 8.0)
    assert rms(motion.correct_motion(movie(truth, dose=0.5), **KNOWN).motion.shifts, truth) < 0.35


def test_frames_that_do_not_move_stay():
    result = motion.correct_motion(movie(np.zeros((10, 2))), **KNOWN)
    assert np.abs(result.motion.shifts).max() < 0.15


def test_frames_without_any_image_stay():
    noise = np.random.default_rng(11).poisson(1.0, (12, 512, 512)).astype(np.uint8)
    np.testing.assert_array_equal(motion.correct_motion(noise, **KNOWN).motion.shifts, 0)


def test_groups_follow_a_slow_drift():
    truth = trajectory(16, 5.0)
    shifts = motion.correct_motion(movie(truth), **KNOWN, group=4).motion.shifts
    assert rms(shifts, truth) < 0.6


def test_summed_frames_are_sampled_at_plus_shift():
    shifts = np.array([[0.0, 0.0], [1.4, -2.7], [3.3, 5.2]])
    image = specimen()
    frames = np.stack([moved(image, s).astype(np.float32) for s in shifts])
    average, weighted, rest = frame_sum.sum_frames(counts(frames), shifts, None)
    assert weighted is None
    assert rest is None
    inner = (slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(average[inner], image[inner], atol=0.01)


def test_further_sums_are_as_noisy_as_the_mean_and_have_nothing_in_common():
    noise = np.random.default_rng(4).normal(3.0, 1.0, (16, 256, 256)).astype(np.float32)
    filters = low_rank_filters(2.0 * np.arange(1, 17), pixel_size=1.3, voltage=300)
    average, _, rest = frame_sum.sum_frames(counts(noise), np.zeros((16, 2)), filters, further=3)
    images = np.stack([average, *rest]).reshape(4, -1)
    np.testing.assert_allclose(16 * np.cov(images), np.eye(4), atol=0.03)
    np.testing.assert_allclose(images.mean(axis=1), [3, 0, 0, 0], atol=0.02)


@pytest.mark.parametrize("far", [0.0, 90.0, -250.0])
def test_any_size_and_any_shift_mirror_at_the_edges(far):
    rng = np.random.default_rng(3)
    frames = rng.poisson(4.0, (5, 45, 101)).astype(np.float32)
    shifts = np.array([[0, 0], [0.3, 1.7], [-2.4, 5.1], [7.9, -3.2], [1.5, far]])
    sums = frame_sum._weighted_sums(counts(frames), shifts, np.ones((1, 5), np.float32), None)
    naive = 0
    for frame, shift in zip(frames, shifts, strict=True):
        whole = np.floor(shift).astype(int)
        wide = np.pad(frame, 300, mode="symmetric")
        for axis in range(2):
            taps = frame_sum.lanczos(shift[axis] - whole[axis])
            wide = sum(
                t * np.roll(wide, -(whole[axis] + k), axis) for t, k in zip(taps, range(-2, 4), strict=True)
            )
        naive = naive + wide[300:345, 300:401]
    np.testing.assert_allclose(sums[0], naive, atol=5e-3)


def test_no_alignment_sums_the_frames_as_they_are():
    frames = movie(np.zeros((6, 2)))
    result = motion.correct_motion(frames, **KNOWN, method="none", hot_pixels=False)
    np.testing.assert_allclose(result.average, frames.mean(0), atol=1e-4)
    np.testing.assert_array_equal(result.motion.shifts, 0)


@pytest.mark.parametrize("dose", [0, None, 0.0])
def test_without_a_dose_nothing_is_weighted(dose):
    known = KNOWN | {"dose_per_frame": dose}
    assert motion.correct_motion(movie(np.zeros((4, 2))), **known).weighted is None


def test_frames_may_differ_in_dose():
    fine = movie(np.zeros((6, 2)))
    known = KNOWN | {"method": "none", "hot_pixels": False, "last_frame": 4}
    doses = np.array([2.0, 2.0, 2.0, 2.0, 2.0, 9.0])
    uneven = motion.correct_motion(fine, **known | {"dose_per_frame": doses})
    even = motion.correct_motion(fine, **known)
    np.testing.assert_array_equal(uneven.weighted, even.weighted)
    doses[0] = 8.0
    late = motion.correct_motion(fine, **known | {"dose_per_frame": doses, "first_frame": 1})
    later = motion.correct_motion(fine, **known | {"initial_dose": 6.0, "first_frame": 1})
    np.testing.assert_allclose(late.weighted, later.weighted, atol=1e-5)


def test_gain_and_defects_leave_no_trace():
    factor = np.random.default_rng(4).normal(1, 0.1, SHAPE).astype(np.float32)
    factor[:, 77] = 0
    truth = trajectory(10, 4.0)
    raw = movie(truth, pattern=np.where(factor > 0, 1 / np.maximum(factor, 0.1), 0))
    raw[:, 40, 50] = 200
    result = motion.correct_motion(raw, gain=factor, **KNOWN)
    assert result.defects[40, 50]
    assert result.defects[:, 77].all()
    assert rms(result.motion.shifts, truth) < 0.15
    column, beside = result.average[:, 77], result.average[:, [75, 76, 78, 79]]
    assert column.mean() == pytest.approx(beside.mean(), rel=0.03)


def test_integer_shifts_move_whole_pixels():
    frames = movie(trajectory(8, 5.0))
    result = motion.correct_motion(frames, **KNOWN, integer_shifts=True, hot_pixels=False)
    total = result.average * len(frames)
    np.testing.assert_allclose(total, np.round(total), atol=1e-3)


def test_binning_keeps_the_mean_and_halves_the_size():
    frames = movie(trajectory(8, 3.0))
    full = motion.correct_motion(frames, **KNOWN)
    small = motion.correct_motion(frames, **KNOWN, binning=2)
    assert small.average.shape == (128, 160)
    assert small.average.mean() == pytest.approx(full.average.mean(), rel=1e-4)
    np.testing.assert_allclose(small.motion.shifts, full.motion.shifts)


def test_a_range_of_frames_starts_at_zero():
    frames = movie(trajectory(10, 5.0))
    shifts = motion.correct_motion(frames, **KNOWN, first_frame=2, last_frame=7).motion.shifts
    assert shifts.shape == (6, 2)
    assert shifts[0] == pytest.approx([0, 0])


@pytest.mark.parametrize(("first", "last"), [(5, 3), (0, 10), (12, -1), (-1, 3)])
def test_an_impossible_range_is_named(first, last):
    with pytest.raises(ValueError, match="0 to 9"):
        motion.correct_motion(movie(trajectory(10, 1.0)), **KNOWN, first_frame=first, last_frame=last)


def test_a_wrong_gain_names_both_sizes():
    frames = movie(trajectory(3, 1.0))
    with pytest.raises(ValueError, match=r"\(320, 256\).*\(256, 320\)"):
        motion.correct_motion(frames, gain=np.ones((320, 256), np.float32), **KNOWN)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'magic'"):
        motion.correct_motion(movie(trajectory(3, 1.0)), **KNOWN, method="magic")


def test_tiny_frames_are_refused():
    with pytest.raises(ValueError, match="at least 32"):
        motion.correct_motion(np.ones((3, 8, 64), np.uint8), **KNOWN)


def test_a_single_image_is_refused():
    with pytest.raises(ValueError, match="2 axes"):
        motion.correct_motion(np.ones((64, 64), np.uint8), **KNOWN)


def test_frames_without_counts_are_refused():
    for empty in (np.zeros((5, 64, 64), np.uint8), np.full((5, 64, 64), np.nan, np.float32)):
        with pytest.raises(ValueError, match=r"counts|every pixel"):
            motion.correct_motion(empty, **KNOWN)


def spoiled(kind):
    frames = movie(trajectory(6, 2.0)).astype(np.float32)
    if kind == "hot column":
        frames[:] = 0
        frames[:, :, 30] = 50
        frames[:, 5, 5] = 1
    if kind == "constant":
        frames[:] = 3
    if kind == "nan patch":
        frames[2, 30:60, 40:90] = np.nan
    if kind == "three frames":
        frames = frames[:3]
    if kind == "one frame":
        frames = frames[:1]
    if kind == "empty frame":
        frames[3] = 0
    return frames


@pytest.mark.parametrize(
    "kind", ["hot column", "constant", "nan patch", "three frames", "one frame", "empty frame"]
)
def test_degenerate_movies_give_finite_results(kind):
    result = motion.correct_motion(spoiled(kind), **KNOWN)
    assert np.isfinite(result.average).all()
    assert np.isfinite(result.weighted).all()
    assert np.isfinite(result.motion.shifts).all()
    assert np.abs(result.motion.shifts).max() < SHAPE[0] / 2


def test_input_is_left_alone():
    frames = spoiled("nan patch")
    kept = frames.copy()
    frames.flags.writeable = False
    motion.correct_motion(frames, **KNOWN)
    np.testing.assert_array_equal(frames, kept)


def test_alignment_stands_alone():
    truth = trajectory(8, 5.0)
    frames = moving_part(movie(truth).astype(np.float32))
    assert rms(align_frames(FrameSpectra(frames, 8.0)), truth) < 0.15
    np.testing.assert_array_equal(align_frames(FrameSpectra(np.ones((1, 64, 64), np.float32), 8.0)), 0)


def test_frames_moved_back_and_halved_show_the_same_place():
    y, x = np.mgrid[:96, :128]
    shifts = np.array([[0.0, 0.0], [3.4, -5.7], [-8.2, 10.3], [1.5, 2.5], [-4.1, 0.6]])
    blobs = [np.exp(-((y - 40 - dy) ** 2 + (x - 60 - dx) ** 2) / 50) for dy, dx in shifts]
    half = FrameSpectra(np.array(blobs, np.float32), 8.0).halved(shifts)
    expected = np.exp(-((2 * y[:48, :64] - 40) ** 2 + (2 * x[:48, :64] - 60) ** 2) / 50)
    np.testing.assert_allclose(half, np.broadcast_to(expected / expected.max(), half.shape), atol=0.01)
    spectra = FrameSpectra(np.array(blobs, np.float32), 8.0)
    expected = [half[:2].sum(axis=0), half[2:].sum(axis=0)]
    np.testing.assert_allclose(spectra.halved(shifts, 2), expected, atol=1e-5)


def test_peak_position_is_exact_for_a_paraboloid():
    y, x = np.mgrid[:9, :11]
    image = 5 - (y - 3.3) ** 2 - 0.5 * (x - 6.2) ** 2 + 0.3 * (y - 3.3) * (x - 6.2)
    np.testing.assert_allclose(peak_positions(image[None])[0], [3.3, 6.2], atol=1e-6)


@pytest.mark.parametrize("law", ["root", "linear", "late jump"])
@pytest.mark.parametrize("n", [8, 16, 60])
def test_smoothing_follows_any_law_and_removes_noise(law, n):
    u = np.linspace(0, 1, n)
    along = {"root": np.sqrt(u), "linear": u, "late jump": 1 / (1 + np.exp((0.6 - u) / 0.03))}[law]
    truth = 10 * along[:, None] * np.array([1, -0.5])
    noisy = truth + np.random.default_rng(n).normal(0, 0.15, truth.shape)
    smooth = smooth_trajectory(noisy)
    assert rms(smooth, truth) < rms(noisy, truth) * (1.1 if law == "late jump" else 0.95)


@pytest.mark.parametrize("n", [16, 40])
def test_smoothing_keeps_a_random_walk(n):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = np.cumsum(rng.normal(0, 1.5, (n, 2)), axis=0)
        noisy = truth + rng.normal(0, 0.1, truth.shape)
        assert rms(smooth_trajectory(noisy), truth) < 1.1 * rms(noisy, truth)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_smoothing_leaves_a_line_and_short_movies(n):
    line = np.sqrt(np.arange(n))[:, None] * np.array([2.0, -1.0])
    np.testing.assert_allclose(smooth_trajectory(line), line, atol=1e-8)
