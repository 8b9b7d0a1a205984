"""Fourier geometry that several kernels share: resizing, frequency grids, shifts, ring averages."""

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.records import FloatArray


def fourier_resize(image: Any, shape: tuple[int, int]) -> Any:
    """Resample real images by cropping or padding their transform; the mean of the image is kept.

    ``image`` is (..., y, x), the result float32 (..., *shape) over the same field of view. Of an even axis
    that changes its size the Nyquist line is dropped, since half of it is unknown.
    """
    xp, fft = array_module(image), fft_module(image)
    ny, nx = image.shape[-2:]
    if min(shape) < 1:
        raise ValueError(f"cannot resize {ny} × {nx} px to {tuple(shape)}: both sides must be positive")
    image = xp.asarray(image, dtype=xp.float32)
    if (ny, nx) == tuple(shape):
        return image.copy()
    transform = fft.rfft(image, axis=-1)
    keep_x = (min(nx, shape[1]) + 1) // 2 if nx != shape[1] else nx // 2 + 1
    transform = fft.fft(transform[..., :keep_x], axis=-2)
    if ny != shape[0]:
        transform = resize_rows(transform, shape[0])
    return irfft2_in_place(transform, shape) * xp.float32(shape[0] * shape[1] / (ny * nx))


def irfft2_in_place(transform: Any, shape: tuple[int, int]) -> Any:
    """Images (..., *shape) of half spectra (..., y, x) of as many rows, which are then used up.

    Columns that they lack are 0. SciPy's irfft2 copies the spectra first, at half the cost of the transform.
    """
    fft = fft_module(transform)
    if on_gpu(transform):
        return fft.irfft2(transform, s=shape, overwrite_x=True)
    return fft.irfft(fft.ifft(transform, axis=-2, overwrite_x=True), n=shape[1], axis=-1)


def bin_image(image: Any, factor: int) -> Any:
    """Means of ``factor`` × ``factor`` px of a float32 image (y, x); lines that are left over are dropped."""
    ny, nx = (n // factor * factor for n in image.shape)
    # Sums of slices cost a tenth of a mean over short axes.
    rows = sum((image[k:ny:factor, :nx] for k in range(1, factor)), image[:ny:factor, :nx])
    total = sum((rows[:, k::factor] for k in range(1, factor)), rows[:, ::factor])
    return total * np.float32(1 / factor**2)


def resize_rows(transform: Any, rows: int) -> Any:
    """Spectra (..., y, x) with ``rows`` rows: the frequencies of both row counts are kept, others are 0."""
    ny = transform.shape[-2]
    keep = (min(ny, rows) + 1) // 2
    shape = (*transform.shape[:-2], rows, transform.shape[-1])
    resized = array_module(transform).zeros(shape, transform.dtype)
    resized[..., :keep, :] = transform[..., :keep, :]
    if keep > 1:
        resized[..., 1 - keep :, :] = transform[..., 1 - keep :, :]
    return resized


def rfft_frequency(shape: tuple[int, int], pixel_size: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Frequencies (ny, 1) and (1, nx // 2 + 1) of an rfft2 over (y, x), float32, in 1/Å."""
    ky = np.fft.fftfreq(shape[0], pixel_size).astype(np.float32)
    kx = np.fft.rfftfreq(shape[1], pixel_size).astype(np.float32)
    return ky[:, None], kx[None, :]


def radial_frequency(shape: tuple[int, int], pixel_size: float = 1.0) -> FloatArray:
    """Magnitude of the frequency at each point of an rfft2, float32 (ny, nx // 2 + 1)."""
    ky, kx = rfft_frequency(shape, pixel_size)
    return np.hypot(ky, kx)


def phase_ramps(shape: tuple[int, int], shift: Any) -> tuple[Any, Any]:
    """Factors (ny, 1) and (1, nx // 2 + 1) whose product moves an image by ``shift`` (y, x) px."""
    ky, kx = rfft_frequency(shape)
    turn = -2j * np.pi
    return (
        np.exp(turn * float(shift[0]) * ky).astype(np.complex64),
        np.exp(turn * float(shift[1]) * kx).astype(np.complex64),
    )


def phase_shift(transform: Any, shape: tuple[int, int], shift: Any) -> Any:
    """Move an image by ``shift`` (y, x) px through its rfft2: a feature at p comes to p + shift."""
    xp = array_module(transform)
    down, across = phase_ramps(shape, shift)
    return transform * xp.asarray(down) * xp.asarray(across)


@lru_cache(maxsize=8)
def _rings(shape: tuple[int, int], n_bins: int) -> tuple[Any, Any, Any]:
    """Ring number, Hermitian weight and ring weight of each point of an rfft2."""
    ring = np.minimum((radial_frequency(shape) * 2 * n_bins).astype(np.int32), n_bins)
    weight = np.full(ring.shape, 2.0)
    weight[:, 0] = 1.0
    if shape[1] % 2 == 0:
        weight[:, -1] = 1.0
    total = np.bincount(ring.ravel(), weight.ravel(), n_bins + 1)[:n_bins]
    return ring.ravel(), weight.ravel(), total


def radial_average(power: Any, shape: tuple[int, int], n_bins: int) -> Any:
    """Ring average of an rfft2-shaped map: (ny, nx // 2 + 1) -> (n_bins,) float64 from 0 to Nyquist.

    Ring i holds frequencies i / (2 n_bins) .. (i + 1) / (2 n_bins) cycles/px; the corners are left out and an
    empty ring is 0.
    """
    xp = array_module(power)
    expected = (shape[0], shape[1] // 2 + 1)
    if power.shape != expected:
        raise ValueError(
            f"the map is {power.shape}, expected {expected}: pass the rfft2 of an image of {tuple(shape)}"
        )
    ring, weight, total = (xp.asarray(a) for a in _rings(tuple(shape), n_bins))
    sums = xp.bincount(ring, power.ravel() * weight, n_bins + 1)[:n_bins]
    return sums / xp.maximum(total, 1)


def fast_even(side: int) -> int:
    """The next larger even length whose transform is quick."""
    return int(2 * scipy.fft.next_fast_len((side + 1) // 2, real=True))


def fast_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """The next larger even (y, x) size whose transform is quick."""
    return fast_even(shape[0]), fast_even(shape[1])
