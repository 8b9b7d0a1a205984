"""Sum frames once, each sampled where the specimen is: Lanczos-3, shifts of whole frames or smooth fields."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.kernels.exposure import combine_moments
from nextpyp_nb.kernels.fourier import rfft_frequency
from nextpyp_nb.kernels.local_motion import local_shifts
from nextpyp_nb.records import FloatArray

TAPS = np.arange(-2, 4)
MIN_RESPONSE = 0.5
TOGETHER = 4
GRID = 32
TAP_STEPS = 1024


def sum_frames(
    frames: Iterator[Any],
    shifts: FloatArray,
    filters: tuple[FloatArray, FloatArray, FloatArray] | None,
    local: FloatArray | None = None,
) -> tuple[Any, Any | None]:
    """Mean and exposure-weighted mean (y, x) of frames sampled at +shift: shifts (frame, 2) px, y before x.

    ``filters`` are those of ``low_rank_filters``, None for no weighted mean; ``local`` is MotionModel.local.
    """
    n = len(shifts)
    weights = np.full((1, n), 1 / n, np.float32) if filters is None else filters[0]
    sums: Any = None
    waiting: list[Any] = []
    for number, frame in enumerate(frames, start=1):
        waiting.append(frame)
        if sums is None:
            sums = array_module(frame).zeros((len(weights), *frame.shape), np.float32)
        if len(waiting) == TOGETHER or number == n:
            chosen = slice(number - len(waiting), number)
            if on_gpu(sums):
                block = array_module(sums).stack(waiting)
                table, xp = _tap_table(), array_module(sums)
                _gpu_motion.add_moved(sums, block, weights, shifts, local, chosen, table, xp=xp)
            elif local is None:
                _add_shifted(sums, waiting, weights[:, chosen], shifts[chosen])
            else:
                field = _field(shifts, local, sums.shape[1:], chosen)
                _add_moved(sums, waiting, weights[:, chosen], *field)
            waiting.clear()
    xp, fft = array_module(sums), fft_module(sums)
    shape = sums.shape[1:]
    response = xp.asarray(_response(shape, shifts if local is None else _some_shifts(shifts, local)))
    plain = sums[0] if filters is None else xp.tensordot(xp.asarray(filters[2]), sums, 1)
    average = fft.irfft2(fft.rfft2(plain) / response, s=shape)
    if filters is None:
        return average, None
    return average, fft.irfft2(combine_moments(sums, filters[1]) / response, s=shape)


def lanczos(fraction: float) -> FloatArray:
    """Six Lanczos-3 weights at the pixels -2..3 around a point ``fraction`` px past pixel 0."""
    distance = fraction - TAPS
    taps = np.sinc(distance) * np.sinc(distance / 3)
    return np.asarray(taps / taps.sum(), np.float32)


def _add_shifted(sums: Any, frames: Any, weights: FloatArray, shifts: FloatArray) -> None:
    """Add the frames, each sampled at its +shift, to each sum with its weights (sum, frame)."""
    whole = np.floor(shifts).astype(np.int64)
    taps = np.stack([[lanczos(float(f)) for f in pair] for pair in shifts - whole])
    starts = whole + TAPS[0]
    _cpu_motion.add_shifted(sums, np.stack(frames), np.ascontiguousarray(weights), starts, taps)


def _field(
    shifts: FloatArray, local: FloatArray, shape: tuple[int, int], chosen: slice
) -> tuple[FloatArray, FloatArray]:
    """Shifts of the chosen frames at every GRID-th px: down where pixels are taken, across where they go."""
    size = np.array(shape)
    nodes = [np.arange(0, n + GRID, GRID) for n in shape]
    written = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    down, across = [], []
    for number in range(len(shifts))[chosen]:

        def at(places: Any, number: int = number) -> Any:
            return shifts[number] + local_shifts(local, (places + 0.5) / size - 0.5, number)

        across.append(at(written)[..., 1])
        # A pixel taken at x goes to x - shift; one step back from there is close enough.
        back = at(written - [0, shifts[number, 1]])[..., 1]
        down.append(at(np.stack([written[..., 0], written[..., 1] - back], axis=-1))[..., 0])
    return np.array(down, np.float32), np.array(across, np.float32)


def _some_shifts(shifts: FloatArray, local: FloatArray) -> FloatArray:
    """Shifts (n, 2) of all frames at nine places."""
    places = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 3)] * 2), axis=-1).reshape(-1, 2)
    moved = [shift + local_shifts(local, places, number) for number, shift in enumerate(shifts)]
    return np.concatenate(moved)


@lru_cache(maxsize=1)
def _tap_table() -> FloatArray:
    """Lanczos taps (offset, 7) for 0 to 2 px past the third pixel."""
    offsets = np.arange(2 * TAP_STEPS + 1) / TAP_STEPS
    distance = offsets[:, None] - np.arange(-2, 5)
    taps = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), np.float32)


def _add_moved(sums: Any, frames: Any, weights: FloatArray, down: FloatArray, across: FloatArray) -> None:
    """Add the frames, each sampled at shifts that vary over it, to each sum with its weights (sum, frame)."""
    args = (np.ascontiguousarray(weights), down, across, GRID, _tap_table())
    _cpu_motion.add_moved(sums, np.stack(frames), *args)


def _response(shape: tuple[int, int], shifts: FloatArray) -> FloatArray:
    """Mean amplitude that the interpolation leaves at each point of the rfft2."""
    ky, kx = rfft_frequency(shape)
    fraction = shifts - np.floor(shifts)
    taps = np.stack([[lanczos(float(f)) for f in pair] for pair in fraction])
    offset = TAPS[None, None, :] - fraction[:, :, None]
    along_y, along_x = (
        np.einsum("ft,ftk->fk", taps[:, axis], np.cos(2 * np.pi * offset[:, axis, :, None] * k.ravel()))
        for axis, k in enumerate((ky, kx))
    )
    mean = along_y.T @ along_x / len(shifts)
    return np.asarray(np.maximum(mean, MIN_RESPONSE), np.float32)
