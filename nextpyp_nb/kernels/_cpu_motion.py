"""The hot loops of motion correction on the CPU: shift frames and add them to weighted sums."""

from typing import Any

import numba
import numpy as np

from nextpyp_nb.records import FloatArray


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_shifted(
    sums: FloatArray,
    frames: FloatArray,
    weights: FloatArray,
    starts: FloatArray,
    taps: FloatArray,
) -> None:
    """Add weights[r, f] times frame f, sampled at x + starts[f] + tap number, to sums[r]; edges mirror.

    ``starts`` is (frame, 2) whole px and ``taps`` (frame, 2, 6) weights, in (y, x). Row by row over all
    frames given, so that the rows of the sums stay in the cache.
    """
    n_frames, ny, nx = frames.shape
    n_taps = taps.shape[2]
    line = np.empty(nx + n_taps - 1, np.float32)
    shifted = np.empty(nx, np.float32)
    for y in range(ny):
        for f in range(n_frames):
            line[:] = 0
            for k in range(n_taps):
                row = frames[f, _mirror(y + starts[f, 0] + k, ny)]
                _add_row(line, row, taps[f, 0, k], starts[f, 1])
            shifted[:] = 0
            for k in range(n_taps):
                tap = taps[f, 1, k]
                for x in range(nx):
                    shifted[x] += tap * line[x + k]
            for r in range(len(weights)):
                weight = weights[r, f]
                out = sums[r, y]
                for x in range(nx):
                    out[x] += weight * shifted[x]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_moved(
    sums: FloatArray,
    frames: FloatArray,
    weights: FloatArray,
    down: FloatArray,
    across: FloatArray,
    grid: int,
    table: FloatArray,
) -> None:
    """Add weights[r, f] times frame f, sampled at a shift that varies over it, to sums[r]; edges mirror.

    ``down`` and ``across`` (frame, row, column) are the y and x shifts in px at every ``grid``-th px, the
    first at the columns sampled and the second at those written; ``table`` (2 n + 1, taps) holds the taps of
    0 to 2 px in steps of 1 / n. Between grid points the taps are interpolated, not the shifts.
    """
    n_frames, ny, nx = frames.shape
    columns = down.shape[2]
    line, shifted = np.empty(nx, np.float32), np.empty(nx, np.float32)
    here = np.empty(columns, np.float32)
    for y in range(ny):
        row, part = y // grid, np.float32((y % grid) / grid)
        for f in range(n_frames):
            for c in range(columns):
                here[c] = (1 - part) * down[f, row, c] + part * down[f, row + 1, c]
            line[:] = 0
            for c in range(columns - 1):
                _pull_down(line, frames[f], y, here[c], here[c + 1], c * grid, grid, table)
            for c in range(columns):
                here[c] = (1 - part) * across[f, row, c] + part * across[f, row + 1, c]
            shifted[:] = 0
            for c in range(columns - 1):
                _pull_across(shifted, line, here[c], here[c + 1], c * grid, grid, table)
            for r in range(len(weights)):
                weight = weights[r, f]
                out = sums[r, y]
                for x in range(nx):
                    out[x] += weight * shifted[x]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_down(
    line: FloatArray,
    frame: FloatArray,
    y: int,
    left: float,
    right: float,
    first: int,
    grid: int,
    table: FloatArray,
) -> None:
    """Fill one grid step of a line from the rows around y + shift, the shift going from left to right."""
    start = int(np.floor(min(left, right)))
    begin, end = _taps(table, left - start), _taps(table, right - start)
    last = min(first + grid, len(line))
    for k in range(table.shape[1]):
        if begin[k] == 0 and end[k] == 0:
            continue
        tap, slope = begin[k], (end[k] - begin[k]) / np.float32(grid)
        row = frame[_mirror(y + start + k - 2, len(frame))]
        for x in range(first, last):
            line[x] += (tap + slope * np.float32(x - first)) * row[x]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_across(
    shifted: FloatArray, line: FloatArray, left: float, right: float, first: int, grid: int, table: FloatArray
) -> None:
    """Fill one grid step from the pixels of a line around x + shift, the shift going from left to right."""
    start = int(np.floor(min(left, right)))
    begin, end = _taps(table, left - start), _taps(table, right - start)
    last = min(first + grid, len(line))
    for k in range(table.shape[1]):
        if begin[k] == 0 and end[k] == 0:
            continue
        tap, slope = begin[k], (end[k] - begin[k]) / np.float32(grid)
        place = start + k - 2
        if first + place >= 0 and last + place <= len(line):
            source = line[first + place : last + place]
            for i in range(last - first):
                shifted[first + i] += (tap + slope * np.float32(i)) * source[i]
        else:
            for x in range(first, last):
                shifted[x] += (tap + slope * np.float32(x - first)) * line[_mirror(x + place, len(line))]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _taps(table: FloatArray, offset: float) -> Any:
    """The row of the table for an offset of 0 to 2 px."""
    last = len(table) - 1
    return table[min(int(offset * (last // 2) + 0.5), last)]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _add_row(line: FloatArray, row: FloatArray, weight: float, start: int) -> None:
    """Add weight × row[start + i] to line[i]; only the ends need to be mirrored."""
    n, width = len(line), len(row)
    first = min(max(-start, 0), n)
    last = max(min(width - start, n), first)
    for i in range(first):
        line[i] += weight * row[_mirror(start + i, width)]
    for i in range(last, n):
        line[i] += weight * row[_mirror(start + i, width)]
    inner = row[start + first : start + last]
    for i in range(last - first):
        line[first + i] += weight * inner[i]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _mirror(i: int, n: int) -> int:
    """Index of a pixel after reflection at the edges, the edge pixel repeated."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i
