"""How large the particles are, from micrographs alone: which ball fits best what stands out in them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nextpyp_nb.kernels.picking import score_by_size
from nextpyp_nb.records import Ctf, FloatArray

_STEP = 1.1
# Å; some 60 kDa at the lower end.
DIAMETERS = 50.0 * _STEP ** np.arange(30)
# Particles are looked for at every fourth of these; then finer sizes are compared, in units of the best.
_COARSE = slice(2, None, 4)
_LEAST, _MOST = 0.4, 1.4
# So much of a micrograph's middle is enough, Å.
_FIELD = 3500.0
# A field narrower than this many diameters says nothing of them, and so do fewer finds than this.
_ROOM, _FEWEST = 4.5, 5
# Ice scores more than any particle: beyond this a score counts no more.
_CAP = 12.0
# Proteins reach further than the ball that fits them best (measured, see docs/benchmarks.md).
REACH = 1.15


def size_curve(average: Any, *, pixel_size: float, ctf: Ctf | None = None) -> FloatArray:
    """How well balls of `DIAMETERS` fit the particles of ``average`` (y, x; particles dark): 0 without any.

    ``pixel_size`` in Å. Particles are looked for at some diameters, so that noise gives none (see
    `find_candidates`). Those count most that score high and cover much, because the parts of a large
    particle are found too, each by itself. What balls of the sizes around score at those places (medians, in
    deviations of the noise) is the curve; it does not depend on how densely particles lie.
    """
    ny, nx = (min(n, int(_FIELD / pixel_size)) for n in average.shape)
    top, left = (average.shape[0] - ny) // 2, (average.shape[1] - nx) // 2
    middle = average[top : top + ny, left : left + nx]
    curve, most = np.zeros(len(DIAMETERS)), 0.0
    for diameter in DIAMETERS[_COARSE]:
        radius = 0.5 * float(diameter)
        if min(ny, nx) * pixel_size < _ROOM * diameter or radius < 2.5 * pixel_size:
            continue
        share = DIAMETERS / diameter
        near = (share >= _LEAST) & (share <= _MOST)
        scores, fits = score_by_size(middle, DIAMETERS[near], pixel_size=pixel_size, radius=radius, ctf=ctf)
        covered = diameter**2 * float((np.minimum(scores, _CAP) ** 2).sum())
        if len(scores) >= _FEWEST and covered > most:
            most = covered
            curve[:] = 0.0
            curve[near] = np.maximum(fits, 0.0)
    return curve


def likely_radius(curves: Sequence[Sequence[float]]) -> float | None:
    """The particle radius (Å) that the `size_curve` of some micrographs speak for; None where all are 0.

    Each micrograph with particles counts alike and the middle one decides at each size, so that a few with
    ice or carbon do not.
    """
    heard = np.array([np.divide(curve, max(curve)) for curve in curves if max(curve) > 0])
    if not len(heard):
        return None
    middle = np.median(heard, axis=0)
    if not middle.any():
        middle = heard.mean(axis=0)
    best, offset = int(middle.argmax()), 0.0
    if 0 < best < len(middle) - 1:
        before, peak, after = middle[best - 1 : best + 2]
        offset = 0.5 * (before - after) / (before - 2.0 * peak + after)
    return 0.5 * REACH * float(DIAMETERS[best]) * math.pow(_STEP, offset)
