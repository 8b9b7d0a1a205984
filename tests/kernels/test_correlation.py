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
    found = correlations(spectra, total, band, reach=4)[0]

    ky, kx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])
    turns = np.exp(2j * np.pi * (moves[0, :, 0, None, None] * ky + moves[0, :, 1, None, None] * kx))
    moved = np.fft.fft2(images) * turns
    near = np.ix_(range(5), range(-4, 5), range(-4, 5))
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

    splines, read = splines.astype(np.float32), np.empty((2, 3, 5))
    for p, f in np.ndindex(2, 3):
        read[p, f] = _cpu_correlation._read_spline(splines, p, f, 13, *offset[p, f])
    value, slope, bend = read[..., 0], read[..., 1:3], read[..., 3:]
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


def test_moments_are_sums_of_what_is_read_of_the_splines():
    rng = np.random.default_rng(5)
    fits, patches, frames, n_times = 2, 3, 6, 3
    maps = rng.normal(size=(patches, frames, 13, 13)).astype(np.float32)
    at, shapes = rng.normal(size=(patches, frames, 2)), rng.normal(size=(patches, 5))
    times, used = rng.normal(size=(fits, frames, n_times)), rng.random((fits, frames)) < 0.6
    amounts = 0.5 * rng.normal(size=(fits, 5, n_times, 2))
    found = _cpu_correlation.spline_moments(maps, at, shapes, times, used, amounts)
    for fit, patch in np.ndindex(fits, patches):
        offset = np.einsum("s,ska,fk->fa", shapes[patch], amounts[fit], times[fit]) - at[patch]
        read = np.array(
            [_cpu_correlation._read_spline(maps, patch, f, 13, *offset[f]) for f in range(frames)]
        )
        read, time = read[used[fit]], times[fit][used[fit]]
        peaks = np.maximum(-read[:, 3:], 0)
        i, k = np.triu_indices(n_times)
        pairs = (peaks.T @ (time[:, i] * time[:, k])).ravel()
        expected = [read[:, 0].sum(), read[:, 3:].sum(), (read[:, 1:3] ** 2).sum()]
        expected += [*(time.T @ read[:, 1:3]).ravel(), *pairs]
        np.testing.assert_allclose(found[fit, patch], expected, rtol=1e-9, atol=1e-12)
