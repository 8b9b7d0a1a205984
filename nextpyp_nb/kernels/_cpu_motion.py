"""The one hot loop of motion correction on the CPU: shift frames and add them to weighted sums."""

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
