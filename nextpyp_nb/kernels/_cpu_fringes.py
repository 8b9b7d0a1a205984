"""The hot loops of a CTF fit: cosines of fringes on a polar grid and their sums, in one pass."""

import math
from typing import Any

import numba
import numpy as np

from nextpyp_nb.records import FloatArray

_PER_TURN = 0.5 / math.pi
RIDGE = 1e-7


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _half_turns(
    bare: FloatArray, arms: FloatArray, parameters: FloatArray, sector: int, line: FloatArray
) -> None:
    """Put chi of one sector into ``line`` (rings,), less whole turns of 2 chi: radians from -pi/2 to pi/2."""
    rings = len(line)
    for r in range(rings):
        line[r] = bare[sector, r]
    for n in range(len(parameters)):
        amount = parameters[n]
        if amount != 0.0:
            for r in range(rings):
                line[r] += amount * arms[n, sector, r]
    for r in range(rings):
        turns = line[r] * _PER_TURN
        line[r] = math.pi * (turns - math.floor(turns + 0.5))


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _sine(x: float) -> Any:
    """Sine between -pi/2 and pi/2 to 1e-9 (Taylor), which compilers turn into vector instructions."""
    y = x * x
    s = 1.0 - y / 156.0
    s = 1.0 - y / 110.0 * s
    s = 1.0 - y / 72.0 * s
    s = 1.0 - y / 42.0 * s
    s = 1.0 - y / 20.0 * s
    return x * (1.0 - y / 6.0 * s)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _cosine(x: float) -> Any:
    """Cosine between -pi/2 and pi/2 to 1e-8."""
    y = x * x
    c = 1.0 - y / 132.0
    c = 1.0 - y / 90.0 * c
    c = 1.0 - y / 56.0 * c
    c = 1.0 - y / 30.0 * c
    c = 1.0 - y / 12.0 * c
    return 1.0 - y / 2.0 * c


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def ring_sums(
    bare: FloatArray, arms: FloatArray, parameters: FloatArray, contrast: FloatArray, weight: FloatArray,
    pull: FloatArray,
) -> Any:  # fmt: skip
    """Sums over sectors of weight x fringe, weight x fringe² and pull x fringe, (3, rings).

    Fringes are -contrast x cos of ``bare`` (sectors, rings) + ``parameters`` · ``arms`` (n, sectors, rings).
    """
    sectors, rings = bare.shape
    sums, line = np.zeros((3, rings)), np.empty(rings)
    for sector in range(sectors):
        _half_turns(bare, arms, parameters, sector, line)
        for r in range(rings):
            sine = _sine(line[r])
            fringe = contrast[r] * (2.0 * sine * sine - 1.0)
            weighted = weight[sector, r] * fringe
            sums[0, r] += weighted
            sums[1, r] += weighted * fringe
            sums[2, r] += pull[sector, r] * fringe
    return sums


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def normal_matrix(
    weighted: FloatArray, squared: FloatArray, smooth: FloatArray, evenness: FloatArray, crossed: FloatArray,
    squares: FloatArray,
) -> Any:  # fmt: skip
    """Normal matrix (n + m, n + m) of background and amplitude, from sums over sectors (rings,).

    ``smooth`` (n, n) is its part of the background alone; ``crossed`` (rings, n m) and ``squares``
    (rings, m²) are products of the splines, ``evenness`` (m, m) restrains the amplitude.
    """
    n, m = len(smooth), len(evenness)
    matrix = np.empty((n + m, n + m))
    matrix[:n, :n] = smooth
    matrix[:n, n:] = (weighted @ crossed).reshape(n, m)
    matrix[n:, :n] = matrix[:n, n:].T
    matrix[n:, n:] = (squared @ squares).reshape(m, m) + evenness
    damping = RIDGE * np.trace(matrix) / (n + m)
    for k in range(n + m):
        matrix[k, k] += damping
    return matrix


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def fit_rings(
    sums: FloatArray, pulled: FloatArray, smooth: FloatArray, evenness: FloatArray, crossed: FloatArray,
    squares: FloatArray, background: FloatArray, amplitude: FloatArray,
) -> Any:  # fmt: skip
    """Background and amplitude (rings,) that fit best, and the weighted sum of squares that they explain.

    ``sums`` (3, rings) as `ring_sums` gives them, ``pulled`` (n,) the power's products with the splines of
    the ``background`` (rings, n); those of the ``amplitude`` are (rings, m), the rest as in `normal_matrix`.
    """
    n = len(smooth)
    right = np.concatenate((pulled, sums[2] @ amplitude))
    found = np.linalg.solve(normal_matrix(sums[0], sums[1], smooth, evenness, crossed, squares), right)
    return background @ found[:n], amplitude @ found[n:], found @ right


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def slope_sums(
    bare: FloatArray, arms: FloatArray, parameters: FloatArray, contrast: FloatArray, weight: FloatArray,
    power: FloatArray, background: FloatArray, amplitude: FloatArray,
) -> Any:  # fmt: skip
    """Half the negative gradient (n,) of the sum of squares, and its Gauss-Newton curvature (n, n)."""
    count, (sectors, rings) = len(parameters), bare.shape
    gradient, curvature = np.zeros(count), np.zeros((count, count))
    line, pull, stiff = np.empty(rings), np.empty(rings), np.empty(rings)
    for sector in range(sectors):
        _half_turns(bare, arms, parameters, sector, line)
        for r in range(rings):
            sine = _sine(line[r])
            height = amplitude[r] * contrast[r]
            steep = height * 2.0 * sine * _cosine(line[r])
            rest = power[sector, r] - background[r] - height * (2.0 * sine * sine - 1.0)
            pull[r] = weight[sector, r] * steep * rest
            stiff[r] = weight[sector, r] * steep * steep
        for n in range(count):
            total = 0.0
            for r in range(rings):
                total += arms[n, sector, r] * pull[r]
            gradient[n] += total
            for m in range(n + 1):
                total = 0.0
                for r in range(rings):
                    total += arms[n, sector, r] * arms[m, sector, r] * stiff[r]
                curvature[n, m] += total
    for n in range(count):
        for m in range(n):
            curvature[m, n] = curvature[n, m]
    return gradient, curvature
