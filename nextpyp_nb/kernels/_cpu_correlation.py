"""The hot loops of alignment on the CPU: turn spectra and add them up, multiply them, read spline maps."""

from typing import Any

import numba
import numpy as np

from nextpyp_nb.records import FloatArray


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def turn_and_sum(spectra: Any, turn_y: Any, turn_x: Any) -> Any:
    """Multiply spectra (s, f, y, x) with factors (s, f, y) and (s, f, x) in place; their sum over f."""
    sets, frames, ny, nx = spectra.shape
    total = np.zeros((sets, ny, nx), np.complex64)
    for s in range(sets):
        for y in range(ny):
            for f in range(frames):
                down = turn_y[s, f, y]
                for x in range(nx):
                    spectra[s, f, y, x] *= down * turn_x[s, f, x]
                    total[s, y, x] += spectra[s, f, y, x]
    return total


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def weighted_product(spectra: Any, total: Any, weight: FloatArray) -> Any:
    """Multiply weight (y, x), spectra (s, f, y, x) and the conjugate of total (s, y, x) less themselves."""
    sets, frames, ny, nx = spectra.shape
    product = np.empty(spectra.shape, np.complex64)
    for s in range(sets):
        for f in range(frames):
            for y in range(ny):
                for x in range(nx):
                    one = spectra[s, f, y, x]
                    product[s, f, y, x] = np.conj(total[s, y, x] - one) * one * weight[y, x]
    return product


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def read_splines(maps: FloatArray, offset: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value (p, f), slope (p, f, 2) and curvature (p, f, 2) of cubic-spline maps (p, f, n, n).

    ``offset`` (p, f, 2) is in px from their middle; beyond the last but one point a map goes on level.
    """
    patches, frames, n = maps.shape[:3]
    value = np.zeros((patches, frames))
    slope, bend = np.zeros((patches, frames, 2)), np.zeros((patches, frames, 2))
    taps = np.empty((2, 3, 4))
    for p in range(patches):
        for f in range(frames):
            first_y = _taps(offset[p, f, 0] + n // 2, n, taps[0])
            first_x = _taps(offset[p, f, 1] + n // 2, n, taps[1])
            for i in range(4):
                even, first, second = 0.0, 0.0, 0.0
                for j in range(4):
                    point = maps[p, f, first_y + i, first_x + j]
                    even += taps[1, 0, j] * point
                    first += taps[1, 1, j] * point
                    second += taps[1, 2, j] * point
                value[p, f] += taps[0, 0, i] * even
                slope[p, f, 0] += taps[0, 1, i] * even
                slope[p, f, 1] += taps[0, 0, i] * first
                bend[p, f, 0] += taps[0, 2, i] * even
                bend[p, f, 1] += taps[0, 0, i] * second
    return value, slope, bend


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _taps(place: float, n: int, taps: FloatArray) -> int:
    """Weights of value, slope and curvature at a place; where the first of the four points is."""
    inside = min(max(place, 1.0), n - 2 - 1e-6)
    first = int(inside)
    t = inside - first
    taps[0, 0], taps[0, 1] = (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6
    taps[0, 2], taps[0, 3] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
    taps[1, 0], taps[1, 1] = -((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2
    taps[1, 2], taps[1, 3] = (-3 * t**2 + 2 * t + 1) / 2, t**2 / 2
    taps[2, 0], taps[2, 1], taps[2, 2], taps[2, 3] = 1 - t, 3 * t - 2, 1 - 3 * t, t
    if place != inside:
        taps[1] = 0
    return first - 1
