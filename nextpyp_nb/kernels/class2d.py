"""2D classification: expectation-maximisation over class, rotation and shift, a round at a time.

Each pass matches particles with every reference on the rings of their transforms and makes new references.
A first round anneals: particles choose among several classes by chance at a temperature that falls until
they choose one, so classes part from the coarse to the fine and none is lost at the start. Later rounds
start from the last averages, seed classes that stayed empty, and anneal briefly.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.kernels.class2d_particles import RingedParticles, ring_images, ring_particles
from nextpyp_nb.kernels.class2d_passes import Pass, Passes
from nextpyp_nb.kernels.class2d_quality import judge
from nextpyp_nb.kernels.class2d_search import SearchPlan, shift_steps
from nextpyp_nb.kernels.class2d_state import Class2dRound, Class2dState
from nextpyp_nb.kernels.polar import PolarGrid, half_turn, harmonics, radial_window
from nextpyp_nb.records import Ctf, FloatArray

__all__ = ["Class2dRound", "Class2dState", "classify"]

LEAST_PER_CLASS = 10
PARTICLES_PER_CLASS = 30
COARSE = 15.0


def classify(
    images: Any,
    ctfs: Sequence[Ctf],
    *,
    pixel_size: float,
    classes: int,
    diameter: float,
    seed: int = 0,
    state: Class2dState | None = None,
    min_resolution: float = 100.0,
    max_resolution: float = 8.0,
    passes: int | None = None,
    choices: float = 6.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Class2dRound:
    """Sort particles into at most ``classes`` 2D classes and average each.

    ``images`` (n, box, box) float32, protein bright, background mean 0 and sd 1; ``ctfs`` one a particle;
    ``pixel_size`` Å, ``diameter`` Å of the particle. Rings between ``min_resolution`` and
    ``max_resolution`` Å are compared. The first ``passes`` (80, or 30 with a ``state``) anneal: particles
    choose among ``choices`` classes, falling to 1. Signs: see ``Class2dRound``.
    """
    _check(images, ctfs, classes, diameter)
    n, box = len(images), images.shape[-1]
    extent = box * pixel_size
    grid = PolarGrid.covering(box, min(box // 2 - 1, int(extent / max_resolution)), 0.4 * box)
    radius = min(0.5 * diameter / pixel_size, 0.46 * box)
    reach = min(max(0.12 * diameter, 10.0) / pixel_size, 0.2 * box)
    if state is not None:
        state.check(box, pixel_size)
    classes = max(min(classes, n // LEAST_PER_CLASS), 1 if state is None else len(state.averages))
    fresh = state is None
    plan = _schedule(
        n, classes, grid, pixel_size, reach,
        annealing=passes if passes is not None else (80 if fresh else 30), choices=choices if fresh else 3.0,
    )  # fmt: skip
    report = _Report(progress, n + sum(min(step.share, n) for step in plan))
    particles = ring_particles(
        images, ctfs, grid=grid, pixel_size=pixel_size, radius=min(radius + 0.5 * reach, 0.48 * box),
        advance=lambda count: report(count, "preparing particles"),
    )  # fmt: skip
    work = _begin(
        particles, classes, state, ring_weights_of(grid, extent, min_resolution), radius, reach, seed
    )
    before = work.references.copy()
    for step in plan:
        work.run(step, partial(report, text=step.name))
    if state is not None:
        work.keep_numbers(before[: len(state.averages)])
    return _finish(work, pixel_size, 1 if state is None else int(state.rounds) + 1)


def _check(images: Any, ctfs: Sequence[Ctf], classes: int, diameter: float) -> None:
    """Refuse what cannot be classified."""
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.shape[1] % 2 or not len(images):
        raise ValueError(f"particle images must be (n, box, box) with an even box; got {images.shape}")
    if len(ctfs) != len(images):
        raise ValueError(f"each particle needs its CTF: got {len(images)} particles and {len(ctfs)} CTFs")
    if classes < 1 or diameter <= 0:
        raise ValueError(f"classes and diameter must be positive; got {classes} and {diameter} Å")


def ring_weights_of(grid: PolarGrid, extent: float, min_resolution: float) -> FloatArray:
    """Independent Fourier terms on each ring (half the circumference), 0 below the lowest frequency."""
    rho = np.arange(1, grid.rings + 1)
    weights = np.pi * rho / (1 + np.exp(-2.0 * (rho - extent / min_resolution)))
    return np.asarray(weights, np.float32)


def _schedule(
    n: int, classes: int, grid: PolarGrid, pixel_size: float, reach: float, *, annealing: int, choices: float
) -> list[Pass]:
    """Annealing on a share of the particles at low resolution, then everyone at full resolution."""
    share = min(n, max(1000, PARTICLES_PER_CLASS * classes))
    hot, wide, near, fine = search_plans(grid, pixel_size, reach)
    plans = cooling(hot, annealing, choices, share) + [
        Pass(wide, 1.0, n, True, False, "sorting all", split=True),
        Pass(near, 1.0, n, True, True, "refining", split=True),
        Pass(near, 1.0, n, True, True, "refining"),
    ]
    return plans + [Pass(fine, 1.0, n, True, False, "refining")] * 2


def search_plans(grid: PolarGrid, pixel_size: float, reach: float) -> tuple[SearchPlan, ...]:
    """While annealing, for all shifts within ``reach`` px, around a known pose, and to half a px."""
    rings = min(grid.rings, int(grid.box * pixel_size / COARSE))
    turns = 2 * round(np.pi * rings * 0.8)
    step = 2.0 * max(1.0, reach / 8)
    return (
        SearchPlan(rings, turns, shift_steps(2 * step, step)),
        SearchPlan(rings, turns, shift_steps(min(reach, 3 * step), step)),
        SearchPlan(grid.rings, grid.angles, shift_steps(2.0, 1.0)),
        SearchPlan(grid.rings, grid.angles, shift_steps(1.0, 0.5)),
    )


def cooling(plan: SearchPlan, passes: int, choices: float, share: int) -> list[Pass]:
    """Passes in which particles choose among ``choices`` classes at first and among one in the end."""
    plans = []
    for i in range(passes):
        hesitate = 1 + (choices - 1) * max(0.0, 1 - i / max(passes - 3, 1))
        # While particles still hop between classes their shifts would wander off with them.
        plans.append(Pass(plan, hesitate, share, hesitate < 1.5, i % 5 == 4, "finding classes"))
    return plans


def _begin(
    particles: RingedParticles,
    classes: int,
    state: Class2dState | None,
    ring_weights: FloatArray,
    radius: float,
    reach: float,
    seed: int,
) -> Passes:
    """Starting references: the averages of ``state``, single particles for the rest."""
    xp, grid = array_module(particles.half), particles.grid
    rng = np.random.default_rng(seed)
    noise = particles.noise.mean(axis=0)
    references = xp.zeros((classes, grid.rings, grid.harmonics), xp.complex64)
    work = Passes(
        particles,
        references=references,
        noise=noise,
        ring_weights=ring_weights,
        radius=radius,
        reach=reach,
        rng=rng,
    )
    everyone = np.arange(len(particles))
    if state is None:
        work.seed(everyone[:classes], everyone)
        return work
    old = len(state.averages)
    work.references[:old] = harmonics(ring_images(xp.asarray(state.averages), grid))
    if len(state.noise) == grid.rings:
        work.noise = xp.asarray(state.noise)
    poor = np.flatnonzero(state.count < 0.25 * state.count.sum() / old)
    work.seed(np.concatenate([poor, np.arange(old, classes)]).astype(np.intp), everyone)
    return work


def _finish(work: Passes, pixel_size: float, rounds: int) -> Class2dRound:
    """The round as host arrays."""
    grid = work.particles.grid
    averages = on_flat_ground(to_numpy(grid.image(half_turn(work.references, grid.angles))), work.radius)
    records = judge(work.sums, averages, grid=grid, pixel_size=pixel_size, radius=work.radius)
    state = Class2dState(
        averages=averages,
        count=work.sums.count.sum(axis=0),
        noise=to_numpy(work.noise),
        sampling=np.asarray(pixel_size),
        rounds=np.asarray(rounds),
    )
    return Class2dRound(
        averages, work.number + 1, work.rotation, work.shift, work.probability, records, state
    )


def on_flat_ground(averages: FloatArray, radius: float) -> FloatArray:
    """Averages whose rim is level 0 inside a soft mask of ``radius`` px: rings say nothing of the mean."""
    box = averages.shape[-1]
    axis = np.arange(box) - box // 2
    r = np.hypot(axis[:, None], axis[None, :])
    window = np.interp(r, 0.5 * np.arange(1, box + 1), radial_window(radius, 0.05 * box, box))
    rim = averages[:, np.abs(r - 0.95 * radius) <= 0.05 * radius]
    return np.asarray((averages - np.median(rim, axis=1)[:, None, None]) * window, np.float32)


class _Report:
    """Counts particles and tells ``progress`` at most every half second."""

    def __init__(self, progress: Callable[[int, int, str], None] | None, total: int) -> None:
        self.progress, self.total, self.done, self.told = progress, total, 0, 0.0

    def __call__(self, count: int, text: str) -> None:
        self.done += count
        now = time.monotonic()
        if self.progress and (now - self.told >= 0.5 or self.done >= self.total):
            self.told = now
            self.progress(self.done, self.total, text)
