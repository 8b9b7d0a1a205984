"""The hot loops of motion correction on the CPU: add up counts, bin frames, sample frames and sum them.

Loops over x index the arrays themselves, in steps of known length: a view of a row costs numba two atomic
operations, a division more than the pixels of a step.
"""

import numba
import numpy as np

from nextpyp_nb.records import FloatArray

GRID = 32
TOGETHER = 4


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def add_counts(total: FloatArray, raw: FloatArray) -> None:
    """Add one frame of any type to a float32 sum of the same size."""
    ny, nx = total.shape
    for y in range(ny):
        for x in range(nx):
            total[y, x] += np.float32(raw[y, x])


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def bin_frame(raw: FloatArray, factor: FloatArray, size: int, small: FloatArray) -> None:
    """Mean of size × size pixels of raw counts times their factor; where that is 0 nothing is counted."""
    ny, nx = small.shape
    line = np.empty(nx * size, np.float32)
    for row in range(ny):
        line[:] = 0
        for y in range(row * size, (row + 1) * size):
            for x in range(len(line)):
                line[x] += np.float32(raw[y, x]) * factor[y, x] if factor[y, x] != 0 else np.float32(0)
        for x in range(nx):
            value = np.float32(0)
            for k in range(size):
                value += line[x * size + k]
            small[row, x] = value / np.float32(size * size)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_moved(
    sums: FloatArray,
    frames: FloatArray,
    weights: FloatArray,
    down: FloatArray,
    across: FloatArray,
    table: FloatArray,
) -> None:
    """Add weights[r, f] times frame f, sampled at a shift that varies over it, to sums[r]; edges mirror.

    ``frames`` is (TOGETHER, y, step, GRID), rows filled up to whole steps, and ``sums`` (r, y, x).
    ``down`` and ``across`` (frame, row, column) are the y and x shifts in px at every GRID-th px, the first
    at the columns sampled and the second at those written; ``table`` (2 n + 1, 7) holds the taps of 0 to 2 px
    in steps of 1 / n. Between grid points the taps are interpolated, not the shifts. Row by row over all
    frames given, so that the rows of the sums stay in the cache.
    """
    ny, steps = frames.shape[1:3]
    nx = sums.shape[2]
    margin = int(np.abs(across).max()) + 6
    line = np.zeros(steps * GRID + 2 * margin, np.float32)
    inner = line[margin : margin + steps * GRID].reshape(steps, GRID)
    shifted = np.zeros((TOGETHER, steps, GRID), np.float32)
    rows = shifted.reshape(TOGETHER, steps * GRID)
    here = np.empty(steps + 1, np.float32)
    for y in range(ny):
        row, part = y // GRID, np.float32((y % GRID) / GRID)
        for f in range(len(down)):
            for c in range(steps + 1):
                here[c] = (1 - part) * down[f, row, c] + part * down[f, row + 1, c]
            _pull_down(inner, frames[f], y, here, table)
            for i in range(margin):
                line[margin - 1 - i] = line[margin + _mirror(-1 - i, nx)]
                line[margin + nx + i] = line[margin + _mirror(nx + i, nx)]
            for c in range(steps + 1):
                here[c] = (1 - part) * across[f, row, c] + part * across[f, row + 1, c]
            _pull_across(shifted[f], line, margin, here, table)
        for r in range(len(weights)):
            _add_rows(sums[r, y], rows[0], rows[1], rows[2], rows[3], weights[r])


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_down(line: FloatArray, frame: FloatArray, y: int, here: FloatArray, table: FloatArray) -> None:
    """Fill a line (step, GRID) from the rows around y + shift, the shift given at the ends of each step."""
    ny, unit = len(frame), len(table) // 2
    for c in range(len(line)):
        start = int(np.floor(min(here[c], here[c + 1])))
        i = min(int((here[c] - start) * unit + 0.5), 2 * unit)
        j = min(int((here[c + 1] - start) * unit + 0.5), 2 * unit)
        top = y + start - 2
        m0, m1, m2, m3 = _mirror(top, ny), _mirror(top + 1, ny), _mirror(top + 2, ny), _mirror(top + 3, ny)
        m4, m5, m6 = _mirror(top + 4, ny), _mirror(top + 5, ny), _mirror(top + 6, ny)
        a0, a1, a2, a3, a4, a5, a6 = _row(table, i)
        b0, b1, b2, b3, b4, b5, b6 = _row(table, j)
        for x in range(GRID):
            t = np.float32(x) * np.float32(1 / GRID)
            u = 1 - t
            line[c, x] = (
                (a0 * u + b0 * t) * frame[m0, c, x]
                + (a1 * u + b1 * t) * frame[m1, c, x]
                + (a2 * u + b2 * t) * frame[m2, c, x]
                + (a3 * u + b3 * t) * frame[m3, c, x]
                + (a4 * u + b4 * t) * frame[m4, c, x]
                + (a5 * u + b5 * t) * frame[m5, c, x]
                + (a6 * u + b6 * t) * frame[m6, c, x]
            )


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_across(
    shifted: FloatArray, line: FloatArray, margin: int, here: FloatArray, table: FloatArray
) -> None:
    """Fill (step, GRID) from the pixels around x + shift of a line that has a margin on both sides."""
    unit = len(table) // 2
    for c in range(len(shifted)):
        start = int(np.floor(min(here[c], here[c + 1])))
        i = min(int((here[c] - start) * unit + 0.5), 2 * unit)
        j = min(int((here[c + 1] - start) * unit + 0.5), 2 * unit)
        a0, a1, a2, a3, a4, a5, a6 = _row(table, i)
        b0, b1, b2, b3, b4, b5, b6 = _row(table, j)
        near = line[margin + GRID * c + start - 2 :]
        for x in range(GRID):
            t = np.float32(x) * np.float32(1 / GRID)
            u = 1 - t
            shifted[c, x] = (
                (a0 * u + b0 * t) * near[x]
                + (a1 * u + b1 * t) * near[x + 1]
                + (a2 * u + b2 * t) * near[x + 2]
                + (a3 * u + b3 * t) * near[x + 3]
                + (a4 * u + b4 * t) * near[x + 4]
                + (a5 * u + b5 * t) * near[x + 5]
                + (a6 * u + b6 * t) * near[x + 6]
            )


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _add_rows(
    out: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray, weights: FloatArray
) -> None:
    """Add four rows with their weights."""
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    for x in range(len(out)):
        out[x] += wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _row(table: FloatArray, i: int) -> tuple[float, ...]:
    return table[i, 0], table[i, 1], table[i, 2], table[i, 3], table[i, 4], table[i, 5], table[i, 6]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _mirror(i: int, n: int) -> int:
    """Index of a pixel after reflection at the edges, the edge pixel repeated."""
    while i < 0 or i >= n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i
