"""The same exposure recorded finer, in space or in time, ends as the same average and trajectory."""

import numpy as np
import pytest

from nextpyp_nb.kernels.fourier import fourier_resize, phase_shift, rfft_frequency
from nextpyp_nb.kernels.motion import correct_motion

SHAPE, FRAMES = (192, 256), 8
KNOWN = {"voltage": 300.0, "hot_pixels": False, "method": "whole-frame"}
TRUTH = 5 * np.stack([1 - np.exp(-np.arange(FRAMES) / 2), -0.6 * np.sqrt(np.arange(FRAMES) / FRAMES)], axis=1)


def ideal(seed=0):
    """Expected counts (f, y, x) of a moving specimen, with nothing beyond 0.3 / px."""
    ky, kx = rfft_frequency(SHAPE)
    noise = np.fft.rfft2(np.random.default_rng(seed).normal(size=SHAPE))
    k = np.hypot(ky, kx)
    image = np.fft.irfft2(noise * np.exp(-((k / 0.12) ** 2)) * (k < 0.3), s=SHAPE)
    spectrum = np.fft.rfft2(4 + image / image.std())
    return np.stack([np.fft.irfft2(phase_shift(spectrum, SHAPE, shift), s=SHAPE) for shift in TRUTH])


def rms(found, wanted):
    difference = (found - found.mean(0)) - (wanted - wanted.mean(0))
    return np.sqrt((difference**2).sum(1).mean())


def test_a_super_resolution_movie_binned_is_the_plain_one():
    plain = np.clip(ideal(), 0.1, None).astype(np.float32)
    # So many electrons fall into four times as many pixels.
    fine = fourier_resize(plain, (2 * SHAPE[0], 2 * SHAPE[1])) / 4
    known = KNOWN | {"dose_per_frame": 2.0}
    counted = correct_motion(plain, pixel_size=1.5, **known)
    binned = correct_motion(fine, pixel_size=0.75, binning=2, **known)
    assert binned.average.shape == SHAPE
    assert rms(binned.motion.shifts / 2, counted.motion.shifts) < 0.05
    assert rms(counted.motion.shifts, TRUTH) < 0.1
    inner = np.s_[10:-10, 10:-10]
    for half, whole in ((binned.average, counted.average), (binned.weighted, counted.weighted)):
        assert np.corrcoef(half[inner].ravel(), whole[inner].ravel())[0, 1] > 0.999
        assert 4 * half.mean() == pytest.approx(whole.mean(), rel=1e-3)


@pytest.mark.parametrize("group", [2, 4])
def test_a_finer_fractionated_movie_in_groups_is_the_plain_one(group):
    rng = np.random.default_rng(3)
    plain = rng.poisson(ideal(1)).astype(np.int64)
    # Each electron falls into one of the frames that a frame is split into.
    fine = np.concatenate([rng.multinomial(frame, [1 / group] * group).transpose(2, 0, 1) for frame in plain])
    known = KNOWN | {"pixel_size": 1.5, "dose_per_frame": 2.0}
    whole = correct_motion(plain.astype(np.uint8), **known)
    split = correct_motion(fine.astype(np.uint8), **(known | {"dose_per_frame": 2 / group}), group=group)
    shifts = split.motion.shifts
    assert len(shifts) == group * FRAMES
    assert rms(shifts.reshape(FRAMES, group, 2).mean(axis=1), whole.motion.shifts) < 0.25
    # Between the centres of the groups the motion goes on evenly.
    assert np.abs(np.diff(shifts, axis=0)).max() < 2
    assert split.mean_dose == pytest.approx(whole.mean_dose / group)
    assert split.average.mean() == pytest.approx(whole.average.mean() / group, rel=1e-3)


def test_frames_of_uneven_dose_are_weighted_by_what_was_taken_by_their_end():
    """Doses as a fractionation table gives them, against the filter written out (Grant and Grigorieff)."""
    doses, pixel_size = np.array([1.0, 1.0, 3.0, 3.0, 12.0]), 1.5
    frames = np.random.default_rng(5).poisson(4 * doses[:, None, None], (5, 64, 96)).astype(np.uint8)
    known = KNOWN | {"pixel_size": pixel_size, "method": "none"}
    weighted = correct_motion(frames, dose_per_frame=doses, initial_dose=2.0, **known).weighted
    k = np.maximum(np.hypot(*rfft_frequency((64, 96))) / pixel_size, 1e-4)
    critical = 0.24499 * k**-1.6649 + 2.8141
    q = np.exp(-(2.0 + np.cumsum(doses))[:, None, None] / (2 * critical))
    wanted = (q * np.fft.rfft2(frames)).sum(axis=0) / np.sqrt(5 * (q**2).sum(axis=0))
    error = np.fft.rfft2(weighted) - wanted
    assert np.abs(error)[k > 0.01].max() < 2e-3 * np.abs(wanted)[k > 0.01].max()
