"""Find particles in a micrograph by size alone: no template, no training."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from nextpyp_nb.kernels.backend import array_module, ndimage_module, to_numpy
from nextpyp_nb.kernels.junk import junk_mask
from nextpyp_nb.kernels.matched_filter import (
    block_mean,
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
_FALSE_SHARE = 0.2
_NOISE, _BEYOND_DOUBT = 2.7, 5.0


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
    factor = max(1, int(radius / _FINENESS / pixel_size))
    coarse_pixel = pixel_size * factor
    flat, clean = flat_darkness(average, factor, coarse_pixel, radius, ignore_contamination)
    noise = noise_spectrum(flat, clean, pixel_size=coarse_pixel, diameter=2.0 * radius)
    maps = score_maps(flat, noise, 2.0 * radius * np.asarray(_FAMILY), pixel_size=coarse_pixel, ctf=ctf)
    return scored_places(
        maps.max(axis=0), (-maps).max(axis=0), clean, factor=factor, pixel_size=pixel_size, radius=radius,
        distance=distance,
    )  # fmt: skip


def flat_darkness(
    average: Any, factor: int, coarse_pixel: float, radius: float, ignore_contamination: bool
) -> tuple[Any, Any]:
    """``average`` inverted, binned by ``factor`` and flat, and which of its px are clean, (y, x) each.

    ``coarse_pixel``, the pixel after binning, and ``radius`` in Å.
    """
    xp = array_module(average)
    coarse = clip_outliers(-block_mean(xp.asarray(average, np.float32), factor))
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
    coarse_pixel = pixel_size * factor
    apart = (1.4 * radius if distance is None else distance) / coarse_pixel
    centres, scores = _thin(*_maxima(score, clean), apart)
    decoys, decoy_scores = _thin(*_maxima(inverted, clean), apart)
    rivalry = _RIVALRY * radius / coarse_pixel
    return Picks(
        # A coarse pixel's centre lies in the middle of its block.
        centres=((centres + 0.5) * factor - 0.5).astype(np.float32),
        scores=scores.astype(np.float32),
        radius=radius,
        pixel_size=pixel_size,
        threshold=trials * _threshold(centres, scores / trials, decoys, decoy_scores / trials, rivalry),
        junk_fraction=1.0 - float(clean.mean()),
    )


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


def _maxima(score: Any, clean: Any) -> tuple[FloatArray, FloatArray]:
    """Positive local maxima of ``score`` on ``clean`` px, best first: sub-pixel centres (n, 2) and scores."""
    xp, ndimage = array_module(score), ndimage_module(score)
    peak = (score == ndimage.maximum_filter(score, size=3, mode="nearest")) & (score > 0) & clean
    y, x = xp.nonzero(peak)
    padded = xp.pad(score, 1, mode="edge")
    offsets = []
    for dy, dx in ((1, 0), (0, 1)):
        before, after = padded[y + 1 - dy, x + 1 - dx], padded[y + 1 + dy, x + 1 + dx]
        bend = xp.maximum(2.0 * score[y, x] - before - after, 1e-6)
        offsets.append(xp.clip(0.5 * (after - before) / bend, -0.5, 0.5))
    centres = to_numpy(xp.stack([y + offsets[0], x + offsets[1]], axis=1))
    scores = to_numpy(score[y, x])
    order = np.argsort(-scores, kind="stable")
    return centres[order], scores[order]


def _thin(centres: FloatArray, scores: FloatArray, distance: float) -> tuple[FloatArray, FloatArray]:
    """The best of each neighbourhood: no two of the sorted ``centres`` kept lie within ``distance`` px."""
    kept = _winners(centres, distance)
    return centres[kept], scores[kept]


def _winners(centres: FloatArray, distance: float) -> NDArray[np.intp]:
    alive = np.ones(len(centres), bool)
    tree = KDTree(centres) if len(centres) else None
    for i in range(len(centres)):
        if alive[i] and tree is not None:
            near = np.asarray(tree.query_ball_point(centres[i], distance))
            alive[near[near > i]] = False
    return np.flatnonzero(alive)


def _threshold(
    centres: FloatArray, scores: FloatArray, decoys: FloatArray, decoy_scores: FloatArray, distance: float
) -> float:
    """Lowest score at which finds in the contrast-inverted image are no more than a fifth of the finds.

    Noise is as often bright as dark, so inverted finds (decoys) count the false ones. A find and a decoy
    nearer than ``distance`` px compete and the better counts: most decoys beside particles are their side
    lobes, and some remain, so the true share is well below a fifth. What stands `_BEYOND_DOUBT` deviations
    out passes however few there are; nothing below `_NOISE` does.
    """
    finds = _unrivalled(centres, scores, decoys, decoy_scores, distance)
    false = _unrivalled(decoys, decoy_scores, centres, scores, distance)[::-1]
    above = len(false) - np.searchsorted(false, finds)
    share = (2.0 + above) / np.arange(1, len(finds) + 1)
    passing = finds[(share <= _FALSE_SHARE) & (finds > _NOISE)]
    lowest = float(passing.min()) - 1e-6 if len(passing) else _BEYOND_DOUBT
    return min(lowest, _BEYOND_DOUBT)


def _unrivalled(
    centres: FloatArray, scores: FloatArray, rivals: FloatArray, rival_scores: FloatArray, distance: float
) -> FloatArray:
    """Of the sorted ``scores``, those without a better rival within ``distance`` px."""
    if len(rivals) == 0 or len(centres) == 0:
        return scores
    near = KDTree(rivals).query_ball_point(centres, distance)
    best = np.array([rival_scores[i].max(initial=0.0) for i in near])
    return scores[scores > best]
