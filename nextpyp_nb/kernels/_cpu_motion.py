"""The one hot loop of motion correction on the CPU: shift a frame and add it to weighted sums."""

import numba
import numpy as np

from nextpyp_nb.records import FloatArray


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_shifted(
    sums: FloatArray,
    frame: FloatArray,
    weights: FloatArray,
    start: tuple[int, int],
    taps_y: FloatArray,
    taps_x: FloatArray,
) -> None:
    """Add weights[r] times the frame, sampled at x + start + tap number, to sums[r]; edges are mirrored."""
    ny, nx = frame.shape
    n_taps = len(taps_x)
    line = np.empty(nx + n_taps - 1, np.float32)
    shifted = np.empty(nx, np.float32)
    columns = np.empty(nx + n_taps - 1, np.int64)
    for i in range(len(columns)):
        columns[i] = _mirror(i + start[1], nx)
    for y in range(ny):
        line[:] = 0
        for k in range(n_taps):
            row = frame[_mirror(y + start[0] + k, ny)]
            tap = taps_y[k]
            for i in range(len(columns)):
                line[i] += tap * row[columns[i]]
        shifted[:] = 0
        for k in range(n_taps):
            tap = taps_x[k]
            for x in range(nx):
                shifted[x] += tap * line[x + k]
        for r in range(len(weights)):
            weight = weights[r]
            out = sums[r, y]
            for x in range(nx):
                out[x] += weight * shifted[x]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _mirror(i: int, n: int) -> int:
    """Index of a pixel after reflection at the edges, the edge pixel repeated."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i
