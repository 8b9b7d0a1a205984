"""Where no particle can be trusted: carbon, thick or crystalline ice, aggregates."""

import math
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, ndimage_module, to_numpy
from nextpyp_nb.kernels.fourier import bin_image
from nextpyp_nb.kernels.matched_filter import clip_outliers, gaussian_average
from nextpyp_nb.records import FloatArray

# Two clusters of grey level further apart than this many of their own standard deviations are two materials;
# one Gaussian cut in the middle gives 2.7, an even gradient 3.5.
_TWO_MATERIALS = 5.0
# (width of the average in radii, robust z it takes): sharp and deep is ice or carbon, broad is an aggregate.
_EVIDENCE = ((0.4, 8.0), (1.0, 6.0))


def junk_mask(average: Any, *, pixel_size: float, radius: float) -> Any:
    """Mask of places darker or brighter than ice with particles of ``radius`` (Å) can be: bool (y, x).

    ``average`` float (y, x), px of ``pixel_size`` Å, particles dark; works at about a sixth of the radius
    and repeats the answer up to the shape of ``average``. Grey levels fall into materials by Otsu's cut
    (1979); the brightest common one is the ice, and in it a local mean stands out by its robust z.
    """
    xp = array_module(average)
    factor = max(1, int(radius / 6.0 / pixel_size))
    darkness = -bin_image(xp.asarray(average, np.float32), factor)
    mask = _coarse_mask(darkness, radius / (pixel_size * factor))
    mask = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    spare = [(0, n - m) for n, m in zip(average.shape, mask.shape, strict=True)]
    return xp.pad(mask, spare, mode="edge")


def _coarse_mask(darkness: Any, radius_px: float) -> Any:
    xp = array_module(darkness)
    darkness = clip_outliers(darkness)
    everywhere = xp.ones(darkness.shape, bool)
    level = gaussian_average(darkness, everywhere, _EVIDENCE[0][0] * radius_px)
    slope = _uneven_light(level, round(2.0 * radius_px))
    ground = _brightest_material(level - slope)
    darkness = darkness - slope
    # How many times over its limit each place is; other materials are beyond any.
    excess = xp.where(ground, np.float32(0.0), np.float32(np.inf))
    for width, limit in _EVIDENCE:
        level = gaussian_average(darkness, ground, width * radius_px)
        centre = xp.median(level[ground])
        spread = 1.4826 * xp.median(xp.abs(level[ground] - centre))
        excess = xp.maximum(excess, xp.abs(level - centre) / (limit * xp.maximum(spread, 1e-12)))
    return _tidy(excess, radius_px)


def _uneven_light(level: Any, lag: int) -> Any:
    """Quadratic surface whose differences over ``lag`` px fit those of ``level``, robustly.

    Differences, because a material's edge spoils few of them, but would pull a surface fitted to levels.
    """
    xp = array_module(level)
    ny, nx = level.shape
    y, x = xp.linspace(-1.0, 1.0, ny, dtype=np.float32)[:, None], xp.linspace(-1.0, 1.0, nx, dtype=np.float32)
    terms = xp.stack([t + 0.0 * (y + x) for t in (y, x, y * y, x * x, x * y)])
    stride = max(1, lag // 6)
    layers = xp.concatenate([terms, level[None]])[:, ::stride, ::stride]
    gap = max(1, lag // stride)
    steps = [layers[:, gap:] - layers[:, :-gap], layers[:, :, gap:] - layers[:, :, :-gap]]
    *basis, rise = xp.concatenate([s.reshape(len(layers), -1) for s in steps], axis=1)
    basis = xp.stack(basis)
    weight = xp.ones(rise.shape, np.float32)
    for _ in range(5):
        fit = xp.linalg.solve((basis * weight) @ basis.T, (basis * weight) @ rise)
        rest = xp.abs(rise - fit @ basis)
        weight = 1.0 / (1.0 + (rest / xp.maximum(2.0 * xp.median(rest), 1e-12)) ** 2)
    return xp.tensordot(fit, terms, 1)


def _brightest_material(level: Any) -> Any:
    """Bool (y, x): the brightest cluster of ``level`` (dark is large) that takes a fifth of the area."""
    xp = array_module(level)
    ground = xp.ones(level.shape, bool)
    for _ in range(3):
        cut, separation = _otsu(to_numpy(level[ground]))
        if separation < _TWO_MATERIALS:
            break
        bright = ground & (level < cut)
        common = float(bright.mean()) >= 0.2
        ground = bright if common else ground & (level >= cut)
    return ground


def _otsu(values: FloatArray) -> tuple[float, float]:
    """Otsu's cut of ``values`` and the distance of the two means in pooled standard deviations."""
    counts, edges = np.histogram(values, 128)
    middle = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    first = np.cumsum(counts * middle)[:-1]
    gap = (counts * middle).sum() - first
    gap = gap / np.maximum(above, 1) - first / np.maximum(below, 1)
    between = below * above * gap**2
    # Empty bins between two clusters all score alike: the middle of them is the fairest cut.
    best = int(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())
    total = float(counts.sum())
    within = float(values.var()) - float(between[best]) / total**2
    return float(edges[best + 1]), float(gap[best]) / math.sqrt(max(within, 1e-12 * gap[best] ** 2, 1e-30))


def _tidy(excess: Any, radius_px: float) -> Any:
    """Areas of ``excess`` above 1, less what may be a lone particle, widened by a quarter of the radius.

    On a nearly empty micrograph a single particle stands out too, but it is neither large nor extreme.
    """
    xp, ndimage = array_module(excess), ndimage_module(excess)
    labels, count = ndimage.label(excess > 1.0)
    if count == 0:
        return xp.zeros(excess.shape, bool)
    particle = math.pi * radius_px**2
    area = xp.bincount(labels.ravel(), minlength=count + 1)
    inside = labels > 0
    peak = xp.asarray(ndimage.maximum(excess[inside], labels[inside], xp.arange(count + 1)))
    counts = (area > 1.5 * particle) | ((area > 0.5 * particle) & (peak > 4.0))
    counts[0] = False
    kept = counts[labels]
    if not bool(kept.any()):
        return kept
    return ndimage.distance_transform_edt(~kept) <= 0.25 * radius_px
