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
    """Weight (y, x), spectra (s, f, y, x), the conjugate of total (s, y, x) less them: (s, y, f, x)."""
    sets, frames, ny, nx = spectra.shape
    product = np.empty((sets, ny, frames, nx), np.complex64)
    for s in range(sets):
        for y in range(ny):
            for f in range(frames):
                for x in range(nx):
                    one = spectra[s, f, y, x]
                    product[s, y, f, x] = np.conj(total[s, y, x] - one) * one * weight[y, x]
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
    for j in range(fits):
        for p in range(patches):
            speed = _speeds(shapes[p], amounts[j])
            for f in range(frames):
                if used[j, f]:
                    y, x = -at[p, f, 0], -at[p, f, 1]
                    for k in range(n_times):
                        y += times[j, f, k] * speed[k, 0]
                        x += times[j, f, k] * speed[k, 1]
                    _add_moments(moments[j, p], _read_spline(maps, p, f, n, y, x), times[j, f])
    return moments


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _speeds(shapes: FloatArray, amounts: FloatArray) -> FloatArray:
    """Shapes (s,) times amounts (s, k, 2): (k, 2)."""
    speed = np.zeros(amounts.shape[1:])
    for s in range(len(shapes)):
        speed += shapes[s] * amounts[s]
    return speed


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _add_moments(sums: FloatArray, read: tuple[float, ...], time: FloatArray) -> None:
    """Add what was read of one map to the moments of its patch."""
    value, slope_y, slope_x, bend_y, bend_x = read
    sums[0] += value
    sums[1] += bend_y + bend_x
    sums[2] += slope_y**2 + slope_x**2
    place = 3
    for k in range(len(time)):
        sums[place] += time[k] * slope_y
        sums[place + 1] += time[k] * slope_x
        place += 2
    for peak in (max(-bend_y, 0.0), max(-bend_x, 0.0)):
        for k in range(len(time)):
            for i in range(k, len(time)):
                sums[place] += time[k] * time[i] * peak
                place += 1


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _read_spline(maps: FloatArray, p: int, f: int, n: int, y: float, x: float) -> tuple[float, ...]:
    """Value, slope along y and x, curvature along y and x of a map at an offset from its middle."""
    first_y, down, steep_y, bent_y = _taps(y + n // 2, n)
    first_x, across, steep_x, bent_x = _taps(x + n // 2, n)
    value, slope_y, slope_x, bend_y, bend_x = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(4):
        even, first, second = 0.0, 0.0, 0.0
        for j in range(4):
            point = maps[p, f, first_y + i, first_x + j]
            even += across[j] * point
            first += steep_x[j] * point
            second += bent_x[j] * point
        value += down[i] * even
        slope_y += steep_y[i] * even
        slope_x += down[i] * first
        bend_y += bent_y[i] * even
        bend_x += down[i] * second
    return value, slope_y, slope_x, bend_y, bend_x


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _taps(place: float, n: int) -> Any:
    """Where the first of four points is, and their weights for value, slope and curvature at a place."""
    inside = min(max(place, 1.0), n - 2 - 1e-6)
    first = int(inside)
    t = inside - first
    s = 1 - t
    # Beyond the last but one point a map goes on level.
    level = 1.0 if place == inside else 0.0
    value = s**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
    slope = (
        -level * s**2 / 2,
        level * (3 * t**2 - 4 * t) / 2,
        level * (-3 * t**2 + 2 * t + 1) / 2,
        level * t**2 / 2,
    )
    return first - 1, value, slope, (s, 3 * t - 2, 1 - 3 * t, t)
