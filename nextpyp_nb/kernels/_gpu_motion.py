"""The hot loops of motion correction on the GPU: the twin of ``_cpu_motion`` for CuPy arrays."""

from typing import Any

import numpy as np

from nextpyp_nb.kernels.cuda import cuda_kernel
from nextpyp_nb.records import FloatArray, local_in_time

GRID = 32
STRIDE, THREADS = 4, 128
MOST_SUMS = 8
TOGETHER = 8  # frames a thread bins
SEGMENT = 256
TYPES = "bBhHef"


def readable(frames: Any) -> tuple[Any, np.int32]:
    """Frames in a type that the kernels read, and the number that tells them which."""
    if frames.dtype.char not in TYPES or not frames.flags.c_contiguous:
        frames = frames.astype(np.float32, order="C")
    return frames, np.int32(ord(frames.dtype.char))


def total_counts(frames: Any, *, xp: Any) -> Any:
    """Sum of frames (f, y, x), float32 (y, x)."""
    frames, type_ = readable(frames)
    total = xp.empty(frames.shape[1:], np.float32)
    cuda_kernel(xp, "motion", "total_counts")(
        (-(-total.size // THREADS),),
        (THREADS,),
        (total, frames, type_, np.int32(len(frames)), np.int32(total.size)),
    )
    return total


def good_pixels(factor: Any, *, xp: Any) -> Any:
    """How many pixels with a factor above 0 there are up to the end of each SEGMENT of them, int32."""
    good = xp.zeros((-(-factor.size // SEGMENT), SEGMENT), bool)
    xp.not_equal(factor.reshape(-1), 0, out=good.reshape(-1)[: factor.size])
    return xp.cumsum(good.sum(axis=1, dtype=np.int32), dtype=np.int32)


def bin_frames(frames: Any, factor: Any, good: Any, size: int, *, xp: Any) -> Any:
    """Means of size × size px of frames (f, y, x) times their factor (y, x), bad pixels replaced: float32.

    ``good`` are the ``good_pixels`` of the factor, which is 0 where bad.
    """
    frames, type_ = readable(frames)
    n, *shape = frames.shape
    small = xp.empty((n, shape[0] // size, shape[1] // size), np.float32)
    cuda_kernel(xp, "motion", "bin_frames")(
        (-(-small[0].size // THREADS), -(-n // TOGETHER)),
        (THREADS,),
        (small, frames, factor, good, type_, *(np.int32(k) for k in (n, *shape, *small.shape[1:], size))),
    )
    return small


def take_off(frames: Any, still: Any, mask: Any, *, xp: Any) -> None:
    """Take off frames (f, y, x) what stands still and multiply with a mask, both (y, x) at half the size."""
    n, ny, nx = frames.shape
    cuda_kernel(xp, "defects", "take_off")(
        (-(-ny * nx // THREADS),),
        (THREADS,),
        (
            frames,
            *(xp.ascontiguousarray(xp.asarray(image, dtype=np.float32)) for image in (still, mask)),
            *(np.int32(k) for k in (n, ny, nx, *still.shape)),
        ),
    )


def sum_moved(
    frames: Any,
    factor: Any,
    good: Any,
    weights: FloatArray,
    shifts: FloatArray,
    local: FloatArray | None,
    table: FloatArray,
    *,
    xp: Any,
) -> Any:
    """Sums (r, y, x) of frames (f, y, x) with weights (r, f), corrected as ``bin_frames`` does.

    Each is sampled at its +shift (f, 2) px and the local motion of MotionModel.local; ``table`` (2 n + 1, 7)
    holds the taps of 0 to 2 px in steps of 1 / n.
    """
    if len(weights) > MOST_SUMS:
        raise ValueError(f"{len(weights)} weighted sums at once, expected at most {MOST_SUMS}")
    frames, type_ = readable(frames)
    n, ny, nx = frames.shape
    in_time = np.zeros((n, 2, 6))
    if local is not None:
        in_time = local_in_time(local, np.arange(n))
    rows, columns = -(-ny // GRID) + 1, -(-nx // GRID) + 1
    down, across = xp.empty((n, rows, columns), np.float32), xp.empty((n, rows, columns), np.float32)
    cuda_kernel(xp, "motion", "field_nodes")(
        (-(-down.size // THREADS),),
        (THREADS,),
        (
            down,
            across,
            xp.asarray(np.ascontiguousarray(shifts, np.float64)),
            xp.asarray(np.ascontiguousarray(in_time)),
            *(np.int32(size) for size in (n, rows, columns, ny, nx)),
        ),
    )
    sums = xp.empty((len(weights), ny, nx), np.float32)
    cuda_kernel(xp, "motion", "sum_moved")(
        (columns - 1, rows - 1),
        (GRID * GRID // STRIDE,),
        (
            sums,
            frames,
            factor,
            good,
            xp.asarray(np.ascontiguousarray(weights, np.float32)),
            down,
            across,
            xp.asarray(table),
            type_,
            *(np.int32(k) for k in (len(table) - 1, len(weights), n, rows, columns, ny, nx)),
        ),
    )
    return sums


def combine_moments(
    moments: Any, curves: FloatArray, ky: FloatArray, kx: FloatArray, *, fft: Any, xp: Any
) -> tuple[Any, Any]:
    """As ``combine_moments`` of exposure.py; ``ky`` (y, 1) and ``kx`` (1, x) are in samples of the curves."""
    size = np.int32(ky.size), np.int32(kx.size)
    weighted, average = xp.zeros((ky.size, kx.size), np.complex64), None
    there = [xp.asarray(np.ascontiguousarray(a, np.float32)) for a in (curves, ky, kx)]
    for moment, curve in zip(moments, there[0], strict=True):
        spectrum = xp.ascontiguousarray(fft.rfft2(moment))
        cuda_kernel(xp, "correlation", "add_spectrum")(
            (-(-weighted.size // THREADS),),
            (THREADS,),
            (weighted, spectrum, curve, *there[1:], *size),
        )
        average = spectrum if average is None else average
        del spectrum  # before the next one is made
    return weighted, average


def outliers(image: Any, *, step: int, limit: float, contrast: float, xp: Any) -> Any:
    """Pixels of an image (y, x) off the median of 5 × 5 pixels ``step`` apart, as ``_outliers`` does."""
    ny, nx = image.shape
    bad = xp.empty(image.shape, bool)
    cuda_kernel(xp, "defects", "mark_outliers")(
        (-(-nx // 32), -(-ny // 8)),
        (32, 8),
        (bad, image, np.int32(step), np.float32(limit), np.float32(contrast), np.int32(ny), np.int32(nx)),
    )
    return bad
