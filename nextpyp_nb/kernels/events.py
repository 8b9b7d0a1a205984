"""Electron events of an EER to counts on the GPU; on the CPU ``formats/eer.py`` counts as it reads."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module
from nextpyp_nb.kernels.cuda import cuda_kernel
from nextpyp_nb.records import FloatArray

# One raw frame is decoded by one thread: few of them in a block spread over all multiprocessors.
THREADS = 4


def count_events(
    words: Any,
    *,
    starts: FloatArray,
    bits: FloatArray,
    coding: tuple[int, int, int],
    shape: tuple[int, int],
    bounds: Sequence[int],
) -> tuple[Any, int]:
    """Sum raw frames bounds[n]..bounds[n + 1] - 1 to frame n: (frame, y, x) counts and how many were corrupt.

    ``words`` (device) hold the events as in ``EventStreams``: raw frame n has ``bits`` from word ``starts``
    on, the first is number bounds[0]. ``coding`` is the bits of a run, of a position and of x in it; with 0
    of these, they are counted at the detector's ``shape``, else at half pixels. Corrupt ones add nothing.
    """
    xp = array_module(words)
    lengths = np.diff(bounds)
    numbers = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    n_raw = len(numbers)
    dtype = np.dtype(np.uint8 if max(stop - start for start, stop in pairwise(bounds)) <= 255 else np.uint16)
    factor = 2 if coding[2] else 1
    full = (len(lengths), factor * shape[0], factor * shape[1])
    size = full[0] * full[1] * full[2]
    counts = xp.zeros(-(-size * dtype.itemsize // 4), np.uint32)
    intact = xp.zeros(n_raw, np.int32)
    cuda_kernel(xp, "events", "add_events")(
        (-(-n_raw // THREADS),),
        (THREADS,),
        (
            words,
            xp.asarray(np.ascontiguousarray(starts, np.int64)),
            xp.asarray(np.ascontiguousarray(bits, np.int64)),
            xp.asarray(numbers),
            counts,
            intact,
            *(np.int32(n) for n in (n_raw, *coding, *shape, dtype.itemsize == 2)),
        ),
    )
    return counts.view(dtype)[:size].reshape(full), n_raw - int(intact.sum())
