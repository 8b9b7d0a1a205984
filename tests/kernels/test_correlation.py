import numpy as np
import pytest
import scipy.ndimage

from nextpyp_nb.kernels import _cpu_correlation, _cpu_motion
from nextpyp_nb.kernels.correlation import correlations, low_band, low_spectra, move_back

SHAPE = (60, 72)


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)


def test_few_offsets_are_those_of_the_whole_inverse_transform(images):
    band = low_band(SHAPE, 8.0, 1e-9)
    spectra = low_spectra(images, band)[None]
    moves = np.random.default_rng(2).normal(0, 3, (1, 5, 2))
    total = move_back(spectra, band, moves)
    offsets = np.arange(-4.0, 5.0)
    found = correlations(spectra, total, band, offsets)[0]

    ky, kx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])
    turns = np.exp(2j * np.pi * (moves[0, :, 0, None, None] * ky + moves[0, :, 1, None, None] * kx))
    moved = np.fft.fft2(images) * turns
    near = np.ix_(range(5), offsets.astype(int), offsets.astype(int))
    weight = np.zeros(SHAPE)
    weight[:, : band.weight.shape[1]] = band.weight
    product = np.conj(moved.sum(axis=0) - moved) * moved * weight
    expected = np.fft.ifft2(product).real[near] * np.prod(SHAPE)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_splines_are_read_as_scipy_reads_them():
    rng = np.random.default_rng(3)
    maps, offset = rng.normal(size=(2, 3, 13, 13)), rng.uniform(-4, 4, (2, 3, 2))
    splines = scipy.ndimage.spline_filter1d(scipy.ndimage.spline_filter1d(maps, axis=2), axis=3)

    def at(places):
        chosen = [(maps[p, f], places[p, f]) for p in range(2) for f in range(3)]
        read = [scipy.ndimage.map_coordinates(m, 6 + place[:, None], order=3) for m, place in chosen]
        return np.reshape(read, (2, 3))

    value, slope, bend = _cpu_correlation.read_splines(splines.astype(np.float32), offset)
    np.testing.assert_allclose(value, at(offset), atol=1e-4)
    for axis in range(2):
        step = 1e-3 * np.eye(2)[axis]
        up, down = at(offset + step), at(offset - step)
        np.testing.assert_allclose(slope[..., axis], (up - down) / 2e-3, atol=1e-3)
        np.testing.assert_allclose(bend[..., axis], (up - 2 * at(offset) + down) / 1e-6, atol=2e-2)


@pytest.mark.parametrize("size", [5, 15])
@pytest.mark.parametrize("shape", [(40, 53), (6, 9)])
def test_far_pixels_are_those_of_a_mean_filter(size, shape):
    image = np.random.default_rng(4).normal(15, 1, shape).astype(np.float32)
    mean = scipy.ndimage.uniform_filter(image.astype(float), size, mode="reflect")
    np.testing.assert_array_equal(_cpu_motion.far_from_mean(image, size, 1.5), np.abs(image - mean) > 1.5)
