"""2D classification: a round when enough new particles came, or when someone asks."""

import math
import time
from typing import Any

from nextpyp_nb.engine.task import Done, Failed, Killed, Progress, Task
from nextpyp_nb.session.session import Session
from nextpyp_nb.session.stages import classify_key
from nextpyp_nb.session.store import ClaimedRound, Pending
from nextpyp_nb.tracks.track import Live, Track

FUNCTION = "nextpyp_nb.tracks.classify_particles:classify_particles"
# Fewer particles than this make no classes worth looking at.
FEWEST = 200
FAILURES = 3
# Excluding so large a part of the classified particles begins a round, once it stayed so for some seconds.
MUCH, CALM = 0.01, 20.0


class ClassifyTrack(Track):
    """One round at a time on its own worker, so that pre-processing never waits for it."""

    name = "classify"

    def __init__(self, live: Live, engine: Any, devices: int, threads: int) -> None:
        super().__init__(live)
        self.engine = engine
        self._devices, self._threads = devices, threads
        self._round: ClaimedRound | None = None
        self._progress = ""
        self._asked = False
        self._session = Session(live.folder)
        self._passing: set[str] | None = None
        self._pending = Pending(particles=0, new=0, leaving=0, micrographs=0, last_round=None)
        self._left, self._left_since = 0, 0.0

    async def step(self) -> float:
        """Begin a round when one is due."""
        chosen = self.live.settings.class2d
        if not chosen.enable or self.live.settings.picking.radius is None:
            return 2.0
        key = classify_key(self.live.settings)
        if not self._counted(key):
            return 1.0
        if self._round is None and self._due():
            if self.live.store.failed_rounds() >= FAILURES and not self._asked:
                self.pause(f"paused: {FAILURES} rounds in a row failed; see Logs, then press Start")
                return 1.0
            await self._begin(key)
        return 2.0

    def ask(self) -> str:
        """Begin a round with whatever is there; returns what will happen, or raises ValueError."""
        if self._pending.particles < FEWEST:
            raise ValueError(f"{self._pending.particles} particles so far, a round needs {FEWEST}")
        self._asked = True
        self._wake.set()
        return f"a round over {self._pending.particles:,} particles begins"

    def final_round_due(self) -> bool:
        """Whether particles came or left since the last round, and enough for one are there."""
        chosen = self.live.settings.class2d
        if not chosen.enable or self.live.settings.picking.radius is None:
            return False
        if not self._counted(classify_key(self.live.settings)):
            return False
        changed = self._pending.new > 0 or self._pending.leaving > 0
        enough = changed and self._pending.particles >= FEWEST
        return self._round is None and enough and self.live.store.failed_rounds() < FAILURES

    def _counted(self, key: str) -> bool:
        """Count what a round could use; False, and paused, where the filter makes no sense."""
        chosen = self.live.settings.class2d
        try:
            self._passing = set(self._session.filtered(chosen.filter)["name"]) if chosen.filter else None
        except ValueError as error:
            self.pause(f"paused: {error}; correct Settings, 2D classification, Filter, then press Start")
            return False
        self._pending = self.live.store.pending_particles(
            chosen.ctf_max_resolution, key, self._passing, chosen.max_particles
        )
        if self._pending.leaving != self._left:
            self._left, self._left_since = self._pending.leaving, time.monotonic()
        return True

    def _due(self) -> bool:
        if self._asked:
            return True
        if self._pending.last_round is None:
            return self._pending.particles >= self.live.settings.class2d.first
        enough = self._pending.new >= self.live.settings.class2d.increment
        return enough or self._minutes_left() <= 0 or self._many_leave()

    def _minutes_left(self) -> float:
        """Minutes until new particles have waited long enough, however few they are."""
        interval, ended = self.live.settings.class2d.interval, self._pending.last_finished
        if not interval or not self._pending.new or ended is None:
            return math.inf
        return interval - (time.time() - ended) / 60

    def _many_leave(self) -> bool:
        """Whether so many particles were excluded that the classes should not wait for new ones."""
        stay, leave = self._pending.particles, self._pending.leaving
        if stay < FEWEST or leave < MUCH * (stay + leave):
            return False
        return time.monotonic() - self._left_since >= CALM

    async def _begin(self, key: str) -> None:
        chosen = self.live.settings.class2d
        self._asked = False
        self._round = self.live.store.begin_round(
            ctf_max_resolution=chosen.ctf_max_resolution, key=key, seed=chosen.seed,
            revision=self.live.revision, max_particles=chosen.max_particles,
            passing=self._passing,
        )  # fmt: skip
        payload = {
            "folder": str(self.live.folder),
            "number": self._round.number,
            "names": self._round.names,
            "groups": self._round.groups,
            "previous": self._round.previous,
            "last": self._round.last,
            "first_identity": self._round.first_identity,
            "settings": self.live.settings.model_dump(),
            "threads": self._threads,
            "device": 0 if self._devices else None,
        }
        await self.engine.submit(
            Task(
                id=f"round-{self._round.number}", function=FUNCTION, payload=payload,
                timeout=24 * 3600.0, epoch=self._round.epoch,
            )
        )  # fmt: skip

    def take(self, task: Task, outcome: Done | Failed | Killed | Progress) -> None:
        """Take what the engine says of our round."""
        if self._round is None or task.id != f"round-{self._round.number}":
            return
        if isinstance(outcome, Progress):
            report = outcome.report
            share = f", {100 * report['done'] // report['total']} %" if report.get("total") else ""
            self._progress = f"{report.get('stage', '')}{share}"
            return
        number, self._round, self._progress = self._round.number, None, ""
        if isinstance(outcome, Done):
            self.live.store.commit_round(number, **outcome.result)
            self.live.logs[self.name].info(f"round {number} done: {outcome.result['particles']} particles")
        else:
            trace = outcome.traceback if isinstance(outcome, Failed) else ""
            self.live.store.fail_round(number, outcome.reason)
            self.live.logs[self.name].error(f"round {number}: {outcome.reason}\n{trace or ''}".strip())
        self._wake.set()

    async def drop_all(self) -> None:
        """Cancel the round in flight; its particles count as unseen again."""
        if self._round is not None:
            number, self._round, self._progress = self._round.number, None, ""
            await self.engine.cancel(f"round-{number}")
            self.live.store.fail_round(number, "cancelled")

    def busy(self) -> bool:
        """Whether a round is being computed."""
        return self._round is not None

    def message(self) -> str:
        """Which round runs, or what the next one waits for."""
        chosen, pending = self.live.settings.class2d, self._pending
        if not chosen.enable:
            return "switched off in Settings, 2D classification"
        if self.live.settings.picking.radius is None:
            return "waiting for a particle radius, given in Settings or estimated from the first micrographs"
        if self._round is not None:
            now = self._progress or "begins"
            return f"round {self._round.number}: {self._round.particles:,} particles; {now}"
        if pending.last_round is None:
            return f"first round at {chosen.first:,} particles, {pending.particles:,} so far"
        later = (
            "" if math.isinf(self._minutes_left()) else f", or in {max(0.0, self._minutes_left()):.0f} min"
        )
        leave = f", {pending.leaving:,} excluded ones leave with it" if pending.leaving else ""
        return f"next round at {chosen.increment:,} new particles, {pending.new:,} so far{later}{leave}"
