"""The hot loops of alignment on the GPU: the twin of ``_cpu_correlation`` for CuPy arrays."""

from typing import Any

import numpy as np

from nextpyp_nb.kernels.cuda import cuda_kernel
from nextpyp_nb.records import FloatArray

THREADS = 128
FIT_THREADS = 64
PLACES, ROWS = 16, 128  # of a thread of correlate_down
MOMENTS = 21
MOST_SETS = 65535


def cut_windows(frames: Any, corners: FloatArray, window: FloatArray, *, xp: Any) -> Any:
    """Windows (patch, frame, size, size) of frames (f, y, x), from ``corners`` (patch, 2) on.

    Each is multiplied with ``window`` (size,) along both axes.
    """
    size = len(window)
    windows = xp.empty((len(corners), len(frames), size, size), np.float32)
    cuda_kernel(xp, "correlation", "cut_windows")(
        (-(-size * size // THREADS), len(frames), len(corners)),
        (THREADS,),
        (
            windows,
            xp.ascontiguousarray(frames),
            xp.asarray(np.ascontiguousarray(corners, np.int32)),
            xp.asarray(window),
            *(np.int32(k) for k in (size, *frames.shape[1:])),
        ),
    )
    return windows


def turn_and_sum(spectra: Any, moves: FloatArray, ky: FloatArray, kx: FloatArray, *, xp: Any) -> Any:
    """Move images back by moves (s, f, 2) px: turn spectra (s, f, y, x) in place; their sum over f."""
    sets, frames, ny, nx = spectra.shape
    total = xp.empty((sets, ny, nx), np.complex64)
    cuda_kernel(xp, "correlation", "turn_and_sum")(
        (-(-ny * nx // THREADS), sets),
        (THREADS,),
        (
            total,
            spectra,
            *(xp.asarray(np.ascontiguousarray(a, np.float32)) for a in (moves, ky, kx)),
            *(np.int32(k) for k in (frames, ny, nx)),
        ),
    )
    return total


def correlate_down(spectra: Any, total: Any, weight: Any, to_y: FloatArray, *, xp: Any) -> Any:
    """Weighted products of spectra (s, f, y, x) with the conjugate of total (s, y, x) less themselves.

    They are multiplied with to_y (place, y): (s, f, place, x).
    """
    sets, frames, ny, nx = spectra.shape
    parts, places = -(-ny // ROWS), len(to_y)
    lines = xp.empty((sets, frames, parts, places, nx), np.complex64)
    cuda_kernel(xp, "correlation", "correlate_down")(
        (-(-sets * frames * nx // THREADS), parts, -(-places // PLACES)),
        (THREADS,),
        (
            lines,
            spectra,
            total,
            weight,
            xp.asarray(np.ascontiguousarray(to_y, np.complex64)),
            *(np.int32(k) for k in (sets * frames, frames, places, ny, nx)),
        ),
    )
    return lines[:, :, 0] if parts == 1 else lines.sum(axis=2)


def spline_moments(
    maps: Any, at: Any, shapes: Any, times: Any, used: Any, amounts: FloatArray, *, xp: Any
) -> Any:
    """As ``spline_moments`` of correlation.py says; all but the amounts are on the device."""
    frames, n = maps.shape[1:3]
    moments = xp.empty((len(times), len(maps), MOMENTS), np.float64)
    cuda_kernel(xp, "correlation", "spline_moments")(
        (len(maps), len(times)),
        (FIT_THREADS,),
        (
            moments,
            maps,
            at,
            shapes,
            times,
            used,
            xp.asarray(np.ascontiguousarray(amounts, np.float64)),
            np.int32(frames),
            np.int32(n),
        ),
    )
    return moments
