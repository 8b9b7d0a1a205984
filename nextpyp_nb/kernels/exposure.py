"""Radiation damage: how much of each spatial frequency survives in each frame."""

from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, fft_module
from nextpyp_nb.kernels.fourier import radial_frequency
from nextpyp_nb.records import FloatArray

SAMPLES = 8192
RANK = 6


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
    exposures: FloatArray, *, pixel_size: float, voltage: float, rank: int = RANK
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Factors of the exposure filters: weights over frames (r, frames) and frequency curves (r, samples).

    filters ≈ weightsᵀ @ curves, so that r weighted sums of frames stand for all of them. Also returns the
    coefficients (r,) that make the plain mean of the same sums. Curves run from 0 to the corner, √½ / px.
    """
    frequency = np.linspace(0, np.sqrt(0.5) / pixel_size, SAMPLES)
    filters = exposure_filters(frequency, exposures, voltage)
    n = len(filters)
    table = np.column_stack([filters, np.full((n, int(np.sqrt(SAMPLES))), 1 / n)])
    # The leading singular vectors over frames; the small square matrix is far quicker than the full SVD.
    _, vectors = np.linalg.eigh(table @ table.T)
    frames = vectors[:, ::-1][:, :rank]
    curves = frames.T @ table
    return (
        frames.T.astype(np.float32),
        curves[:, :SAMPLES].astype(np.float32),
        curves[:, -1].astype(np.float32),
    )


def combine_moments(moments: Any, curves: FloatArray) -> Any:
    """Exposure-weighted mean, as an rfft2, of sums made with ``low_rank_filters``: (r, y, x) -> (y, kx)."""
    xp, fft = array_module(moments), fft_module(moments)
    shape = moments.shape[-2:]
    place = radial_frequency(shape) * np.float32((SAMPLES - 1) / np.sqrt(0.5)) + np.float32(0.5)
    sample = xp.asarray(place.astype(np.int32))
    total = xp.zeros(sample.shape, xp.complex64)
    for moment, curve in zip(moments, xp.asarray(curves), strict=True):
        total += fft.rfft2(moment) * curve[sample]
    return total
