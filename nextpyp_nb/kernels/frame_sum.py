"""Sum frames once, each sampled where the specimen is: Lanczos-3, shifts of whole frames or smooth fields."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion
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
            if local is None:
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
    xp = array_module(sums)
    if not on_gpu(sums):
        _cpu_motion.add_shifted(sums, xp.stack(frames), np.ascontiguousarray(weights), starts, taps)
        return
    for number, frame in enumerate(frames):
        for axis, n in enumerate(frame.shape):
            place = (xp.arange(n) + int(starts[number, axis])) % (2 * n)
            shifted = xp.zeros_like(frame)
            for tap in taps[number, axis]:
                inside = xp.where(place < n, place, 2 * n - 1 - place)
                shifted += float(tap) * xp.take(frame, inside, axis=axis)
                place = (place + 1) % (2 * n)
            frame = shifted
        for total, weight in zip(sums, weights[:, number], strict=True):
            total += float(weight) * frame


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
    xp, table = array_module(sums), _tap_table()
    if not on_gpu(sums):
        args = (np.ascontiguousarray(weights), down, across, GRID, table)
        _cpu_motion.add_moved(sums, xp.stack(frames), *args)
        return
    for number, frame in enumerate(frames):
        lines = _pulled(frame, xp.asarray(down[number]), xp.asarray(table), axis=0)
        shifted = _pulled(lines, xp.asarray(across[number]), xp.asarray(table), axis=1)
        for total, weight in zip(sums, weights[:, number], strict=True):
            total += float(weight) * shifted


def _pulled(image: Any, field: Any, table: Any, axis: int) -> Any:
    """The image sampled along one axis at shifts given at every GRID-th px, as in ``add_moved``."""
    xp = array_module(image)
    y, x = (xp.arange(n) for n in image.shape)
    part = ((y % GRID) / GRID).astype(xp.float32)[:, None]
    nodes = (1 - part) * field[y // GRID] + part * field[y // GRID + 1]
    start = xp.floor(xp.minimum(nodes[:, :-1], nodes[:, 1:]))
    ends = (nodes[:, :-1] - start, nodes[:, 1:] - start)
    begin, end = (table[xp.minimum((e * TAP_STEPS + 0.5).astype(int), len(table) - 1)] for e in ends)
    step, along = x // GRID, ((x % GRID) / GRID).astype(xp.float32)
    n = image.shape[axis]
    pulled = xp.zeros_like(image)
    for k in range(table.shape[1]):
        tap = begin[:, step, k] * (1 - along) + end[:, step, k] * along
        place = (y[:, None] if axis == 0 else x) + start[:, step].astype(int) + (k - 2)
        place %= 2 * n
        place = xp.where(place < n, place, 2 * n - 1 - place)
        pulled += tap * xp.take_along_axis(image, place, axis=axis)
    return pulled


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
