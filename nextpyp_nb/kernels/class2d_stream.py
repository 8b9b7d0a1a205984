"""Streaming 2D classification: particles come in batches, classes are there at any time.

    engine = Classification(read, box=96, pixel_size=2.6, diameter=180, classes=50, seed=1)
    engine.add("mic_0001", ids, groups)      # at any time; a batch that is there already adds nothing
    step = engine.update()                   # new particles searched, older ones looked at again
    found = engine.result()                  # averages, classes, assignments
    saved = engine.to_arrays()               # everything; write it whole, then only replace the old file
    engine = Classification.from_arrays(saved, read)

Particles stay where they are: ``read(ids)`` gives their images and CTFs when a block of them is due, and a
bounded number is kept. Sums over classes live on: a particle seen again has its old share taken out before
the new one goes in, so each counts once, and an update costs three looks at each new particle and one at
``REPLAY`` older ones, however long the session. While data are scarce the classes are found anew (annealed)
each time they doubled, and new particles are looked at five times. The state holds the names of all batches
and depends on nothing but the record of calls and the seed. If ``read`` raises in the middle, drop the
engine and go on from the state saved last.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize

from nextpyp_nb.kernels.backend import array_module, to_device, to_numpy
from nextpyp_nb.kernels.class2d_average import (
    HalfSums,
    centred,
    on_flat_ground,
    references_from,
    residual_noise,
    seed_references,
)
from nextpyp_nb.kernels.class2d_blocks import Blocks, Read, noise_of, together, whitened
from nextpyp_nb.kernels.class2d_particles import RingedParticles, ring_images
from nextpyp_nb.kernels.class2d_passes import SMALL, Passes, misfits_of, pose_in, resemblance
from nextpyp_nb.kernels.class2d_plan import cooling, ring_weights_of, search_plans
from nextpyp_nb.kernels.class2d_quality import judge
from nextpyp_nb.kernels.class2d_saved import put_back, saved_arrays, saved_setup
from nextpyp_nb.kernels.class2d_search import ReferenceBank
from nextpyp_nb.kernels.class2d_setup import (
    Class2dResult,
    Class2dSetup,
    Class2dUpdate,
    Counted,
    Progress,
)
from nextpyp_nb.kernels.class2d_table import NO_CLASS, SETTLED, ParticleTable
from nextpyp_nb.kernels.polar import half_turn, harmonics, radial_window
from nextpyp_nb.records import ClassAverage, FloatArray

ANNEALING, CHOICES = 80, 6.0
BLOCK = 128
RENEW, PER_CLASS, REPLAY = 1000, 30, 4096
STAY, FAMILIAR = 1.0, 0.6
PARK_BELOW, PARKED_TURN = 0.1, 4
TOGETHER_GPU = 8


class Classification:
    """The engine; see the head of this file for its use."""

    def __init__(self, read: Read, *, device: int | None = None, **setup: Any) -> None:
        self.setup = Class2dSetup(**setup)
        s, self.grid, self.radius, self.reach = (
            self.setup,
            self.setup.grid,
            self.setup.radius,
            self.setup.reach,
        )
        window = min(self.radius + 0.5 * self.reach, 0.48 * s.box)
        self.blocks = Blocks(read, grid=self.grid, pixel_size=s.pixel_size, radius=window, device=device)
        self.together = 1 if device is None else TOGETHER_GPU
        self.xp = array_module(to_device(np.zeros(0), device))
        window = radial_window(self.radius, 0.05 * s.box, s.box)
        self.mask = self.xp.asarray(self.grid.mask_operator(window))
        extent = s.box * s.pixel_size
        self.ring_weights = self.xp.asarray(ring_weights_of(self.grid, extent, s.min_resolution))
        self.table = ParticleTable()
        self.sums = HalfSums.empty(0, self.grid, self.xp)
        self.references: Any = self.xp.zeros((0, self.grid.rings, self.grid.harmonics), self.xp.complex64)
        self.noise: Any = self.xp.ones(self.grid.rings, self.xp.float32)
        self.group_noise: dict[int, Any] = {}
        self.identity, self.parked = np.zeros(0, np.int64), np.zeros(0, bool)
        self.updates = self.annealed_at = self.next_identity = 0

    def add(self, batch: str, ids: Any, groups: Any = None) -> bool:
        """Take in the particles ``ids`` (n,) of ``batch``, of optics ``groups``; False if it is known."""
        return self.table.add(batch, ids, groups)

    def expect(self, averages: FloatArray, identity: Any) -> None:
        """Before the first update: classes that resemble ``averages`` (K, box, box) will bear their names."""
        images = ring_images(self.xp.asarray(averages, self.xp.float32), self.grid)
        self.references, self.identity = harmonics(images), np.array(identity, np.int64)
        self.next_identity = max(self.next_identity, 1 + int(self.identity.max(initial=-1)))

    def remove(self, ids: Any) -> int:
        """Take particles out as if they had never counted (they are read once more); gives how many."""
        rows = self.table.rows
        gone = np.isin(rows["id"], np.asarray(ids, np.int64))
        read, sign = gone, -1.0
        if 2 * gone.sum() > len(rows):
            # Those who stay are fewer: they are summed anew.
            read, sign = ~gone, 1.0
            self.sums = HalfSums.empty(len(self.references), self.grid, self.xp)
        for block in np.unique(rows["block"][read]):
            at = self.table.members(block)
            part = np.flatnonzero(read[at] & rows["counted"][at])
            if len(part):
                self._sum(self._particles(block, at), at[part], part, sign)
        for block in np.unique(rows["block"][gone]):
            self.blocks.forget(int(block))
        self.table.drop(np.flatnonzero(gone))
        return int(gone.sum())

    def update(self, progress: Progress | None = None, *, replay: int = REPLAY) -> Class2dUpdate:
        """Search the new particles until they are settled, and look again at ``replay`` older ones."""
        self.updates += 1
        rng = np.random.default_rng([self.setup.seed, self.updates])
        rows = self.table.rows
        new = int((rows["block"] == NO_CLASS).sum())
        self.table.cut_blocks(BLOCK)
        self._learn_noise()
        before, known = rows["number"].copy(), rows["visits"] > 0
        annealed = self._anneal_due()
        # Where classes stand already, every second look at a new particle is enough.
        pace = 1 if annealed else 2
        looks = (SETTLED - 1) // pace * new
        budget, expected = looks + replay, looks + min(replay, len(rows) - new)
        tell = Counted(progress, len(rows) if annealed else new, expected)
        if annealed:
            self._anneal(rng, tell)
        window = self.blocks.fitting
        while len(self.references) and (due := self.table.due(self.updates, self._share(), budget, window)):
            level, blocks = due
            count = self._sweep(level, blocks, rng, tell, pace)
            budget -= count if level else 0
        again = known & (rows["visited"] == self.updates)
        self._park()
        churn = float((rows["number"] != before)[again].mean()) if again.any() else 0.0
        settled = bool((rows["visits"] >= SETTLED).all())
        return Class2dUpdate(self.updates, new, int(again.sum()), annealed, churn, settled)

    def _particles(self, block: int, at: Any) -> RingedParticles:
        """Block ``block``, rows ``at``, in units of the first group's noise."""
        found = self.blocks.get(int(block), self.table.rows["id"][at])
        groups = self.table.rows["group"][at]
        if len(self.group_noise) < 2:
            return found
        first = next(iter(self.group_noise.values()))
        ratio = self.xp.stack([first / self.group_noise[int(g)] for g in groups])
        return whitened(found, ratio)

    def _learn_noise(self) -> None:
        """The noise of optics groups that are new, outside their first particles."""
        rows = self.table.rows
        for group in dict.fromkeys(rows["group"].tolist()):
            if group in self.group_noise:
                continue
            seen = []
            for block in np.unique(rows["block"][rows["group"] == group])[:4]:
                at = self.table.members(block)
                noise = self.blocks.get(int(block), rows["id"][at]).noise
                seen.append(noise[self.xp.asarray(rows["group"][at] == group)])
            self.group_noise[group] = noise_of(seen, list(self.group_noise.values()))

    def _share(self) -> int:
        return max(RENEW, PER_CLASS * self.setup.classes)

    def _anneal_due(self) -> bool:
        n, last = len(self.table), self.annealed_at
        return n >= self.setup.per_class and (last == 0 or (last < self._share() and n >= 2 * last))

    def _anneal(self, rng: np.random.Generator, tell: Counted) -> None:
        """Find classes anew from a bounded draw; those that resemble old ones take their place."""
        rows, old = self.table.rows, self.references
        classes = max(len(old), min(self.setup.classes, len(rows) // self.setup.per_class))
        at, parts = [], []
        for block in rng.permutation(np.unique(rows["block"])):
            at.append(self.table.members(block))
            parts.append(self._particles(block, at[-1]))
            if sum(map(len, at)) >= 2 * self._share():
                break
        pool, drawn = together(parts), np.concatenate(at)
        references = self.xp.zeros((classes, *old.shape[1:]), self.xp.complex64)
        work = Passes(
            pool, references=references, noise=pool.noise.mean(axis=0), ring_weights=self.ring_weights,
            radius=self.radius, reach=self.reach, rng=rng,
        )  # fmt: skip
        everyone = np.arange(len(pool))
        work.seed(everyone[:classes], everyone)
        hot = search_plans(self.grid, self.setup.pixel_size, self.reach)[0]
        for step in cooling(hot, ANNEALING, CHOICES, min(len(pool), self._share())):
            work.run(step, lambda _: None)
            tell(len(rows) / ANNEALING, step.name)
        self._take_over(work.references, old)
        self.noise, self.annealed_at = work.noise, len(rows)
        self.sums = HalfSums.empty(classes, self.grid, self.xp)
        rows["number"], rows["shift"], rows["visits"], rows["counted"] = NO_CLASS, 0.0, 0, False
        rows["shift"][drawn] = work.shift

    def _take_over(self, found: Any, old: Any) -> None:
        """New references, each in the place of the old one that it resembles."""
        likeness = resemblance(found, old, self.ring_weights, self.grid)
        place, order = scipy.optimize.linear_sum_assignment(-likeness.T)
        self.references = found[order]
        familiar = likeness[order, place] > FAMILIAR
        names = np.full(len(found), NO_CLASS, np.int64)
        names[: len(old)] = self.identity
        self.identity, self.parked = names, np.zeros(len(found), bool)
        for k in np.flatnonzero(~familiar):
            self._rename(k)

    def _rename(self, place: Any) -> None:
        self.identity[place], self.next_identity = self.next_identity, self.next_identity + 1

    def _sweep(self, level: int, blocks: Any, rng: np.random.Generator, tell: Counted, pace: int) -> int:
        """Look at ``blocks`` for the ``level``-th time, which counts for ``pace``, and renew references."""
        rows = self.table.rows
        plan = search_plans(self.grid, self.setup.pixel_size, self.reach)[(1, 2, 2, 3, 3, 3)[level]]
        active = np.arange(len(self.references))
        if level == SETTLED and self.updates % PARKED_TURN and not self.parked.all():
            active = active[~self.parked]
        bank = ReferenceBank(
            self.references[active], self.noise, self.ring_weights,
            grid=self.grid, plan=plan, spread=0.4 * self.reach,
        )  # fmt: skip
        seen = []
        for start in range(0, len(blocks), self.together):
            some = blocks[start : start + self.together]
            places = [self.table.members(block) for block in some]
            parts = [self._particles(block, at) for block, at in zip(some, places, strict=True)]
            at = np.concatenate(places)
            self._place(bank, active, together(parts), at)
            rows["visits"][at] += pace
            rows["visited"][at] = self.updates
            seen.append(at)
            tell(len(at), "sorting new particles" if level == 0 else "refining")
        if level < 2:
            self._split(np.concatenate(seen))
        self._renew(level, np.concatenate(seen), rng)
        return sum(map(len, seen))

    def _place(self, bank: ReferenceBank, active: Any, particles: RingedParticles, at: Any) -> None:
        """Class and pose of rows ``at``: the old share out of the sums, the new one in."""
        rows = self.table.rows
        looked = np.flatnonzero(np.isin(rows["number"][at], [NO_CLASS, *active]))
        for part in np.array_split(looked, -(-len(looked) // bank.batch())) if len(looked) else ():
            here = at[part]
            found = bank.match(particles, part, rows["shift"][here])
            score = found.likelihood.copy()
            settled = rows["visits"][here] >= 3
            score[np.flatnonzero(settled), np.searchsorted(active, rows["number"][here][settled])] += STAY
            number = score.argmax(axis=1)
            self._sum(particles, here, part, -1.0, counted_only=True)
            posed = pose_in(found, number, rows["shift"][here], self.reach)
            for name, value in zip(("rotation", "shift", "likelihood", "probability"), posed, strict=True):
                rows[name][here] = value
            rows["number"][here], rows["counted"][here] = active[number], True
            self._sum(particles, here, part, 1.0)

    def _sum(
        self, particles: RingedParticles, at: Any, part: Any, sign: float, counted_only: bool = False
    ) -> None:
        """Add or take away places ``part`` of a block, whose rows are ``at``, as they are posed now."""
        rows = self.table.rows
        if counted_only:
            kept = rows["counted"][at]
            at, part = at[kept], part[kept]
        self.sums.add(particles, part, rows["half"][at], *self.table.pose(at), sign=sign)

    def _split(self, seen: Any) -> None:
        """Give the misfits of mixed classes among rows ``seen`` to classes that are hardly used.

        Kinds of junk are not told apart: parked classes stay as they are.
        """
        seen = seen[~self.parked[self.table.rows["number"][seen]]]
        rows, count = self.table.rows, self.sums.count.sum(axis=0)
        small = np.argsort(count, kind="stable")[: max(1, len(count) // 8)]
        for k in small[count[small] < SMALL * count.mean()]:
            misfits = seen[misfits_of(rows["number"][seen].astype(np.intp), rows["likelihood"][seen])]
            misfits = misfits[rows["counted"][misfits]]
            if len(misfits) == 0:
                break
            # Few strong particles would outweigh the misfits: the class starts from these alone.
            rows["counted"][rows["number"] == k] = False
            self.sums.clear(int(k))
            self._rename(k)
            places, parts = [], []
            for block in np.unique(rows["block"][misfits]):
                at = self.table.members(block)
                part = np.flatnonzero(np.isin(at, misfits))
                places.append(at[part])
                parts.append(self._particles(block, at).taken(part))
            at, particles = np.concatenate(places), together(parts)
            self._sum(particles, at, np.arange(len(at)), -1.0)
            rows["number"][at] = k
            self._sum(particles, at, np.arange(len(at)), 1.0)

    def _renew(self, level: int, seen: Any, rng: np.random.Generator) -> None:
        """References and noise from the sums; early on, centred, and with new seeds for lost classes."""
        self.references = references_from(self.sums, self.grid, self.mask)
        self.noise = residual_noise(self.references, self.sums, self.grid)
        if level not in (1, 2):
            return
        self.references = centred(self.references, self.grid, self.radius, 1.0)
        lost = np.flatnonzero(self.sums.count.sum(axis=0) < 2)
        rows = self.table.rows
        for k, chosen in zip(lost, rng.choice(seen, len(lost)), strict=True):
            at = self.table.members(rows["block"][chosen])
            particles, part = self._particles(rows["block"][chosen], at), np.flatnonzero(at == chosen)
            shift = rows["shift"][[chosen]]
            self.references[k] = seed_references(particles, part, shift, self.noise, self.mask)[0]
            self._rename(k)

    def _park(self) -> None:
        """Classes of junk are left alone for most updates once their particles are settled."""
        if len(self.references):
            scores = np.array([c.score for c in self._judged()])
            self.parked = (scores < PARK_BELOW) & (self.sums.count.sum(axis=0) > 0)

    def _averages(self) -> FloatArray:
        images = self.grid.image(half_turn(self.references, self.grid.angles))
        return on_flat_ground(to_numpy(images), self.radius)

    def _judged(self) -> tuple[ClassAverage, ...]:
        size = self.setup.pixel_size
        return judge(self.sums, self._averages(), grid=self.grid, pixel_size=size, radius=self.radius)

    def result(self) -> Class2dResult:
        """Averages, figures and assignments as they stand."""
        rows = self.table.rows
        return Class2dResult(
            self._averages(), self._judged(), self.identity.copy(), rows["id"].copy(), rows["number"] + 1,
            rows["rotation"].copy(), rows["shift"].copy(), rows["probability"].copy(),
        )  # fmt: skip

    def to_arrays(self) -> dict[str, Any]:
        """All that ``from_arrays`` needs, as named arrays for ``numpy.savez``."""
        return saved_arrays(self)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], read: Read, *, device: int | None = None
    ) -> "Classification":
        """The engine as it was saved; ValueError if ``arrays`` are not of one."""
        engine = cls(read, device=device, **saved_setup(arrays))
        put_back(engine, arrays)
        return engine
