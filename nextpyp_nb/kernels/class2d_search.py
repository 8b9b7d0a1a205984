"""Which class, turned and moved how: the likelihood of every pose of every reference, ring by ring."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, irfft_of_columns, on_gpu, to_numpy
from nextpyp_nb.kernels.class2d_particles import RingedParticles
from nextpyp_nb.kernels.cuda import cuda_kernel
from nextpyp_nb.kernels.polar import PolarGrid, half_turn, harmonics, ring_power
from nextpyp_nb.records import FloatArray

SCORES_HOST, SCORES_GPU = 3_000_000, 100_000_000
MOST_HOST, MOST_GPU = 256, 1024
CLASSES, PARTS = 32, 8
# In a brief search all shifts are tried in so many classes of each particle.
LIKELY = 12


@dataclass(frozen=True)
class SearchPlan:
    """How finely to search: rings compared, rotations tried, and shifts (s, 2) px around the last ones.

    ``brief``: where there are many classes, all shifts in the likeliest ones only, the first in the others.
    """

    rings: int
    rotations: int
    steps: FloatArray
    brief: bool = False

    @property
    def harmonics(self) -> int:
        """Angular frequencies that so many rotations can tell apart."""
        return self.rotations // 2 + 1


@dataclass(frozen=True)
class Matches:
    """Best pose of each particle in each class, host arrays.

    ``likelihood`` (b, classes) is the log-likelihood, averaged over all poses, relative to pure noise;
    ``rotation`` (b, classes) degrees and ``step`` (b, classes, 2) px in the frame of the reference.
    """

    likelihood: FloatArray
    rotation: FloatArray
    step: FloatArray


def shift_steps(reach: float, step: float) -> FloatArray:
    """Shifts (s, 2) in (y, x) px on a grid of ``step`` px within a disc of ``reach`` px, nearest first."""
    axis = np.arange(-int(reach / step + 1e-6), int(reach / step + 1e-6) + 1) * step
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    grid = grid[(grid**2).sum(axis=1) <= reach**2 + 1e-6]
    return np.asarray(grid[np.argsort((grid**2).sum(axis=1), kind="stable")], np.float32)


class ReferenceBank:
    """All references in all shifts of a plan, weighted by the noise, ready for matrix products."""

    def __init__(
        self,
        references: Any,
        noise: Any,
        ring_weights: Any,
        *,
        grid: PolarGrid,
        plan: SearchPlan,
        spread: float,
    ) -> None:
        """``references`` (classes, rings, harmonics); ``spread`` px is the expected length of a shift."""
        xp = array_module(references)
        rings, kept = plan.rings, min(plan.harmonics, grid.harmonics)
        self.grid, self.plan, self.kept = grid, plan, kept
        self.classes = len(references)
        self.brief = plan.brief and self.classes > 2 * LIKELY
        self.tried = 1 if self.brief else len(plan.steps)
        moved = half_turn(references, grid.angles)[None, :, :rings]
        moved = moved * grid.phases(xp.asarray(-plan.steps), rings)[:, None]
        weights = xp.asarray(ring_weights)[:rings] / noise[:rings]
        scale = 2.0 * plan.rotations / grid.angles**2
        bank = harmonics(moved.reshape(-1, rings, grid.angles // 2), kept) * (scale * weights)[:, None]
        self.bank = xp.ascontiguousarray(bank.transpose(2, 1, 0)).astype(xp.complex64)
        self.energy = (ring_power(references, grid)[:, :rings] * weights).T.astype(xp.float32)
        prior = -0.5 * (plan.steps**2).sum(axis=1) / spread**2
        prior -= np.log(np.exp(prior).sum() * plan.rotations)
        self.prior = xp.asarray(prior.astype(np.float32))[:, None]

    def batch(self) -> int:
        """Particles whose scores fit the memory set aside."""
        room, most = (SCORES_GPU, MOST_GPU) if on_gpu(self.bank) else (SCORES_HOST, MOST_HOST)
        poses = self.tried * self.classes + self.brief * LIKELY * len(self.plan.steps)
        return int(max(4, min(most, room // (poses * self.plan.rotations))))

    def match(self, particles: RingedParticles, chosen: Any, shifts: Any) -> Matches:
        """Score particles ``chosen`` (b,), moved back by ``shifts`` (b, 2) px, in every class and pose."""
        xp, plan = array_module(self.bank), self.plan
        half = particles.half[chosen][:, : plan.rings] * self.grid.phases(xp.asarray(shifts), plan.rings)
        turned = xp.ascontiguousarray(harmonics(half, self.kept).transpose(2, 0, 1)).conj()
        spectrum = turned @ self.bank[:, :, : self.tried * self.classes]
        likelihood, step, rotation = self._posed(spectrum, len(half), self.tried, self.classes)
        unlike = to_numpy(particles.ctf2[chosen][:, : plan.rings] @ self.energy)
        likelihood -= unlike
        if self.brief:
            row, number = likeliest(likelihood)
            spectrum = self._of_classes(turned, row, number)
            better, step[row, number], rotation[row, number] = (
                found[0] for found in self._posed(spectrum, 1, len(plan.steps), len(row))
            )
            likelihood[row, number] = better - unlike[row, number]
        return Matches(likelihood, rotation, plan.steps[step])

    def _of_classes(self, turned: Any, row: Any, number: Any) -> Any:
        """Products (harmonics, shifts, m) of particles ``row`` (m,) with classes ``number``, ascending."""
        xp, moved = array_module(turned), turned.transpose(0, 2, 1)
        classes, first = np.unique(number, return_index=True)
        parts = zip(classes, np.split(row, first[1:]), strict=True)
        return xp.concatenate([self._by_class[k] @ moved[:, :, part] for k, part in parts], axis=2)

    @cached_property
    def _by_class(self) -> Any:
        """The bank (classes, harmonics, shifts, rings) class after class."""
        parts = self.bank.reshape(*self.bank.shape[:2], len(self.plan.steps), self.classes)
        return array_module(parts).ascontiguousarray(parts.transpose(3, 0, 2, 1))

    def _posed(self, spectrum: Any, *shape: int) -> tuple[Any, Any, Any]:
        """The best poses, on the host, of products that run over ``shape``: particles, shifts, classes."""
        scores, scale = irfft_of_columns(spectrum, self.plan.rotations)
        poses = _best_poses_on_gpu if on_gpu(scores) else _best_poses
        found = poses(scores.reshape(-1, *shape), self.prior[: shape[1]], scale)
        likelihood, step, rotation = map(to_numpy, found)
        return likelihood, step, rotation


def likeliest(likelihood: FloatArray) -> tuple[Any, Any]:
    """Row and class of the ``LIKELY`` highest in each row of ``likelihood`` (b, classes), by class."""
    likely = np.argpartition(-likelihood, LIKELY, axis=1)[:, :LIKELY].ravel()
    order = np.argsort(likely, kind="stable")
    return order // LIKELY, likely[order]


def _best_poses_on_gpu(scores: Any, prior: Any, scale: float) -> tuple[Any, Any, Any]:
    """``_best_poses`` in one kernel."""
    xp = array_module(scores)
    count, b, steps, classes = scores.shape
    likelihood, rotation = (xp.empty((b, classes), np.float32) for _ in range(2))
    step = xp.empty((b, classes), np.int32)
    sizes = (np.int32(size) for size in (count, b, steps, classes))
    cuda_kernel(xp, "class2d", "best_poses")(
        (-(-classes // CLASSES), b),
        (CLASSES, PARTS),
        (likelihood, rotation, step, scores, prior.ravel(), np.float32(scale), *sizes),
    )
    return likelihood, step, rotation


def _best_poses(scores: Any, prior: Any, scale: float) -> tuple[Any, Any, Any]:
    """Log-likelihood (b, classes) over all poses, the best one's shift and rotation in degrees.

    ``scores`` (rotations, b, shifts, classes), of which ``scale`` is the unit, are used up; ``prior``
    (shifts, 1) is added. The rotation is that of a parabola through three.
    """
    xp = array_module(scores)
    count, b, _, classes = scores.shape
    if scale != 1:
        scores *= np.float32(scale)
    scores += prior
    over_rotations = scores.max(axis=0)
    step = over_rotations.argmax(axis=1)
    rows, columns = xp.arange(b)[:, None], xp.arange(classes)[None, :]
    curve = scores[:, rows, step, columns]
    top = curve.argmax(axis=0)
    best = curve[top, rows, columns]
    before, after = curve[top - 1, rows, columns], curve[(top + 1) % count, rows, columns]
    bend = xp.minimum(before + after - 2 * best, -1e-6)
    rotation = (top + xp.clip(0.5 * (before - after) / bend, -0.5, 0.5)) * (360.0 / count)
    scores -= best[:, None]
    xp.exp(scores, out=scores)
    return best + xp.log(scores.sum(axis=(0, 2))), step, rotation


def in_particle_frame(rotation: FloatArray, step: FloatArray) -> FloatArray:
    """A shift ``step`` (..., 2) px of the reference as a shift of the particle turned by ``rotation``."""
    cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    y, x = step[..., 0], step[..., 1]
    return np.stack([cos * y - sin * x, sin * y + cos * x], axis=-1).astype(np.float32)


def temperature(likelihood: FloatArray, choices: float) -> float:
    """The temperature at which particles hesitate between ``choices`` classes on average (geometric)."""
    below_best = likelihood - likelihood.max(axis=1, keepdims=True)
    low, high = -4.0, 9.0
    for _ in range(24):
        middle = 0.5 * (low + high)
        share = np.exp(below_best / np.exp(middle))
        share /= share.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(share + 1e-30)).sum(axis=1).mean()
        low, high = (middle, high) if entropy < np.log(choices) else (low, middle)
    return float(np.exp(0.5 * (low + high)))
