"""How the parts of a specimen move against each other: a smooth field fitted to the correlation of patches.

A patch and frame are too weak to be placed one by one, so all are placed at once by the few numbers of
RELION's model, with a prior that motion is smooth in space and fast early on (as in Bayesian polishing).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage

from nextpyp_nb.kernels import _gpu_correlation
from nextpyp_nb.kernels.backend import array_module, on_gpu, to_numpy
from nextpyp_nb.kernels.correlation import (
    Band,
    correlations,
    low_band,
    low_spectra,
    move_back,
    spline_moments,
)
from nextpyp_nb.records import POWERS, FloatArray, field_basis

TIMES = 16  # at least, at which motion is looked at
SIZE, SPACING = 48, 32  # px
STEP, REACH = 0.5, 6  # of the correlation maps: px, steps
BFACTOR = 100.0  # Å²
SMALLEST_WEIGHT = 0.2
# Usual motion by each shape over a movie, Å, and by how many standard errors frames must foretell each other
# for it to be trusted: the more a prior allows, the more a field of chance does harm.
AMOUNTS = ((0.15, 1.75), (0.3, 2.75), (0.6, 4.0))
CURVED = 0.36
PATCHES_AT_ONCE = 64
ROUNDS = 2
TOLERANCE_STEPS = 0.25
TOLERANCE, MOST_STEPS = 1e-2, 40  # of usual amounts
FEWEST_FRAMES, FEWEST_PATCHES = 6, 6
POOLED_FRAMES = 8
FOLDS = 4

# Rows are shapes of unit rms over the frame, columns RELION's 1 x x² y y² xy.
SHAPES = np.sqrt([[12.0], [12.0], [144.0], [180.0], [180.0]]) * np.array(
    [
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [-1 / 12, 0, 1, 0, 0, 0],
        [-1 / 12, 0, 0, 0, 1, 0],
    ]
)
USUAL = np.array([1, 1, CURVED, CURVED, CURVED])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patches:
    """Spectra (patch, frame, ky, kx) of windows; ``centres`` (patch, 2) are in -0.5..0.5."""

    centres: FloatArray
    spectra: Any
    band: Band


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What may move how, where 1 Å is usual: shapes (patch, 5) and times (frame, 3), px, 0 on average."""

    shapes: FloatArray
    times: FloatArray


def frames_together(n: int) -> int:
    """How many of ``n`` frames are looked at as one: what is local moves smoothly."""
    return max(1, n // TIMES)


def fit_local_motion(
    frames: Any, shifts: FloatArray, *, shape: FloatArray, pixel_size: float
) -> FloatArray | None:
    """Motion of the parts against the whole: (group, y, x) and shifts (frame, 2) px -> (2, 6, 3) px or None.

    ``frames`` hold what moves, each moved back by its shift, ``frames_together`` of them added up
    (``FrameSpectra.halved``); ``pixel_size`` is theirs in Å, ``shape`` (2,) px the size of the whole frame,
    of which they may lack some lines at the end. The coefficients are those of MotionModel.local. They
    count only where some frames foretell how the parts move in the others; else None.
    """
    n = len(shifts)
    patches = _cut(frames, shifts, shape, BFACTOR / pixel_size**2) if n >= FEWEST_FRAMES else None
    if patches is None:
        return None
    factors, powers = _time_factors(n), (np.arange(n)[:, None] / (n - 1)) ** POWERS
    begins = np.arange(len(frames)) * frames_together(n)
    powers = np.add.reduceat(powers, begins) / np.diff(begins, append=n)[:, None]
    model = _Model(
        shapes=field_basis(patches.centres) @ SHAPES.T * USUAL,
        times=_centred(powers @ factors) / (STEP * pixel_size),
    )
    at: FloatArray = np.zeros((len(patches.centres), len(frames), 2))
    maps = _maps(patches, at)
    amount = _usual_amount(maps, model)
    if amount is None:
        return None
    times, everything = amount * model.times[None], np.ones((1, len(frames)), bool)
    found: FloatArray = np.zeros((1, len(SHAPES), len(POWERS), 2))
    for left in reversed(range(ROUNDS)):
        found = _fit(maps, model.shapes, times, everything, found, at)
        before, at = at, np.einsum("ps,ska,fk->pfa", model.shapes, found[0], times[0], optimize=True)
        if not left or np.abs(at - before).max() < TOLERANCE_STEPS:
            break
        maps = _maps(patches, at - before)
    in_time = factors / (n - 1.0) ** POWERS[:, None] * (amount / pixel_size)
    return np.asarray(np.einsum("sb,pk,ska->abp", SHAPES * USUAL[:, None], in_time, found[0], optimize=True))


def _time_factors(n: int) -> FloatArray:
    """Factors of the prior over the powers of time, 0..1: a random walk in its square root."""
    time = np.arange(n) / (n - 1)
    powers = time[:, None] ** POWERS
    root = np.sqrt(time)
    walk = np.minimum.outer(root, root)
    back = np.linalg.pinv(powers - powers.mean(axis=0))
    strength, turn = np.linalg.eigh(back @ walk @ back.T)
    return np.asarray(turn * np.sqrt(np.maximum(strength, 0)))


def _centred(times: FloatArray, used: Any = slice(None)) -> FloatArray:
    """Times (frame, 3) less their mean over the frames that are ``used``."""
    return np.asarray(times - times[used].mean(axis=0))


def _cut(frames: Any, shifts: FloatArray, shape: FloatArray, bfactor: float) -> _Patches | None:
    """Overlapping sine windows, which make up an even cover of what stays in the frame throughout."""
    xp = array_module(frames)
    low = np.ceil(np.maximum(0, -shifts.min(axis=0)))
    high = np.array(frames.shape[1:]) - np.ceil(np.maximum(0, shifts.max(axis=0)))
    if (high - low < SIZE).any():
        return None
    tops, lefts = (
        np.linspace(a, b - SIZE, max(2, int(np.ceil((b - SIZE - a) / SPACING)) + 1)).astype(int)
        for a, b in zip(low, high, strict=True)
    )
    corners = np.array([(row, column) for row in tops for column in lefts])
    if len(corners) < FEWEST_PATCHES:
        return None
    band = low_band((SIZE, SIZE), bfactor, SMALLEST_WEIGHT)
    spectra = xp.empty((len(corners), len(frames), *band.weight.shape), xp.complex64)
    together = PATCHES_AT_ONCE if on_gpu(frames) else 4
    for first in range(0, len(corners), together):
        some = slice(first, first + together)
        low_spectra(_windows(frames, corners[some]), band, out=spectra[some])
    return _Patches(centres=(corners + SIZE / 2) / shape - 0.5, spectra=spectra, band=band)


def _windows(frames: Any, corners: FloatArray) -> Any:
    """Windows (patch, frame, SIZE, SIZE) of frames, from ``corners`` (patch, 2) on."""
    window = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE).astype(np.float32)
    if on_gpu(frames):
        return _gpu_correlation.cut_windows(frames, corners, window, xp=array_module(frames))
    windows = np.empty((len(corners), len(frames), SIZE, SIZE), np.float32)
    for cut, (y, x) in zip(windows, corners, strict=True):
        np.multiply(frames[:, y : y + SIZE, x : x + SIZE], window[:, None] * window, out=cut)
    return windows


def _maps(patches: _Patches, further: FloatArray) -> Any:
    """Splines (patch, frame, 13, 13) of each frame's correlation with the others, moved ``further`` steps."""
    total = move_back(patches.spectra, patches.band, STEP * further)
    maps = correlations(patches.spectra, total, patches.band, REACH, STEP)
    xp = array_module(maps)
    maps /= xp.maximum(maps.std(axis=(1, 2, 3), keepdims=True), 1e-30)
    spline = xp.asarray(scipy.ndimage.spline_filter1d(np.eye(2 * REACH + 1), axis=0).astype(np.float32))
    return spline @ (maps @ spline.T)


def _certainty(moments: Any, n_frames: Any) -> Any:
    """Factors (fit, patch) from correlation to log likelihood, whose slopes scatter as its curvature says.

    ``moments`` (fit, patch, 21) are sums over ``n_frames`` (fit,).
    """
    xp = array_module(moments)
    signal, noise = -moments[..., 1], moments[..., 2]
    pooled = xp.asarray(POOLED_FRAMES / n_frames)[:, None]
    signal = xp.maximum(signal, 0) + pooled * xp.maximum(signal.mean(axis=1, keepdims=True), 0)
    return signal / xp.maximum(noise + pooled * noise.mean(axis=1, keepdims=True), 1e-30)


def _fit(
    maps: Any, shapes: FloatArray, times: FloatArray, used: FloatArray, start: FloatArray, at: FloatArray
) -> FloatArray:
    """The likeliest amounts (fit, 5, 3, 2) under the maps, made at ``at``, and a prior of unit variance.

    Each fit has its own times (fit, frame, 3) and frames that are ``used`` (fit, frame). Newton's method with
    the curvature of y and of x alone, where the maps are peaks; a step that leads uphill is halved.
    """
    xp = array_module(maps)
    made_at, moving, in_time, counted = (
        xp.asarray(np.ascontiguousarray(a)) for a in (at, shapes, times, used)
    )
    products = (shapes[:, :, None] * shapes[:, None]).reshape(len(shapes), -1)
    sides = xp.asarray(np.hstack([np.ones((len(shapes), 1)), shapes, products]).T)
    certainty = None

    def seen(amounts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        nonlocal certainty
        moments = spline_moments(maps, made_at, moving, in_time, counted, amounts)
        if certainty is None:
            certainty = _certainty(moments, used.sum(axis=1))
        return _newton_step(to_numpy(sides @ (moments * certainty[..., None])), amounts)

    amounts = start
    cost, uphill, step = seen(amounts)
    for _ in range(MOST_STEPS):
        going = np.abs(step).max(axis=(1, 2, 3)) >= TOLERANCE
        if not going.any():
            break
        step = step * going[:, None, None, None]
        there = seen(amounts + step)
        good = there[0] <= cost + 1e-4 * (uphill * step).sum(axis=(1, 2, 3))
        amounts = np.where(good[:, None, None, None], amounts + step, amounts)
        cost, uphill, step = (
            np.where(good.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(there, (cost, uphill, step / 2), strict=True)
        )
    return amounts


def _newton_step(sums: FloatArray, amounts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cost (fit,), its slope and the step to its least (fit, 5, 3, 2) px at ``amounts``.

    ``sums`` (fit, 31, 21) are the moments of all patches, times 1, the shapes and their products.
    """
    fits, n_shapes, n_times, _ = amounts.shape
    n = n_shapes * n_times
    pull = sums[:, 1 : 1 + n_shapes, 3 : 3 + 2 * n_times].reshape(amounts.shape)
    pairs = np.zeros((n_times, n_times), int)
    pairs[np.triu_indices(n_times)] = np.arange(n_times * (n_times + 1) // 2)
    pairs = np.maximum(pairs, pairs.T)
    bends = sums[:, 1 + n_shapes :, 3 + 2 * n_times :].reshape(fits, n_shapes, n_shapes, 2, -1)
    stiff = bends[..., pairs].transpose(0, 3, 1, 4, 2, 5).reshape(fits, 2, n, n) + np.eye(n)
    down = (pull - amounts).reshape(fits, n, 2).transpose(0, 2, 1)
    step = np.linalg.solve(stiff, down[..., None])[..., 0].transpose(0, 2, 1).reshape(amounts.shape)
    cost = 0.5 * (amounts**2).sum(axis=(1, 2, 3)) - sums[:, 0, 0]
    return cost, np.asarray(amounts - pull), step


def _usual_amount(maps: Any, model: _Model) -> float | None:
    """How much motion, Å, to expect for the frames to foretell each other best; None if they do not."""
    best, usual = 0.0, None
    # A GPU fits all amounts in the time of one.
    together = len(AMOUNTS) if on_gpu(maps) else 1
    for first in range(0, len(AMOUNTS), together):
        some = AMOUNTS[first : first + together]
        gains = _foretold(maps, model, [amount for amount, _ in some])
        for (amount, sure), gain in zip(some, gains, strict=True):
            if gain.sum() <= sure * gain.std() * np.sqrt(len(gain)):
                return usual
            if gain.sum() > best:
                best, usual = gain.sum(), amount
    return usual


def _foretold(maps: Any, model: _Model, amounts: list[float]) -> FloatArray:
    """Log likelihood (amount, patch) that each quarter of the frames gains by what the others say."""
    xp, n = array_module(maps), maps.shape[1]
    held = np.arange(n) % FOLDS == np.arange(FOLDS)[:, None]
    # Centred over the frames that fit, the noise that a pair of frames shares cancels in the test.
    times = np.array([_centred(model.times, ~fold) for fold in held])
    times = (np.reshape(amounts, (-1, 1, 1, 1)) * times).reshape(-1, *times.shape[1:])
    held = np.tile(held, (len(amounts), 1))
    nothing: FloatArray = np.zeros((len(held), len(SHAPES), len(POWERS), 2))
    at: FloatArray = np.zeros((len(maps), n, 2))
    found = _fit(maps, model.shapes, times, ~held, nothing, at)
    at, shapes, all_times, others = (
        xp.asarray(np.ascontiguousarray(a)) for a in (at, model.shapes, times, held)
    )
    moved, still = (spline_moments(maps, at, shapes, all_times, others, a)[..., 0] for a in (found, nothing))
    everything = spline_moments(maps, at, shapes, all_times[:1], xp.ones((1, n), bool), nothing[:1])
    gain = to_numpy(_certainty(everything, np.array([n])) * (moved - still))
    return np.asarray(gain.reshape(len(amounts), FOLDS, -1).sum(axis=1))
