"""The hot loops of motion correction on the GPU: the twin of ``_cpu_motion`` for CuPy arrays."""

from typing import Any

import numpy as np

from nextpyp_nb.kernels.cuda import cuda_kernel
from nextpyp_nb.records import FloatArray

GRID = 32
ROWS, THREADS = 8, 128
MOST_SUMS = 8
TOGETHER = 4


def add_moved(
    sums: Any,
    frames: Any,
    weights: FloatArray,
    shifts: FloatArray,
    local: FloatArray | None,
    chosen: slice,
    table: FloatArray,
    *,
    xp: Any,
) -> None:
    """Add frames (f, y, x), which are ``chosen`` of all, to sums (r, y, x) with weights (r, all frames).

    Each is sampled at its +shift (all frames, 2) px and the local motion of MotionModel.local; ``table``
    (2 n + 1, 7) holds the taps of 0 to 2 px in steps of 1 / n. Two launches for all frames given.
    """
    n_sums, ny, nx = sums.shape
    if n_sums > MOST_SUMS:
        raise ValueError(f"{n_sums} weighted sums at once, expected at most {MOST_SUMS}")
    numbers = np.arange(len(shifts))[chosen]
    in_time = np.zeros((len(numbers), 2, 6))
    if local is not None:
        in_time = np.einsum("abp,fp->fab", local, numbers[:, None] ** np.arange(1.0, 4.0))
    n, rows, columns = len(numbers), -(-ny // GRID) + 1, -(-nx // GRID) + 1
    down, across = xp.empty((n, rows, columns), np.float32), xp.empty((n, rows, columns), np.float32)
    cuda_kernel(xp, "motion", "field_nodes")(
        (-(-n * rows * columns // THREADS),),
        (THREADS,),
        (
            down,
            across,
            xp.asarray(np.ascontiguousarray(shifts[chosen], np.float64)),
            xp.asarray(np.ascontiguousarray(in_time)),
            *(np.int32(size) for size in (n, rows, columns, ny, nx)),
        ),
    )
    cuda_kernel(xp, "motion", "add_moved")(
        (columns - 1, -(-ny // ROWS)),
        (GRID, ROWS),
        (
            sums,
            frames,
            xp.asarray(np.ascontiguousarray(weights[:, chosen], np.float32)),
            down,
            across,
            xp.asarray(table),
            *(np.int32(size) for size in (len(table) - 1, n_sums, n, rows, columns, ny, nx)),
        ),
    )
