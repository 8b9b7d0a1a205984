"""The passes of a 2D classification: match a share of the particles, then make new references of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, fft_module, to_numpy
from nextpyp_nb.kernels.class2d_average import (
    HalfSums,
    centred,
    references_from,
    residual_noise,
    seed_references,
)
from nextpyp_nb.kernels.class2d_particles import RingedParticles
from nextpyp_nb.kernels.class2d_search import (
    Matches,
    ReferenceBank,
    SearchPlan,
    in_particle_frame,
    temperature,
)
from nextpyp_nb.kernels.polar import PolarGrid, radial_window, ring_power
from nextpyp_nb.records import FloatArray

# A class below this part of the mean size is free to be given away.
SMALL = 0.25
# Shares of the variance: of one even kind, and what 99 of 100 samples of n of it stay below, times sqrt(n).
MIXED, CHANCE = 0.75, 0.6

IntArray = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Pass:
    """One pass: its search, between how many classes particles hesitate, how many particles take part.

    ``follow`` searches the next pass around the shifts found; ``recentre`` moves references to their mass.
    """

    plan: SearchPlan
    choices: float
    share: int
    follow: bool
    recentre: bool
    name: str


class Passes:
    """References and poses as they stand between passes; ``radius`` and ``reach`` (of shifts) in px."""

    def __init__(
        self,
        particles: RingedParticles,
        *,
        references: Any,
        noise: Any,
        ring_weights: FloatArray,
        radius: float,
        reach: float,
        rng: np.random.Generator,
    ) -> None:
        xp = array_module(particles.half)
        n, grid = len(particles), particles.grid
        self.particles, self.noise, self.rng = particles, noise, rng
        self.radius, self.reach = radius, reach
        self.ring_weights = xp.asarray(ring_weights)
        self.mask = xp.asarray(grid.mask_operator(radial_window(radius, 0.05 * grid.box, grid.box)))
        self.references = references
        self.number: IntArray = np.zeros(n, np.intp)
        self.rotation, self.probability = np.zeros(n, np.float32), np.zeros(n, np.float32)
        self.shift, self.likelihood = np.zeros((n, 2), np.float32), np.zeros(n, np.float32)
        self.sums = HalfSums.empty(len(references), grid, xp)

    def seed(self, classes: IntArray, among: IntArray) -> None:
        """Give ``classes`` new references, one particle of ``among`` each."""
        if len(classes) == 0:
            return
        chosen = self.rng.choice(among, len(classes), replace=len(among) < len(classes))
        seeds = seed_references(self.particles, chosen, self.shift[chosen], self.noise, self.mask)
        self.references[classes] = seeds

    def run(self, step: Pass, advance: Callable[[int], None]) -> None:
        """Match the share of ``step`` and renew references and noise."""
        n, grid = len(self.particles), self.particles.grid
        xp = array_module(self.references)
        everyone = step.share >= n
        chosen = np.arange(n) if everyone else np.sort(self.rng.choice(n, step.share, replace=False))
        bank = ReferenceBank(
            self.references, self.noise, self.ring_weights, grid=grid, plan=step.plan, spread=0.4 * self.reach
        )
        self.sums = HalfSums.empty(len(self.references), grid, xp)
        size = bank.batch()
        heat = self._heat(bank, step, chosen)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            shift = self._assign(bank, part, heat)
            self.sums.add(self.particles, part, part % 2, self.number[part], self.rotation[part], shift)
            if step.follow:
                self.shift[part] = shift
            advance(len(part))
        self._renew(chosen, step.recentre)

    def _heat(self, bank: ReferenceBank, step: Pass, chosen: IntArray) -> float:
        """The temperature of the pass, from a sample of its particles; 0 for none."""
        if step.choices <= 1 or bank.classes < 2:
            return 0.0
        sample = chosen[:: max(1, len(chosen) // 256)]
        rows = [sample[i : i + bank.batch()] for i in range(0, len(sample), bank.batch())]
        scores = [bank.match(self.particles, part, self.shift[part]).likelihood for part in rows]
        return temperature(np.concatenate(scores), min(step.choices, 0.9 * bank.classes))

    def _assign(self, bank: ReferenceBank, part: IntArray, heat: float) -> FloatArray:
        """Choose class and pose of particles ``part``, by chance if ``heat`` is above 0; gives the shifts."""
        found = bank.match(self.particles, part, self.shift[part])
        shaken = found.likelihood
        if heat > 0:
            shaken = shaken + heat * self.rng.gumbel(size=shaken.shape)
        number = shaken.argmax(axis=1)
        self.number[part] = number
        posed = pose_in(found, number, self.shift[part], self.reach)
        self.rotation[part], shift, self.likelihood[part], self.probability[part] = posed
        return shift

    def _renew(self, chosen: IntArray, recentre: bool) -> None:
        """New references and noise from the sums of this pass; empty classes are seeded anew."""
        grid = self.particles.grid
        self.references = references_from(self.sums, grid, self.mask)
        self.noise = residual_noise(self.references, self.sums, grid)
        if recentre:
            self.references = centred(self.references, grid, self.radius, 1.0)
            lost = np.flatnonzero(self.sums.count.sum(axis=0) < 2)
            crowd = np.bincount(self.number[chosen])[self.number[chosen]]
            self.seed(lost, self.rng.choice(chosen, len(chosen), p=crowd / crowd.sum()))


def resemblance(now: Any, before: Any, ring_weights: Any, grid: PolarGrid) -> FloatArray:
    """Correlation (now, before) of references over rings, the best of all rotations; at least square."""
    xp, size = array_module(now), max(len(now), len(before))
    likeness = np.full((size, size), -1.0)
    size_now, size_before = (xp.sqrt(ring_power(r, grid) @ ring_weights + 1e-20) for r in (now, before))
    weighted = now * (ring_weights / grid.angles)[:, None]
    for k, old in enumerate(before):
        product = (old.conj() * weighted).sum(axis=1)
        over_rotations = fft_module(product).irfft(product, n=grid.angles, axis=1)
        likeness[: len(now), k] = to_numpy(over_rotations.max(axis=1) / (size_now * size_before[k]))
    return likeness


def pose_in(
    found: Matches, number: IntArray, shift: FloatArray, reach: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Rotation, shift (at most ``reach`` px), likelihood, probability in classes ``number``."""
    rows = np.arange(len(number))
    rotation = found.rotation[rows, number]
    moved = shift + in_particle_frame(rotation, found.step[rows, number])
    moved = moved * np.minimum(1, reach / np.maximum(np.hypot(*moved.T)[:, None], 1e-6))
    share = np.exp(found.likelihood - found.likelihood.max(axis=1, keepdims=True))
    probability = share[rows, number] / share.sum(axis=1)
    return rotation, np.asarray(moved, np.float32), found.likelihood[rows, number], probability


def misfits_of(number: IntArray, likelihood: FloatArray) -> IntArray:
    """The less likely of the two kinds in the most mixed class; none if likelihoods form one kind only.

    A class is cut where the variance between both sides is largest (Otsu). For one kind that is 0.64
    (normal) to 0.75 (even) of the whole variance, and more by chance where members are few.
    """
    most, misfits = 0.0, np.zeros(0, np.intp)
    for k in np.unique(number):
        members = np.flatnonzero(number == k)
        members = members[np.argsort(likelihood[members])]
        n, values = len(members), likelihood[members].astype(np.float64)
        if n < 20 or values.var() == 0:
            continue
        low = np.arange(1, n)
        total = np.cumsum(values)
        between = (total[-1] * low / n - total[:-1]) ** 2 / (low * (n - low))
        cut = int(between[4:-5].argmax()) + 4
        mixed = between[cut] / values.var() > MIXED + CHANCE / np.sqrt(n)
        if mixed and between[cut] * n > most:
            most, misfits = float(between[cut] * n), members[: cut + 1]
    return misfits
