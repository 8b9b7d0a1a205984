"""Radiation damage: how much of each spatial frequency survives in each frame."""

from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.kernels.fourier import rfft_frequency
from nextpyp_nb.records import FloatArray

SAMPLES = 8192
RANK = 8
TOLERANCE = 8e-4


def critical_exposure(frequency: FloatArray, voltage: float) -> FloatArray:
    """Exposure, e⁻/Å², that leaves 1/e of the signal power at a frequency in 1/Å (Grant and Grigorieff 2015).

    Measured at 300 kV; scaled by 0.8 at 200 kV and 0.64 at 100 kV, in between linearly.
    """
    k = np.maximum(frequency, 1e-4)
    scale = np.interp(voltage, (100.0, 200.0, 300.0), (0.64, 0.8, 1.0))
    return np.asarray(scale * (0.24499 * k**-1.6649 + 2.8141))


def exposure_filters(frequency: FloatArray, exposures: FloatArray, voltage: float) -> FloatArray:
    """Weights (frames, *frequency) for a sum of frames that ends in a weighted mean with even noise.

    ``exposures`` is what the specimen had taken by the end of each frame, e⁻/Å². The weights are
    q / sqrt(n Σ q²) with q = exp(-exposure / 2 critical), so a mean is kept and white noise stays white.
    """
    doses = np.reshape(exposures, (-1,) + (1,) * np.ndim(frequency))
    # The common factor cancels; taking it out keeps q above zero at any exposure.
    decay = (doses - doses.min()) / (2 * critical_exposure(frequency, voltage))
    q = np.exp(-decay)
    return np.asarray(q / np.sqrt(len(q) * np.sum(q * q, axis=0)))


def low_rank_filters(
    exposures: FloatArray, *, pixel_size: float, voltage: float
) -> tuple[FloatArray, FloatArray]:
    """Factors of the exposure filters: weights over frames (r, frames) and frequency curves (r, samples).

    filters ≈ weightsᵀ @ curves, so that r weighted sums of frames stand for all of them; r is the least that
    keeps within TOLERANCE of the largest weight. The first of the sums is the plain mean, the others have as
    much noise as it. Curves run from 0 to the corner, √½ / px.
    """
    # The movies of a session are exposed alike.
    return _factors(tuple(np.ravel(exposures).tolist()), pixel_size, voltage)


@lru_cache(maxsize=8)
def _factors(
    exposures: tuple[float, ...], pixel_size: float, voltage: float
) -> tuple[FloatArray, FloatArray]:
    frequency = np.linspace(0, np.sqrt(0.5) / pixel_size, SAMPLES)
    filters = exposure_filters(frequency, np.array(exposures), voltage)
    n = len(filters)
    # The plain mean is exact; then come the leading singular vectors of what it leaves.
    even = np.full((n, 1), 1 / np.sqrt(n))
    rest = filters - even @ (even.T @ filters)
    vectors = np.hstack([even, np.linalg.eigh(rest @ rest.T)[1][:, : -min(RANK, n) : -1]])
    curves = vectors.T @ filters
    rank = 1
    while rank < len(curves) and np.abs(rest).max() > TOLERANCE * filters.max():
        rest -= np.outer(vectors[:, rank], curves[rank])
        rank += 1
    weights, curves = vectors.T[:rank] / np.sqrt(n), curves[:rank] * np.sqrt(n)
    return weights.astype(np.float32), curves.astype(np.float32)


def combine_moments(moments: Any, curves: FloatArray) -> tuple[Any, Any]:
    """Exposure-weighted and plain mean, as rfft2 (y, kx), of sums (r, y, x) by ``low_rank_filters``."""
    fft = fft_module(moments)
    ky, kx = (k * np.float32((SAMPLES - 1) / np.sqrt(0.5)) for k in rfft_frequency(moments.shape[-2:]))
    if on_gpu(moments):
        return _gpu_motion.combine_moments(moments, curves, ky, kx, fft=fft, xp=array_module(moments))
    weighted = np.zeros((ky.size, kx.size), np.complex64)
    average = None
    for moment, curve in zip(moments, curves, strict=True):
        spectrum = fft.rfft2(moment)
        _cpu_motion.add_filtered(weighted, spectrum, curve, ky.ravel(), kx.ravel())
        average = spectrum if average is None else average
        del spectrum  # before the next one is made
    return weighted, average
