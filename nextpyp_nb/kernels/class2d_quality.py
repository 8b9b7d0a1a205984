"""How good a class is: resolution from its half averages and a score from 0 (junk) to 1."""

from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels.class2d_average import HalfSums, half_correlation
from nextpyp_nb.kernels.polar import PolarGrid
from nextpyp_nb.records import ClassAverage, FloatArray


def crossing(curve: FloatArray, box: int, pixel_size: float, level: float = 0.5) -> float:
    """Resolution in Å where a ring correlation (rings,) falls below ``level`` for good; NaN if at once.

    For good means on three rings running: a zero of the CTF, shared by few micrographs, spans fewer.
    """
    low = np.append(curve < level, [True, True])
    below = np.flatnonzero(low[1:-2] & low[2:-1] & low[3:]) + 1
    if len(below) == 0:
        return box * pixel_size / len(curve)
    last = int(below[0])
    if last < 3:
        return float("nan")
    over = (curve[last - 1] - level) / max(float(curve[last - 1] - curve[last]), 1e-6)
    return float(box * pixel_size / (last + np.clip(over, 0, 1)))


def judge(
    sums: HalfSums, averages: FloatArray, *, grid: PolarGrid, pixel_size: float, radius: float
) -> tuple[ClassAverage, ...]:
    """Count, share, resolution (FRC 0.5 of the halves, Å) and score of every class.

    The score multiplies three judgements: detail (correlation of the halves between 40 and 10 Å), fill
    (the density lies within 0.8 ``radius`` px and not at the rim), and number of particles.
    """
    curves = half_correlation(sums, grid)
    count = sums.count.sum(axis=0)
    rows = []
    for k, curve in enumerate(curves):
        resolution = crossing(curve, grid.box, pixel_size) if count[k] >= 4 else float("nan")
        score = _score(curve, averages[k], count[k], grid.box * pixel_size, radius)
        rows.append(
            ClassAverage(
                number=k + 1,
                count=int(count[k]),
                share=float(count[k] / max(count.sum(), 1)),
                resolution=resolution,
                score=score,
            )
        )
    return tuple(rows)


def features(curve: FloatArray, average: FloatArray, extent: float, radius: float) -> tuple[float, float]:
    """Correlation of the halves between 40 and 10 Å, and the part of the density near the rim."""
    rho = np.arange(1, len(curve) + 1)
    band = (rho >= extent / 40) & (rho <= extent / 10)
    detail = float(np.clip(curve[band], 0, 1).mean()) if band.any() else 0.0
    r = _radii(len(average))
    square = average.astype(np.float64) ** 2
    total = square[r <= radius].sum()
    rim = square[(r > 0.8 * radius) & (r <= radius)].sum()
    return detail, float(rim / max(total, 1e-12))


@lru_cache(maxsize=2)
def _radii(box: int) -> FloatArray:
    """Distance of each pixel (box, box) from the centre, px."""
    axis = np.arange(box) - box // 2
    return np.asarray(np.hypot(axis[:, None], axis[None, :]))


def _score(curve: FloatArray, average: FloatArray, count: float, extent: float, radius: float) -> float:
    """The score of one class."""
    detail, rim = features(curve, average, extent, radius)
    return float(_rise(detail, 0.32, 0.04) * _rise(-rim, -0.14, 0.03) * _rise(count, 5.0, 1.5))


def _rise(value: float, middle: float, width: float) -> Any:
    """A smooth step from 0 to 1 at ``middle``."""
    return 1 / (1 + np.exp(-np.clip((value - middle) / width, -50, 50)))
