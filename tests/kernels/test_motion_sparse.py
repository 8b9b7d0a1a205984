"""Movies with next to nothing in them end as numbers, never as NaN; binning against a plain cut."""

import numpy as np
import pytest

from nextpyp_nb.kernels.motion import correct_motion


@pytest.mark.parametrize("method", ["local", "whole-frame", "none"])
@pytest.mark.parametrize(("frames", "dose"), [(2, 1.0), (2, 0.2), (3, 0.2), (12, 0.2)])
def test_few_frames_and_few_counts_give_numbers(frames, dose, method):
    counts = np.random.default_rng(frames).poisson(dose, (frames, 256, 320)).astype(np.uint8)
    result = correct_motion(counts, pixel_size=1.5, voltage=300, dose_per_frame=dose / 1.5**2, method=method)
    assert result.motion.shifts.shape == (frames, 2)
    for found in (result.motion.shifts, result.average, result.weighted):
        assert np.isfinite(found).all()
    if result.motion.local is not None:
        assert np.isfinite(result.motion.local).all()
    assert result.average.mean() == pytest.approx(dose, rel=0.02)
    assert result.mean_dose == pytest.approx(dose, rel=0.02)


def test_binning_is_a_cut_in_fourier_space():
    counts = np.random.default_rng(7).poisson(2.0, (3, 128, 192)).astype(np.uint8)
    known = {"pixel_size": 0.8, "voltage": 300, "dose_per_frame": None, "method": "none", "hot_pixels": False}
    whole = np.fft.fftshift(np.fft.fft2(correct_motion(counts, **known).average))
    found = np.fft.fftshift(np.fft.fft2(correct_motion(counts, **known, binning=2).average))
    naive = whole[32:96, 48:144] / 4
    np.testing.assert_allclose(found[1:, 1:], naive[1:, 1:], atol=1e-2)
