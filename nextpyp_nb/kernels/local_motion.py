"""How the parts of a specimen move against each other: a smooth field fitted to the correlation of patches.

A patch and frame are too weak to be placed one by one, so all are placed at once by the few numbers of
RELION's model, with a prior that motion is smooth in space and fast early on (as in Bayesian polishing).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage

from nextpyp_nb.kernels.backend import array_module, on_gpu, to_numpy
from nextpyp_nb.kernels.correlation import Band, correlations, low_band, low_spectra, move_back, read_splines
from nextpyp_nb.records import POWERS, FloatArray, field_basis

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
TOLERANCE_STEPS = 0.05
TOLERANCE, MOST_STEPS = 1e-3, 40  # of usual amounts
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


def fit_local_motion(
    frames: Any, shifts: FloatArray, *, shape: FloatArray, pixel_size: float
) -> FloatArray | None:
    """Motion of the parts against the whole: (frame, y, x) and shifts (frame, 2) px -> (2, 6, 3) px or None.

    ``frames`` hold what moves, each moved back by its shift (``FrameSpectra.halved``), ``pixel_size`` is
    theirs in Å, ``shape`` (2,) px the size of the whole frame, of which they may lack some lines at the end.
    The coefficients are those of MotionModel.local. They count only where some frames foretell how the parts
    move in the others; else None.
    """
    n = len(frames)
    patches = _cut(frames, shifts, shape, BFACTOR / pixel_size**2) if n >= FEWEST_FRAMES else None
    if patches is None:
        return None
    factors = _time_factors(n)
    unit = _design(patches.centres, n, factors) / (STEP * pixel_size)
    at: FloatArray = np.zeros((*unit.shape[:2], 2))
    maps = _maps(patches, at)
    amount = _usual_amount(maps, unit)
    if amount is None:
        return None
    design = amount * unit
    found: FloatArray = np.zeros((design.shape[2], 2))
    for left in reversed(range(ROUNDS)):
        found = _fit(maps, design, found, at)
        before, at = at, design @ found
        if not left or np.abs(at - before).max() < TOLERANCE_STEPS:
            break
        maps = _maps(patches, at - before)
    found = found.reshape(len(SHAPES), len(POWERS), 2) * (amount / pixel_size * USUAL[:, None, None])
    in_time = factors / (n - 1.0) ** POWERS[:, None]
    return np.asarray(np.einsum("sb,pk,ska->abp", SHAPES, in_time, found))


def _time_factors(n: int) -> FloatArray:
    """Factors of the prior over the powers of time, 0..1: a random walk in its square root."""
    time = np.arange(n) / (n - 1)
    powers = time[:, None] ** POWERS
    root = np.sqrt(time)
    walk = np.minimum.outer(root, root)
    back = np.linalg.pinv(powers - powers.mean(axis=0))
    strength, turn = np.linalg.eigh(back @ walk @ back.T)
    return np.asarray(turn * np.sqrt(np.maximum(strength, 0)))


def _design(centres: FloatArray, n: int, factors: FloatArray) -> FloatArray:
    """What each unknown moves, where 1 Å is usual: (patch, frame, 15) Å, zero on average over time."""
    space = field_basis(centres) @ SHAPES.T * USUAL
    time = (np.arange(n)[:, None] / (n - 1)) ** POWERS @ factors
    time -= time.mean(axis=0)
    return np.asarray(np.einsum("ps,fk->pfsk", space, time).reshape(len(space), n, -1))


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
    together = PATCHES_AT_ONCE if on_gpu(frames) else 1
    for first in range(0, len(corners), together):
        some = slice(first, first + together)
        spectra[some] = low_spectra(_windows(frames, corners[some]), band)
    return _Patches(centres=(corners + SIZE / 2) / shape - 0.5, spectra=spectra, band=band)


def _windows(frames: Any, corners: FloatArray) -> Any:
    """Windows (patch, frame, SIZE, SIZE) of frames, from ``corners`` (patch, 2) on."""
    xp = array_module(frames)
    window = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE).astype(np.float32)
    window = xp.asarray(window[:, None] * window)
    if on_gpu(frames):
        y, x = xp.asarray(corners.T)[:, :, None, None, None]
        pixel, frame = xp.arange(SIZE), xp.arange(len(frames))[:, None, None]
        return frames[frame, y + pixel[:, None], x + pixel] * window
    return np.stack([frames[:, y : y + SIZE, x : x + SIZE] for y, x in corners]) * window


def _maps(patches: _Patches, further: FloatArray) -> Any:
    """Splines (patch, frame, 13, 13) of each frame's correlation with the others, moved ``further`` steps."""
    offsets = STEP * np.arange(-REACH, REACH + 1.0)
    total = move_back(patches.spectra, patches.band, STEP * further)
    maps = correlations(patches.spectra, total, patches.band, offsets)
    xp = array_module(maps)
    maps /= xp.maximum(maps.std(axis=(1, 2, 3), keepdims=True), 1e-30)
    spline = xp.asarray(scipy.ndimage.spline_filter1d(np.eye(len(offsets)), axis=0).astype(np.float32))
    return spline @ (maps @ spline.T)


def _certainty(maps: Any, offset: FloatArray) -> Any:
    """Factors (patch, 1) from correlation to log likelihood, whose slopes scatter as its curvature says."""
    xp = array_module(maps)
    _, slope, bend = read_splines(maps, offset)
    signal, noise = -bend.sum(axis=(1, 2)), (slope**2).sum(axis=(1, 2))
    pooled = POOLED_FRAMES / maps.shape[1]
    signal = xp.maximum(signal, 0) + pooled * xp.maximum(signal.mean(), 0)
    return (signal / xp.maximum(noise + pooled * noise.mean(), 1e-30))[:, None]


def _fit(maps: Any, design: FloatArray, start: FloatArray, at: FloatArray) -> FloatArray:
    """The likeliest amounts (15, 2) under the maps, made at ``at``, and a prior of unit variance.

    Newton's method with the curvature of y and of x alone, where the maps are peaks; a step that leads
    uphill is halved.
    """
    xp = array_module(maps)
    certainty = _certainty(maps, design @ start - at)
    moving, made_at = xp.asarray(design), xp.asarray(at)

    def seen(amounts: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        value, slope, bend = read_splines(maps, moving @ xp.asarray(amounts) - made_at)
        flat, weight = moving.reshape(-1, len(amounts)), certainty[..., None]
        pull = flat.T @ (weight * slope).reshape(-1, 2)
        stiff = (weight * xp.maximum(-bend, 0)).reshape(-1, 2)
        stiff = xp.stack([(flat * stiff[:, axis, None]).T @ flat for axis in range(2)])
        found = to_numpy(xp.concatenate([pull.ravel(), stiff.ravel(), (certainty * value).sum()[None]]))
        pull, stiff = found[: pull.size].reshape(pull.shape), found[pull.size : -1].reshape(stiff.shape)
        cost = 0.5 * np.sum(amounts**2) - found[-1]
        step = np.linalg.solve(stiff + np.eye(len(amounts)), (pull - amounts).T[..., None])[..., 0].T
        return float(cost), np.asarray(amounts - pull), step

    amounts = start
    cost, uphill, step = seen(amounts)
    for _ in range(MOST_STEPS):
        if np.abs(step).max() < TOLERANCE:
            break
        there = seen(amounts + step)
        if there[0] <= cost + 1e-4 * np.sum(uphill * step):
            amounts, (cost, uphill, step) = amounts + step, there
        else:
            step = step / 2
    return amounts


def _usual_amount(maps: Any, unit: FloatArray) -> float | None:
    """How much motion, Å, to expect for the frames to foretell each other best; None if they do not."""
    best, usual = 0.0, None
    for amount, sure in AMOUNTS:
        gain = _foretold(maps, amount * unit)
        if gain.sum() <= sure * gain.std() * np.sqrt(len(gain)):
            break
        if gain.sum() > best:
            best, usual = gain.sum(), amount
    return usual


def _foretold(maps: Any, design: FloatArray) -> FloatArray:
    """Log likelihood (patch,) that each quarter of the frames gains by what the others say."""
    xp, frames = array_module(maps), np.arange(maps.shape[1])
    gain = np.zeros(len(maps))
    nothing = np.zeros((design.shape[2], 2))
    certainty = _certainty(maps, np.zeros((*design.shape[:2], 2)))
    for fold in range(FOLDS):
        held = frames % FOLDS == fold
        # Centred over the frames that fit, the noise that a pair of frames shares cancels in the test.
        centred = design - design[:, ~held].mean(axis=1, keepdims=True)
        known = centred[:, ~held]
        offset = centred[:, held] @ _fit(
            maps[:, xp.asarray(~held)], known, nothing, np.zeros((*known.shape[:2], 2))
        )
        moved, still = (read_splines(maps[:, xp.asarray(held)], place)[0] for place in (offset, 0 * offset))
        gain += to_numpy(xp.sum(certainty * (moved - still), axis=1))
    return gain
