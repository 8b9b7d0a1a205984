import numpy as np
import pytest

from nextpyp_nb.kernels import fourier


def wave(shape, cycles_y, cycles_x):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 3 + np.cos(2 * np.pi * (cycles_y * y / shape[0] + cycles_x * x / shape[1]) + 0.3)


@pytest.mark.parametrize("start", [(24, 36), (25, 33)])
@pytest.mark.parametrize("end", [(12, 18), (15, 17), (48, 60), (24, 20), (24, 36), (50, 20)])
def test_resize_keeps_a_wave_and_the_mean(start, end):
    resized = fourier.fourier_resize(wave(start, 2, -3), end)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, wave(end, 2, -3), atol=1e-5)


def test_resize_drops_what_the_new_grid_cannot_hold():
    np.testing.assert_allclose(fourier.fourier_resize(wave((32, 32), 10, 3), (16, 16)), 3, atol=1e-5)


def test_resize_takes_stacks():
    stack = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    one_by_one = [fourier.fourier_resize(image, (10, 14)) for image in stack]
    np.testing.assert_allclose(fourier.fourier_resize(stack, (10, 14)), one_by_one, atol=1e-6)


def test_resize_refuses_an_empty_shape():
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        fourier.fourier_resize(np.zeros((8, 8)), (0, 4))


@pytest.mark.parametrize("shape", [(16, 20), (15, 21)])
def test_phase_shift_moves_a_pixel_to_larger_y_and_x(shape):
    image = np.zeros(shape, np.float32)
    image[5, 3] = 1
    moved = np.fft.irfft2(fourier.phase_shift(np.fft.rfft2(image), shape, (2, 4)), s=shape)
    assert np.unravel_index(moved.argmax(), shape) == (7, 7)
    np.testing.assert_allclose(moved, np.roll(image, (2, 4), (0, 1)), atol=1e-5)


def test_frequencies_are_in_inverse_angstrom():
    ky, kx = fourier.rfft_frequency((8, 10), 2.0)
    assert ky.shape == (8, 1)
    assert kx.shape == (1, 6)
    assert kx[0, -1] == pytest.approx(0.25)
    assert ky.dtype == kx.dtype == np.float32


@pytest.mark.parametrize("shape", [(32, 48), (33, 31)])
def test_radial_average_of_a_radial_map(shape):
    radius = fourier.radial_frequency(shape)
    rings = fourier.radial_average(np.floor(radius * 2 * 8), shape, 8)
    np.testing.assert_allclose(rings, np.arange(8), atol=1e-6)


def test_radial_average_counts_friedel_mates():
    shape = (16, 16)
    image = np.random.default_rng(1).normal(size=shape)
    full = np.abs(np.fft.fft2(image)) ** 2
    k = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16)[None])
    naive = [full[(k >= i / 8) & (k < (i + 1) / 8)].mean() for i in range(4)]
    np.testing.assert_allclose(fourier.radial_average(np.abs(np.fft.rfft2(image)) ** 2, shape, 4), naive)


def test_radial_average_names_the_expected_shape():
    with pytest.raises(ValueError, match=r"\(8, 5\)"):
        fourier.radial_average(np.zeros((8, 8)), (8, 8), 4)


@pytest.mark.parametrize("shape", [(1023, 1437), (4092, 5760), (7, 11)])
def test_fast_shape_is_even_and_never_smaller(shape):
    fast = fourier.fast_shape(shape)
    assert all(f >= s and f % 2 == 0 for f, s in zip(fast, shape, strict=True))
