"""Movies with next to nothing in them end as numbers, never as NaN."""

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
