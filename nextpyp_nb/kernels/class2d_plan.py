"""How finely 2D classification searches, and how it cools down while it finds classes."""

import numpy as np

from nextpyp_nb.kernels.class2d_passes import Pass
from nextpyp_nb.kernels.class2d_search import SearchPlan, shift_steps
from nextpyp_nb.kernels.polar import PolarGrid
from nextpyp_nb.records import FloatArray

COARSE = 15.0


def ring_weights_of(grid: PolarGrid, extent: float, min_resolution: float) -> FloatArray:
    """Independent Fourier terms on each ring (half the circumference), 0 below the lowest frequency."""
    rho = np.arange(1, grid.rings + 1)
    weights = np.pi * rho / (1 + np.exp(-2.0 * (rho - extent / min_resolution)))
    return np.asarray(weights, np.float32)


def search_plans(grid: PolarGrid, pixel_size: float, reach: float) -> tuple[SearchPlan, ...]:
    """While annealing, for all shifts within ``reach`` px, around a known pose, and to half a px."""
    rings = min(grid.rings, int(grid.box * pixel_size / COARSE))
    turns = 2 * round(np.pi * rings * 0.8)
    step = 2.0 * max(1.0, reach / 8)
    return (
        SearchPlan(rings, turns, shift_steps(2 * step, step)),
        SearchPlan(rings, turns, shift_steps(min(reach, 3 * step), step)),
        SearchPlan(grid.rings, grid.angles, shift_steps(2.0, 1.0), brief=True),
        SearchPlan(grid.rings, grid.angles, shift_steps(1.0, 0.5), brief=True),
    )


def cooling(plan: SearchPlan, passes: int, choices: float, share: int) -> list[Pass]:
    """Passes in which particles choose among ``choices`` classes at first and among one in the end."""
    plans = []
    for i in range(passes):
        hesitate = 1 + (choices - 1) * max(0.0, 1 - i / max(passes - 3, 1))
        # While particles still hop between classes their shifts would wander off with them.
        plans.append(Pass(plan, hesitate, share, hesitate < 1.5, i % 5 == 4, "finding classes"))
    return plans
