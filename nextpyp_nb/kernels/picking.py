"""Find particles in a micrograph by size alone: no template, no training."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import ndtri

from nextpyp_nb.kernels._cpu_picking import winners
from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.kernels.fourier import bin_image
from nextpyp_nb.kernels.junk import junk_mask
from nextpyp_nb.kernels.matched_filter import (
    balls_image,
    balls_of,
    clip_outliers,
    gaussian_average,
    noise_spectrum,
    score_maps,
)
from nextpyp_nb.records import Ctf, FloatArray, Picks

# Diameters tried, in units of twice the radius.
_FAMILY = (0.75, 0.87, 1.0, 1.15, 1.3)
# A radius is searched at this many px.
_FINENESS = 10.0
# Decoys stay this many radii away from better finds.
_RIVALRY = 2.5
_RIVALRY_AT_REST = 1.0
# Two finds stand so far apart, in their diameters: proteins seldom overlap more in projection.
_APART = 0.6
_FALSE_SHARE = 0.2
_NOISE, _BY_CHANCE = 2.4, 0.02
# Independent places of a map in an area of the radius squared, all sizes together.
_PLACES = 5.0
_ONE_SIZE = np.ones(1)
# How often the noise is estimated anew once finds are taken off.
_PASSES = 3


def pick_particles(
    average: Any,
    *,
    pixel_size: float,
    radius: float,
    ctf: Ctf | None = None,
    method: Literal["auto", "all"] = "auto",
    distance: float | None = None,
    threshold: float | None = None,
    ignore_contamination: bool = False,
) -> Picks:
    """Centres of particles of about ``radius`` (Å) in ``average`` (y, x), particles dark.

    ``pixel_size`` in Å. Centres are (n, 2) in (y, x) px of ``average``, best first; scores are matched-filter
    SNR in deviations of the noise (Sigworth 2004). No two centres lie within ``distance`` (Å). "auto" keeps
    scores above ``threshold``, which by default follows from the finds in the contrast-inverted image; "all"
    keeps every positive maximum. `junk_mask` leaves places out unless ``ignore_contamination``.
    """
    check_picking(average, pixel_size, radius, method)
    candidates = find_candidates(
        average, pixel_size=pixel_size, radius=radius, ctf=ctf, distance=distance,
        ignore_contamination=ignore_contamination,
    )  # fmt: skip
    return above_threshold(candidates, 0.0 if method == "all" else threshold)


def above_threshold(candidates: Picks, threshold: float | None) -> Picks:
    """The ``candidates`` with scores above ``threshold``, or above their own when None."""
    threshold = candidates.threshold if threshold is None else threshold
    kept = candidates.scores > threshold
    return replace(
        candidates, centres=candidates.centres[kept], scores=candidates.scores[kept], threshold=threshold
    )


def find_candidates(
    average: Any,
    *,
    pixel_size: float,
    radius: float,
    ctf: Ctf | None = None,
    distance: float | None = None,
    ignore_contamination: bool = False,
) -> Picks:
    """Every place of ``average`` (y, x) that scores above 0, best first, as `pick_particles` finds them.

    Its ``threshold`` is the one that "auto" would take; a threshold may be moved over these without picking
    again.
    """
    search = _search(average, pixel_size, radius, ctf, distance, ignore_contamination)
    return _as_picks(
        search.centres, search.scores, search.threshold, search.clean, search.factor, pixel_size, radius
    )


def score_by_size(
    average: Any, diameters: FloatArray, *, pixel_size: float, radius: float, ctf: Ctf | None = None
) -> tuple[FloatArray, FloatArray]:
    """What the finds that "auto" takes score, and the median of what balls of ``diameters`` score there.

    The latter is (diameters,), empty without finds; lengths in Å, the rest as in `find_candidates`.
    """
    search = _search(average, pixel_size, radius, ctf, None, False)
    sure = search.scores > search.threshold
    if not sure.any():
        return search.scores[sure], np.zeros(0)
    balls = balls_of(search.flat, diameters, pixel_size=pixel_size * search.factor, ctf=ctf)
    limit = np.array(search.flat.shape) - 1
    y, x = np.clip(np.rint(search.centres[sure]).astype(np.intp), 0, limit).T
    (maps,), _ = score_maps([search.flat], search.noise, balls)
    xp = array_module(maps)
    return search.scores[sure], np.median(to_numpy(maps[:, xp.asarray(y), xp.asarray(x)]), axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One search by size: the ``flat`` image (y, x) of ``clean`` px, binned by ``factor``, and its finds."""

    flat: Any
    clean: Any
    factor: int
    noise: tuple[FloatArray, FloatArray]
    centres: FloatArray
    scores: FloatArray
    threshold: float


def _search(
    average: Any, pixel_size: float, radius: float, ctf: Ctf | None, distance: float | None,
    ignore_contamination: bool,
) -> _Search:  # fmt: skip
    factor = max(1, int(radius / _FINENESS / pixel_size))
    coarse_pixel = pixel_size * factor
    flat, clean = flat_darkness(average, factor, coarse_pixel, radius, ignore_contamination)
    balls = balls_of(flat, 2.0 * radius * np.asarray(_FAMILY), pixel_size=coarse_pixel, ctf=ctf)
    images, before = [flat], 0
    for _ in range(_PASSES):
        # Where particles leave no empty place, noise is what remains when they are taken off.
        noise = noise_spectrum(images[-1], clean, pixel_size=coarse_pixel, diameter=2.0 * radius)
        maps, strength = score_maps(images, noise, balls)
        centres, scores, sizes, threshold = found_places(
            maps[0].max(axis=0), (-maps[-1]).max(axis=0), clean, coarse_pixel=coarse_pixel, radius=radius,
            distance=distance, size=to_numpy(maps[0].argmax(axis=0)), family=balls.diameters,
            rivalry=_RIVALRY if len(images) == 1 else _RIVALRY_AT_REST,
        )  # fmt: skip
        sure = scores > threshold
        if sure.sum() <= 1.05 * before:
            break
        before = int(sure.sum())
        amplitudes = scores[sure] / strength[sizes[sure]]
        found = balls_image(flat, balls, centres[sure], sizes[sure], amplitudes) * clean
        images = [flat, flat - found * ((flat * found).sum() / (found**2).sum())]
    return _Search(
        flat=flat, clean=clean, factor=factor, noise=noise, centres=centres, scores=scores,
        threshold=threshold,
    )  # fmt: skip


def flat_darkness(
    average: Any, factor: int, coarse_pixel: float, radius: float, ignore_contamination: bool
) -> tuple[Any, Any]:
    """``average`` inverted, binned by ``factor`` and flat, and which of its px are clean, (y, x) each.

    ``coarse_pixel``, the pixel after binning, and ``radius`` in Å.
    """
    xp = array_module(average)
    coarse = clip_outliers(-bin_image(xp.asarray(average, np.float32), factor))
    if not float(coarse.std()) > 0:
        raise ValueError("the micrograph is blank or holds values that are not numbers: look at the movie")
    clean = xp.ones(coarse.shape, bool)
    if not ignore_contamination:
        clean = ~junk_mask(-coarse, pixel_size=coarse_pixel, radius=radius)
    return (coarse - gaussian_average(coarse, clean, 3.0 * radius / coarse_pixel)) * clean, clean


def scored_places(
    score: Any,
    inverted: Any,
    clean: Any,
    *,
    factor: int,
    pixel_size: float,
    radius: float,
    distance: float | None,
    trials: float = 1.0,
) -> Picks:
    """The maxima of ``score`` (y, x) on ``clean`` px, with the threshold that those of ``inverted`` give.

    Maps are binned by ``factor``; lengths in Å. Scores count by ``trials``: more than 1 where more shapes
    than the family of sizes had a try.
    """
    centres, scores, _, threshold = found_places(
        score / trials, inverted / trials, clean, coarse_pixel=pixel_size * factor, radius=radius,
        distance=1.4 * radius if distance is None else distance,
    )  # fmt: skip
    return _as_picks(centres, trials * scores, trials * threshold, clean, factor, pixel_size, radius)


def found_places(
    score: Any,
    inverted: Any,
    clean: Any,
    *,
    coarse_pixel: float,
    radius: float,
    distance: float | None,
    size: NDArray[np.intp] | None = None,
    family: FloatArray = _ONE_SIZE,
    rivalry: float = _RIVALRY,
) -> tuple[FloatArray, FloatArray, NDArray[np.intp], float]:
    """Maxima of ``score`` (y, x), best first: centres (n, 2) px, scores, sizes, and the threshold.

    ``size`` (y, x) says which of ``family`` (diameters, Å) fits a place best; two finds stand at least
    ``distance`` (Å) apart, or by default `_APART` of the mean of their diameters. ``inverted`` is the score
    of the contrast-inverted image; within ``rivalry`` radii of finds its maxima count where they are better.
    """
    centres, scores = _maxima(score, clean, 0.0)
    # No threshold is lower than that: weaker ones would count for nothing.
    decoys, decoy_scores = _maxima(inverted, clean, _NOISE)
    sizes = np.zeros(len(centres), np.intp)
    if size is not None:
        limit = np.array(size.shape) - 1
        sizes = size[tuple(np.clip(np.rint(centres).astype(np.intp), 0, limit).T)]
    reach = 0.5 * (_APART * family[sizes] if distance is None else np.full(len(sizes), distance))
    kept = _winners(centres, reach / coarse_pixel)
    centres, scores, sizes = centres[kept], scores[kept], sizes[kept]
    alone = _winners(decoys, np.full(len(decoys), 0.7 * radius / coarse_pixel))
    decoys, decoy_scores = decoys[alone], decoy_scores[alone]
    places = _PLACES * float(clean.sum()) * (coarse_pixel / radius) ** 2
    threshold = _threshold(
        centres, scores, decoys, decoy_scores, rivalry * radius / coarse_pixel, max(places, 1.0)
    )
    return centres, scores, sizes, threshold


def _as_picks(
    centres: FloatArray,
    scores: FloatArray,
    threshold: float,
    clean: Any,
    factor: int,
    pixel_size: float,
    radius: float,
) -> Picks:
    return Picks(
        # A coarse pixel's centre lies in the middle of its block.
        centres=((centres + 0.5) * factor - 0.5).astype(np.float32),
        scores=scores.astype(np.float32), radius=radius, pixel_size=pixel_size, threshold=threshold,
        junk_fraction=1.0 - float(clean.mean()),
    )  # fmt: skip


def check_picking(average: Any, pixel_size: float, radius: float, method: str) -> None:
    """Raise ValueError where nothing can be picked: no image, or lengths (Å) that do not fit it."""
    if average.ndim != 2:
        raise ValueError(f"expected one micrograph (y, x), got an array of shape {average.shape}")
    if method not in ("auto", "all"):
        raise ValueError(f"method must be 'auto' or 'all', got {method!r}")
    if not (pixel_size > 0 and radius > 0):
        raise ValueError(f"pixel size and radius must be positive Å, got {pixel_size} and {radius}")
    room = min(average.shape) * pixel_size
    if room < 4.0 * radius:
        raise ValueError(
            f"a micrograph {room:.0f} Å wide has no room for particles of radius {radius:.0f} Å: "
            "check the radius (Å) and the pixel size (Å)"
        )
    if radius < 2.5 * pixel_size:
        raise ValueError(
            f"a radius of {radius:g} Å is under 2.5 px of {pixel_size:g} Å: check radius and pixel size"
        )


def _maxima(score: Any, clean: Any, least: float) -> tuple[FloatArray, FloatArray]:
    """Maxima of ``score`` above ``least`` on ``clean`` px, best first: sub-pixel centres (n, 2), scores."""
    xp = array_module(score)
    padded = xp.pad(score, 1, mode="edge")
    highest = xp.maximum(xp.maximum(padded[:-2], padded[2:]), padded[1:-1])
    highest = xp.maximum(xp.maximum(highest[:, :-2], highest[:, 2:]), highest[:, 1:-1])
    y, x = xp.nonzero((score == highest) & (score > least) & clean)
    offsets = []
    for dy, dx in ((1, 0), (0, 1)):
        before, after = padded[y + 1 - dy, x + 1 - dx], padded[y + 1 + dy, x + 1 + dx]
        bend = xp.maximum(2.0 * score[y, x] - before - after, 1e-6)
        offsets.append(xp.clip(0.5 * (after - before) / bend, -0.5, 0.5))
    centres = to_numpy(xp.stack([y + offsets[0], x + offsets[1]], axis=1))
    scores = to_numpy(score[y, x])
    order = np.argsort(-scores, kind="stable")
    return centres[order], scores[order]


def _winners(centres: FloatArray, reach: FloatArray) -> NDArray[np.intp]:
    """Which of the ``centres`` (n, 2), best first, stay: the better of two nearer than both ``reach``."""
    if len(centres) == 0:
        return np.zeros(0, np.intp)
    order = np.argsort(centres[:, 0])
    best_first = np.argsort(order)
    y, x = centres[order].T.astype(float)
    alive = winners(y, x, reach[order].astype(float), best_first)
    return np.flatnonzero(alive[best_first])


def _threshold(
    centres: FloatArray,
    scores: FloatArray,
    decoys: FloatArray,
    decoy_scores: FloatArray,
    distance: float,
    places: float,
) -> float:
    """Lowest score at which finds in the contrast-inverted image are no more than a fifth of the finds.

    Noise is as often bright as dark, so inverted finds (decoys) count the false ones. A find and a decoy
    nearer than ``distance`` px compete and the better counts: most decoys beside particles are their side
    lobes, and some remain, so the true share is well below a fifth. However few there are, those pass that
    beat every decoy and the best that noise gives once in fifty fields of so many ``places``; nothing below
    `_NOISE` does.
    """
    finds = _unrivalled(centres, scores, decoys, decoy_scores, distance)
    false = _unrivalled(decoys, decoy_scores, centres, scores, distance)[::-1]
    above = len(false) - np.searchsorted(false, finds)
    share = (2.0 + above) / np.arange(1, len(finds) + 1)
    passing = finds[(share <= _FALSE_SHARE) & (finds > _NOISE)]
    beyond = max(-float(ndtri(_BY_CHANCE / places)), float(decoy_scores.max(initial=0.0)), _NOISE)
    return min(float(passing.min()) - 1e-6, beyond) if len(passing) else beyond


def _unrivalled(
    centres: FloatArray, scores: FloatArray, rivals: FloatArray, rival_scores: FloatArray, distance: float
) -> FloatArray:
    """Of the sorted ``scores``, those without a better rival within ``distance`` px."""
    if len(rivals) == 0 or len(centres) == 0:
        return scores
    near = KDTree(rivals).query_ball_point(centres, distance)
    best = np.array([rival_scores[i].max(initial=0.0) for i in near])
    return scores[scores > best]
