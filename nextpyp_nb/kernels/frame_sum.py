"""Sum frames once, each sampled where the specimen is: Lanczos-3, shifts of whole frames or smooth fields."""

from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.exposure import combine_moments
from nextpyp_nb.kernels.fourier import irfft2_in_place, rfft_frequency
from nextpyp_nb.records import FloatArray, field_basis, local_in_time

TAPS = np.arange(-2, 4)
MIN_RESPONSE = 0.5
GRID = _cpu_motion.GRID
TAP_STEPS = 2048
PHASES = 64


def sum_frames(
    frames: Counts,
    shifts: FloatArray,
    filters: tuple[FloatArray, FloatArray] | None,
    local: FloatArray | None = None,
    further: int = 0,
) -> tuple[Any, Any | None, Any | None]:
    """Mean and exposure-weighted mean (y, x) of frames sampled at +shift: shifts (frame, 2) px, y before x.

    ``filters`` are those of ``low_rank_filters``, None for no weighted mean; ``local`` is that of
    MotionModel. Up to ``further`` of the other sums that make it up come third, (sum, y, x), with as much
    noise as the mean has and none in common with it or each other; None without.
    """
    n = len(shifts)
    weights, curves = (np.full((1, n), 1 / n, np.float32), None) if filters is None else filters
    sums = _weighted_sums(frames, shifts, weights, local)
    shape, fft = sums.shape[1:], fft_module(sums)
    some = shifts if local is None else _some_shifts(shifts, local)
    correction = _correction(shape, some, array_module(sums))
    if curves is None:
        return irfft2_in_place(fft.rfft2(sums[0]) * correction, shape), None, None
    weighted, average = combine_moments(sums, curves)
    rest = sums[1 : 1 + further] if further and len(sums) > 1 else None
    del sums
    average *= correction
    weighted *= correction
    average, weighted = (irfft2_in_place(mean, shape) for mean in (average, weighted))
    return average, weighted, rest


def half_sums(frames: Counts, shifts: FloatArray, local: FloatArray | None = None) -> tuple[Any, Any]:
    """Even and odd frames, counted from 1, summed over the number of all: the two add up to the mean."""
    weights = np.zeros((2, len(shifts)), np.float32)
    weights[0, 1::2] = weights[1, ::2] = 1 / len(shifts)
    sums = _weighted_sums(frames, shifts, weights, local)
    fft, some = fft_module(sums), shifts if local is None else _some_shifts(shifts, local)
    correction = _correction(sums.shape[1:], some, array_module(sums))
    even, odd = (irfft2_in_place(fft.rfft2(half) * correction, half.shape) for half in sums)
    return even, odd


def _weighted_sums(frames: Counts, shifts: FloatArray, weights: FloatArray, local: FloatArray | None) -> Any:
    """Sums (sum, y, x) of the frames, each sampled at its +shift, with weights (sum, frame)."""
    raw = frames.raw
    xp, shape = array_module(raw), raw.shape[1:]
    if on_gpu(raw):
        return _gpu_motion.sum_moved(raw, *frames.sensor, weights, shifts, local, _tap_table(), xp=xp)
    sums = np.empty((len(weights), *shape), np.float32)
    down, across = _fields(shifts, local, shape)
    begins = np.searchsorted(frames.places, np.arange(shape[0] + 1) * shape[1])
    half, factor = raw.dtype == np.float16, frames.factor()
    for some, donors in frames.blocks(_cpu_motion.TOGETHER if half else len(raw)):
        # numba does not know half precision.
        part = raw[some].astype(np.float32) if half else raw[some]
        holes = (frames.places, begins, donors)
        _cpu_motion.add_moved(
            sums, part, factor, holes, weights[:, some], down[some], across[some], _tap_table(),
            some.start == 0,
        )  # fmt: skip
    return sums


def lanczos(fraction: float) -> FloatArray:
    """Six Lanczos-3 weights at the pixels -2..3 around a point ``fraction`` px past pixel 0."""
    distance = fraction - TAPS
    taps = np.sinc(distance) * np.sinc(distance / 3)
    return np.asarray(taps / taps.sum(), np.float32)


def _fields(
    shifts: FloatArray, local: FloatArray | None, shape: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Shifts (frame, row, column) at every GRID-th px: down where pixels are taken, across where they go."""
    y, x = (np.arange(0, n + GRID, GRID) for n in shape)
    if local is None:
        even = np.ones((len(y), len(x)), np.float32)
        down, across = (axis[:, None, None] * even for axis in np.asarray(shifts, np.float32).T)
        return down, across
    across = _shifts_at(shifts, local, shape, y[:, None], x)[..., 1]
    # A pixel taken at x goes to x - shift; one step back from there is close enough.
    back = _shifts_at(shifts, local, shape, y[:, None], x - shifts[:, 1, None, None])[..., 1]
    down = _shifts_at(shifts, local, shape, y[:, None], x - back)[..., 0]
    return down.astype(np.float32), across.astype(np.float32)


def _shifts_at(shifts: FloatArray, local: FloatArray, shape: tuple[int, int], y: Any, x: Any) -> FloatArray:
    """Shifts (frame, row, column, 2) at places in px, the same for all frames or of each."""
    ny, nx = shape
    places = np.stack(np.broadcast_arrays((y + 0.5) / ny - 0.5, (x + 0.5) / nx - 0.5), axis=-1)
    in_time = local_in_time(local, np.arange(len(shifts))).swapaxes(-1, -2)
    return np.asarray(shifts[:, None, None] + field_basis(places) @ in_time[:, None])


def _some_shifts(shifts: FloatArray, local: FloatArray) -> FloatArray:
    """Shifts (n, 2) of all frames at nine places."""
    part = np.linspace(0.1, 0.9, 3) - 0.5
    return _shifts_at(shifts, local, (1, 1), part[:, None], part).reshape(-1, 2)


@lru_cache(maxsize=1)
def _tap_table() -> FloatArray:
    """Lanczos taps (offset, 7) for 0 to 2 px past the third pixel."""
    offsets = np.arange(2 * TAP_STEPS + 1) / TAP_STEPS
    distance = offsets[:, None] - np.arange(-2, 5)
    taps = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), np.float32)


def _correction(shape: tuple[int, int], shifts: FloatArray, xp: Any) -> Any:
    """What makes up for the mean amplitude that the interpolation leaves at each point of the rfft2."""
    phase = np.round((shifts - np.floor(shifts)) * PHASES).astype(int)
    often = np.zeros((PHASES + 1, PHASES + 1), np.float32)
    np.add.at(often, tuple(phase.T), 1 / len(shifts))
    ky, kx = rfft_frequency(shape)
    down, across = xp.asarray(_amplitudes(ky.tobytes()).T), xp.asarray(often @ _amplitudes(kx.tobytes()))
    mean = down @ across
    return xp.reciprocal(xp.maximum(mean, MIN_RESPONSE, out=mean), out=mean)


@lru_cache(maxsize=4)
def _amplitudes(frequency: bytes) -> FloatArray:
    """Amplitude (phase, frequency) that the taps leave, for points 0 to 1 px past a pixel."""
    k = np.frombuffer(frequency, np.float32)
    phases = np.arange(PHASES + 1) / PHASES
    return np.asarray([lanczos(f) @ np.cos(2 * np.pi * (TAPS - f)[:, None] * k) for f in phases], np.float32)
