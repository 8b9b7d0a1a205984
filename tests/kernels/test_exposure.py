import numpy as np
import pytest

from nextpyp_nb.kernels import exposure
from nextpyp_nb.kernels.fourier import radial_frequency


@pytest.mark.parametrize(("resolution", "expected"), [(20, 38.7), (8, 10.6), (3, 4.34), (2, 3.59)])
def test_critical_exposure_is_the_published_curve(resolution, expected):
    assert exposure.critical_exposure(np.array(1 / resolution), 300) == pytest.approx(expected, rel=0.01)


def test_damage_is_faster_at_lower_voltage():
    k = np.array([0.1, 0.3])
    ratio = exposure.critical_exposure(k, 200) / exposure.critical_exposure(k, 300)
    np.testing.assert_allclose(ratio, 0.8)


def test_filters_keep_the_mean_and_white_noise():
    k = np.linspace(0, 0.5, 50)
    filters = exposure.exposure_filters(k, np.arange(1, 21) * 2.0, 300)
    np.testing.assert_allclose(np.sum(filters**2, axis=0), 1 / 20)
    assert filters[:, 0].sum() == pytest.approx(1, abs=1e-3)
    assert (np.diff(filters[:, 40]) < 0).all()


def test_filters_are_finite_far_beyond_the_critical_exposure():
    filters = exposure.exposure_filters(np.linspace(0, 2, 20), 5000 + np.arange(3) * 500.0, 100)
    np.testing.assert_allclose(np.sum(filters**2, axis=0), 1 / 3)


@pytest.mark.parametrize(("pixel_size", "n", "dose"), [(0.83, 50, 1.0), (1.3, 16, 2.0), (0.65, 75, 1.07)])
def test_six_sums_stand_for_all_filters(pixel_size, n, dose):
    exposures = np.arange(1, n + 1) * dose
    weights, curves = exposure.low_rank_filters(exposures, pixel_size=pixel_size, voltage=300)
    k = np.linspace(0, np.sqrt(0.5) / pixel_size, exposure.SAMPLES)
    exact = exposure.exposure_filters(k, exposures, 300)
    assert np.abs(weights.T @ curves - exact).max() < 1e-3 * exact.max()
    np.testing.assert_allclose(weights[0], 1 / n, rtol=1e-6)


def test_the_sum_is_that_of_a_naive_filter():
    frames = np.random.default_rng(5).poisson(3.0, (24, 64, 80)).astype(np.float32)
    exposures = 3.0 + np.arange(1, 25) * 1.5
    weights, curves = exposure.low_rank_filters(exposures, pixel_size=1.1, voltage=300)
    moments = np.einsum("rf,fyx->ryx", weights, frames)
    filters = exposure.exposure_filters(radial_frequency((64, 80), 1.1), exposures, 300)
    naive = sum(np.fft.rfft2(f) * q for f, q in zip(frames, filters, strict=True))
    weighted, average = exposure.combine_moments(moments, curves)
    difference = weighted - naive
    assert np.abs(difference).max() < 1e-3 * np.abs(naive[1:]).max()
    np.testing.assert_allclose(np.fft.irfft2(average), frames.mean(0), atol=3e-3)


def test_a_short_movie_needs_no_more_sums_than_frames():
    weights, curves = exposure.low_rank_filters(np.array([2.0, 4.0]), pixel_size=1.0, voltage=300)
    assert weights.shape == (2, 2)
    assert curves.shape == (2, exposure.SAMPLES)
