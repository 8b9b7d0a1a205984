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
    """Multiply weight (y, x), spectra (f, y, x), the conjugate of total (y, x) less themselves: (y, f, x)."""
    frames, ny, nx = spectra.shape
    product = np.empty((ny, frames, nx), np.complex64)
    for y in range(ny):
        for f in range(frames):
            for x in range(nx):
                one = spectra[f, y, x]
                product[y, f, x] = np.conj(total[y, x] - one) * one * weight[y, x]
    return product


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def spline_moments(
    maps: FloatArray,
    at: FloatArray,
    shapes: FloatArray,
    times: FloatArray,
    used: FloatArray,
    amounts: FloatArray,
) -> FloatArray:
    """As ``spline_moments`` of correlation.py says."""
    patches, frames, n = maps.shape[:3]
    fits, n_times = len(times), times.shape[2]
    moments = np.zeros((fits, patches, 3 + 2 * n_times + n_times * (n_times + 1)))
    taps, read, offset = np.empty((2, 3, 4)), np.empty(5), np.empty(2)
    for j in range(fits):
        for p in range(patches):
            speed = _speeds(shapes[p], amounts[j])
            for f in range(frames):
                if used[j, f]:
                    offset[:] = -at[p, f]
                    for k in range(n_times):
                        offset += times[j, f, k] * speed[k]
                    _read_spline(maps, p, f, n, offset, taps, read)
                    _add_moments(moments[j, p], read, times[j, f])
    return moments


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _speeds(shapes: FloatArray, amounts: FloatArray) -> FloatArray:
    """Shapes (s,) times amounts (s, k, 2): (k, 2)."""
    speed = np.zeros(amounts.shape[1:])
    for s in range(len(shapes)):
        speed += shapes[s] * amounts[s]
    return speed


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _add_moments(sums: FloatArray, read: FloatArray, time: FloatArray) -> None:
    """Add what was read of one map to the moments of its patch."""
    sums[0] += read[0]
    sums[1] += read[3] + read[4]
    sums[2] += read[1] ** 2 + read[2] ** 2
    place = 3
    for k in range(len(time)):
        for axis in range(2):
            sums[place] += time[k] * read[1 + axis]
            place += 1
    for axis in range(2):
        peak = max(-read[3 + axis], 0.0)
        for k in range(len(time)):
            for i in range(k, len(time)):
                sums[place] += time[k] * time[i] * peak
                place += 1


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _read_spline(
    maps: FloatArray, p: int, f: int, n: int, offset: FloatArray, taps: FloatArray, read: FloatArray
) -> None:
    """Value, slope along y and x, curvature along y and x of a map at an offset from its middle."""
    first_y = _taps(offset[0] + n // 2, n, taps[0])
    first_x = _taps(offset[1] + n // 2, n, taps[1])
    read[:] = 0
    for i in range(4):
        even, first, second = 0.0, 0.0, 0.0
        for j in range(4):
            point = maps[p, f, first_y + i, first_x + j]
            even += taps[1, 0, j] * point
            first += taps[1, 1, j] * point
            second += taps[1, 2, j] * point
        read[0] += taps[0, 0, i] * even
        read[1] += taps[0, 1, i] * even
        read[2] += taps[0, 0, i] * first
        read[3] += taps[0, 2, i] * even
        read[4] += taps[0, 0, i] * second


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
