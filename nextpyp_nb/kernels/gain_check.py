"""Does the gain reference fit the movies? The fixed pattern of raw frames against all of its orientations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, ndimage_module, to_numpy
from nextpyp_nb.kernels.fourier import bin_image
from nextpyp_nb.kernels.gain import orient_gain
from nextpyp_nb.records import FloatArray

FITS, OTHER, UNCLEAR = "fits", "another orientation fits better", "cannot tell yet"
CORRECTED, FOREIGN = "movies look corrected already", "no orientation fits"
MIDDLE_PX = (384, 1280)
WINDOW = 15
GRID = 16
CERTAIN, SURE = 6.0, 18.0  # standard errors
ALIKE = 3.0
LEAST_SLOPE = 0.35
# Pixels of an uncorrected camera differ by more than this; so little of a pattern no reference leaves.
LEAST_PATTERN = 0.008
# A reference leaves its own noise in what it corrected: as if to divide by, but at part of its contrast.
OWN_NOISE = 0.6
SURELY_COUNTED = 16.0
BAD_LINE = 0.4
# Rotation, left-right, upside-down: each of the eight ways to lie once.
ORIENTATIONS = (
    (0, False, False), (1, False, False), (2, False, False), (3, False, False),
    (0, True, False), (0, False, True), (1, True, False), (1, False, True),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GainFit:
    """One way to lay the reference.

    ``score`` is its correlation with the frames' fixed pattern, noise included; ``slope`` the share of its
    own contrast found in the frames (1 where it is right), with standard error ``error``.
    """

    rotation: int
    flip_horizontal: bool
    flip_vertical: bool
    operation: str
    score: float
    slope: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GainCheck:
    """What the first movies say of a reference: a verdict, the best fit, the one that is set, all fits.

    ``margin`` is by how many standard errors ``best`` beats ``chosen``; ``fixed`` the variance of the pattern
    that different movies share, relative to the local mean (NaN from one movie or where a fit is clear).
    """

    verdict: str
    best: GainFit
    chosen: GainFit | None
    margin: float
    fixed: float
    counts: float
    movies: int
    fits: tuple[GainFit, ...]

    @property
    def sure(self) -> bool:
        """Whether the reference as set fits so clearly that more movies could not change it."""
        return self.verdict == FITS and self.best == self.chosen and self.best.slope > SURE * self.best.error


def check_gain(
    sums: Sequence[Any],
    gain: Any,
    *,
    rotation: int = 0,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
    operation: str = "multiply",
    movies: int | None = None,
) -> GainCheck:
    """Compare the sums of raw frames, one (y, x) for each movie, with the stored reference ``gain`` (y, x).

    Both y up; the reference as `orient_gain` takes it, of the same size or on its side. The frames' pattern
    is their sum over its local mean less one, that of the reference its logarithm less the local mean: they
    are opposite where frames must be multiplied, alike where they must be divided. Errors are from blocks.
    ``movies`` says how many there are where ``sums`` are already those of several. Only the middle of large
    frames is looked at, and less of it where the reference as it is set surely is the best.
    """
    if not len(sums):
        raise ValueError("no movie to check the gain reference with, expected one or more")
    shape = sums[0].shape
    ways = [way for way in ORIENTATIONS if shape == (gain.shape[::-1] if way[0] % 2 else gain.shape)]
    if not ways:
        raise ValueError(
            f"the gain reference is {gain.shape}, expected {shape} as the frames, or on its side"
        )
    set_way = _same_way(rotation, flip_horizontal, flip_vertical)
    for side in MIDDLE_PX:
        middle = [_middle(image, side) for image in sums]
        found = _compared(middle, _middle(gain, side), ways, (set_way, operation), movies or len(sums))
        if (found.verdict == FITS and found.chosen == found.best) or max(gain.shape) <= side:
            break
    return found


def _compared(
    sums: Sequence[Any],
    gain: Any,
    ways: Sequence[tuple[int, bool, bool]],
    as_set: tuple[tuple[int, bool, bool], str],
    movies: int,
) -> GainCheck:
    """The check on images as they are: ``ways`` to lay the reference, ``as_set`` with the operation."""
    xp = array_module(sums[0])
    pattern = _reference_pattern(gain)
    turned = [(way, _turned(pattern, way)) for way in ways]
    total = sum(xp.asarray(image, dtype=xp.float32) for image in sums)
    frames = _frame_pattern(total)
    energy, power = float((frames**2).sum()), float((pattern**2).sum())
    own = {way: (_blocks(frames * image), _blocks(image * image)) for way, image in turned}
    fits = [fit for way in own for fit in _both_fits(way, own[way], energy * power)]
    fits.sort(key=lambda fit: -fit.score)
    chosen = next((fit for fit in fits if (_way(fit), fit.operation) == as_set), None)
    fixed, margin = float("nan"), _margin(fits[0], chosen, own)
    verdict = _verdict_of_fits(fits, chosen, margin)
    if not verdict:
        fixed, error = _shared_variance(sums)
        verdict = _verdict_of_pattern(fits, fixed, error)
    return GainCheck(
        verdict=verdict,
        best=fits[0],
        chosen=chosen,
        margin=margin,
        fixed=fixed,
        counts=float(total.mean()),
        movies=movies,
        fits=tuple(fits),
    )


def _middle(image: Any, most: int) -> Any:
    """The middle of a large image, which stays in the middle when the image is turned."""
    cut = [max(0, (side - most) // 2) for side in image.shape]
    return image[cut[0] : image.shape[0] - cut[0], cut[1] : image.shape[1] - cut[1]]


def _reference_pattern(gain: Any) -> Any:
    """Logarithm of the reference less its local mean, 0 where it is dead or far off."""
    xp = array_module(gain)
    good = xp.isfinite(gain) & (gain > 0)
    if not bool(good.any()):
        raise ValueError("the gain reference has no positive pixel: check that it is the right file")
    logarithm = xp.log(xp.where(good, gain, 1).astype(xp.float32))
    return _without_outliers(logarithm - _local_mean(logarithm, good), good)


def _frame_pattern(total: Any) -> Any:
    """A sum of frames over its local mean, less one; 0 where it is far off."""
    xp = array_module(total)
    good = xp.isfinite(total)
    total = xp.where(good, total, 0)
    for _ in range(2):
        mean = _local_mean(total, good)
        ratio = xp.where(mean > 0, total / xp.maximum(mean, xp.float32(1e-20)), 1) - 1
        good &= xp.abs(ratio) < _limit(ratio[good])
        # Dead pixels where none is by chance, and dead lines, would pass for a pattern that movies share.
        good &= (total > 0) | (mean < SURELY_COUNTED)
        good &= xp.abs(ratio.mean(axis=0, keepdims=True)) < BAD_LINE
        good &= xp.abs(ratio.mean(axis=1, keepdims=True)) < BAD_LINE
    return xp.where(good, ratio, 0)


def _local_mean(image: Any, good: Any) -> Any:
    """Mean of the good pixels of a window around each pixel."""
    xp, ndimage = array_module(image), ndimage_module(image)
    weight = ndimage.uniform_filter(good.astype(xp.float32), WINDOW, mode="reflect")
    mean = ndimage.uniform_filter(image * good, WINDOW, mode="reflect")
    return mean / xp.maximum(weight, xp.float32(1e-3))


def _without_outliers(image: Any, good: Any) -> Any:
    xp = array_module(image)
    return xp.where(good & (xp.abs(image) < _limit(image[good])), image, xp.float32(0))


def _limit(values: Any) -> float:
    """Twice what 99 % of the values stay within: drops hot pixels but no tail of the noise."""
    sample = np.abs(to_numpy(values[:: max(1, values.size // 65_536)]))
    return max(2 * float(np.percentile(sample, 99)), 1e-6) if sample.size else 1e-6


def _turned(image: Any, way: tuple[int, bool, bool]) -> Any:
    rotation, flip_horizontal, flip_vertical = way
    image = image[:, ::-1] if flip_horizontal else image
    image = image[::-1] if flip_vertical else image
    return array_module(image).rot90(image, rotation)


def _same_way(rotation: int, flip_horizontal: bool, flip_vertical: bool) -> tuple[int, bool, bool]:
    """The one of the eight that does the same."""
    probe = np.arange(4).reshape(2, 2)
    wanted = _turned(probe, (rotation % 4, flip_horizontal, flip_vertical))
    return next(way for way in ORIENTATIONS if np.array_equal(_turned(probe, way), wanted))


def _way(fit: GainFit) -> tuple[int, bool, bool]:
    return fit.rotation, fit.flip_horizontal, fit.flip_vertical


def _blocks(image: Any) -> FloatArray:
    """Sums over a grid of blocks, flat; what does not fill a block is left out."""
    side = [max(1, n // GRID) for n in image.shape]
    ny, nx = (n // s for n, s in zip(image.shape, side, strict=True))
    cut = image[: ny * side[0], : nx * side[1]].reshape(ny, side[0], nx, side[1])
    return to_numpy(cut.sum(axis=3).sum(axis=1)).astype(np.float64).ravel()


def _ratio(upper: FloatArray, lower: FloatArray) -> tuple[float, float]:
    """Sum over sum, and the standard error that the blocks tell."""
    whole = float(lower.sum())
    if whole <= 0:
        return 0.0, float("inf")
    value = float(upper.sum()) / whole
    n = len(upper)
    return value, float(np.sqrt(n / max(n - 1, 1) * ((upper - value * lower) ** 2).sum()) / whole)


def _both_fits(
    way: tuple[int, bool, bool], sums: tuple[FloatArray, FloatArray], energy: float
) -> list[GainFit]:
    """The same orientation to multiply and to divide with."""
    slope, error = _ratio(*sums) if energy > 0 else (0.0, float("inf"))
    score = float(sums[0].sum()) / np.sqrt(energy) if energy > 0 else 0.0
    return [
        GainFit(
            rotation=way[0], flip_horizontal=way[1], flip_vertical=way[2], operation=operation,
            score=float(sign * score), slope=sign * slope, error=error,
        )
        for operation, sign in (("multiply", -1), ("divide", 1))
    ]  # fmt: skip


def _margin(best: GainFit, chosen: GainFit | None, own: dict[Any, Any]) -> float:
    """By how many standard errors the best explains more than the chosen one."""
    if chosen is None:
        return float("inf")
    if chosen == best:
        return 0.0
    signs = [-1 if fit.operation == "multiply" else 1 for fit in (best, chosen)]
    upper = signs[0] * own[_way(best)][0] - signs[1] * own[_way(chosen)][0]
    gap, error = _ratio(upper, own[_way(best)][1])
    return gap / error if error > 0 else 0.0


def _shared_variance(sums: Sequence[Any]) -> tuple[float, float]:
    """Variance of the pattern that two halves of the movies share, and its error."""
    if len(sums) < 2:
        return float("nan"), float("inf")
    xp = array_module(sums[0])
    halves = [
        _frame_pattern(sum(xp.asarray(image, dtype=xp.float32) for image in sums[start::2]))
        for start in (0, 1)
    ]
    return _ratio(_blocks(halves[0] * halves[1]), _blocks(xp.ones(sums[0].shape, xp.float32)))


def _verdict_of_fits(fits: list[GainFit], chosen: GainFit | None, margin: float) -> str:
    """What a clear fit says; empty where none is clear."""
    best = fits[0]
    if best.slope <= CERTAIN * best.error:
        return ""
    if best.operation == "divide" and best.slope < OWN_NOISE and _multiplies(chosen):
        return CORRECTED if best.slope < LEAST_SLOPE else UNCLEAR
    if best.slope < LEAST_SLOPE:
        return ""
    return FITS if chosen is not None and margin < ALIKE else OTHER


def _verdict_of_pattern(fits: list[GainFit], fixed: float, error: float) -> str:
    """What the pattern that movies share says where no fit is clear."""
    least = LEAST_PATTERN**2
    if any(abs(fit.slope) + ALIKE * fit.error > LEAST_SLOPE for fit in fits):
        return UNCLEAR
    if fixed + ALIKE * error < least:
        return CORRECTED
    return FOREIGN if fixed - ALIKE * error > least else UNCLEAR


def _multiplies(chosen: GainFit | None) -> bool:
    return chosen is not None and chosen.operation == "multiply"


def gain_picture(
    total: Any, gain: Any, *, chosen: GainFit | None, best: GainFit, max_side: int = 384
) -> np.ndarray[Any, Any]:
    """Three panels in a row, uint8, y up: the sum of frames, the same corrected as set, and as proposed."""
    counts = np.asarray(to_numpy(total), np.float32)
    panels = [_flattened(counts, np.ones_like(counts), max_side)]
    for fit in (chosen, best):
        factor = None
        if fit is not None:
            factor = orient_gain(
                to_numpy(gain), rotation=fit.rotation, flip_horizontal=fit.flip_horizontal,
                flip_vertical=fit.flip_vertical, operation=fit.operation,
            )  # fmt: skip
        if factor is None or factor.shape != counts.shape:
            panels.append(np.zeros_like(panels[0]))
        else:
            panels.append(_flattened(counts, factor, max_side))
    spread = 3 * max(float(panels[0].std()), 1e-6)
    rule = np.full((len(panels[0]), 4), spread, np.float32)
    sheet = np.hstack([panels[0], rule, panels[1], rule, panels[2]])
    return np.asarray(np.rint(127.5 * (1 + np.clip(sheet / spread, -1, 1))), np.uint8)


def _flattened(counts: FloatArray, factor: FloatArray, max_side: int) -> FloatArray:
    """Block means of the corrected counts over their wide local mean, less one."""
    ndimage = ndimage_module(counts)
    step = -(-max(counts.shape) // max_side)
    ny, nx = (n // step for n in counts.shape)
    good = (factor > 0) & (counts > 0)
    blocks = [bin_image(image, step) for image in (counts * factor * good, good.astype(np.float32))]
    mean = np.divide(blocks[0], blocks[1], out=np.zeros_like(blocks[0]), where=blocks[1] > 0)
    full = blocks[1] > 0
    wide = [
        ndimage.gaussian_filter(image.astype(np.float32), max(ny, nx) / 8) for image in (mean * full, full)
    ]
    flat = mean * np.maximum(wide[1], 1e-3) / np.maximum(wide[0], 1e-20) - 1
    return np.asarray(np.where(full, np.clip(flat, -1, 1), 0), np.float32)
