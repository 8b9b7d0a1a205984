"""Try-outs on a runner: one micrograph with other settings, in a folder of its own."""

import asyncio
import shutil
import time
from dataclasses import replace
from typing import Any

from nextpyp_nb.engine.task import Done, Failed, Progress, Task
from nextpyp_nb.session.inbox import Command
from nextpyp_nb.session.places import Places
from nextpyp_nb.session.stages import STAGES, WORDS, first_changed, movie_keys, own_keys
from nextpyp_nb.session.tasks import input_hash
from nextpyp_nb.session.tryouts import TryOut, fail_tryout, sweep_tryouts, tryout_folder, write_record
from nextpyp_nb.tracks.engines import Workers
from nextpyp_nb.tracks.kept import MADE, share
from nextpyp_nb.tracks.preprocess import FUNCTION
from nextpyp_nb.tracks.track import Live

MOST_AT_ONCE = 8


class TryOuts:
    """Takes commands to try settings out, has a worker of the movies' engine do it, and keeps the answers."""

    def __init__(self, live: Live, workers: Workers, *, epoch: int) -> None:
        self._live, self._epoch = live, epoch
        self.use(workers)
        self._working: dict[str, TryOut] = {}
        sweep_tryouts(live.folder, ())

    def use(self, workers: Workers) -> None:
        """Have these do them from now on."""
        self._engine, self._device, self._threads = workers.engine, workers.device, workers.threads

    async def run(self) -> None:
        """Delete what expires, for the life of the runner."""
        while True:
            await asyncio.sleep(30)
            await asyncio.to_thread(sweep_tryouts, self._live.folder, list(self._working))

    async def begin(self, command: Command) -> str:
        """Queue a try-out; returns the sentence to answer with. Raises for what cannot be tried."""
        if len(self._working) >= MOST_AT_ONCE:
            raise ValueError(f"{MOST_AT_ONCE} try-outs wait already; wait until one is done")
        name, changes = command.arguments["micrograph"], command.arguments["changes"]
        if not isinstance(changes, dict):
            raise ValueError(f"got changes {changes!r}, expected settings by name")
        store = self._live.store
        revision, newest = store.latest_settings()
        settings = store.with_estimate(newest.updated(changes))
        settings.check()
        movie = store.movie(str(name))
        if movie["state"] != "done":
            raise ValueError(f"{name} is not transferred yet")
        keys = movie_keys(own_keys(settings), input_hash(movie))
        first = first_changed(store.held_keys(movie["id"]), keys)
        if first is None:
            raise ValueError(f"{name} was processed with just these settings: change one to try it")
        stages = STAGES[STAGES.index(first) :]
        found = TryOut(
            id=command.uuid, folder=tryout_folder(self._live.folder, command.uuid), micrograph=movie["name"],
            actor=command.actor, changes=changes, state="queued", revision=revision, stages=stages,
            created=time.time(), row={},
        )  # fmt: skip
        payload = {
            "folder": str(found.folder), "name": found.micrograph, "path": movie["path"],
            "settings": settings.model_dump(), "first_stage": first, "ctf_key": keys["ctf"],
            "threads": self._threads, "device": self._device,
        }  # fmt: skip
        self._working[found.id] = found
        try:
            await asyncio.to_thread(self._lay_out, found)
        except BaseException:
            del self._working[found.id]
            shutil.rmtree(found.folder, ignore_errors=True)
            raise
        timeout = settings.resources.walltime
        await self._engine.submit(
            Task(id=found.id, function=FUNCTION, payload=payload, timeout=timeout, epoch=self._epoch)
        )
        return f"{name} is tried with other settings: {', '.join(WORDS[stage] for stage in stages)}"

    def take(self, task: Task, outcome: Any) -> bool:
        """Take what the engine says of a try-out; False when the task is none."""
        found = self._working.get(task.id)
        if found is None:
            return False
        folder, store = self._live.folder, self._live.store
        if isinstance(outcome, Progress):
            self._working[task.id] = replace(found, state="running", stage=outcome.report.get("stage", ""))
            write_record(folder, self._working[task.id])
            return True
        if isinstance(outcome, Done):
            done = replace(found, state="done", stage="", finished=time.time(), row=outcome.result)
            write_record(folder, done)
            store.log("tryout_done", f"{found.actor} tried other settings", movie=found.micrograph)
        else:
            reason = outcome.reason if isinstance(outcome, Failed) else f"the worker ended: {outcome.reason}"
            fail_tryout(folder, found, reason)
            store.log("tryout_failed", f"try-out: {reason}", movie=found.micrograph, level="warning")
        del self._working[task.id]
        return True

    def dropped(self, reason: str) -> None:
        """The engine was told to drop everything: what was tried comes to nothing."""
        for found in self._working.values():
            fail_tryout(self._live.folder, found, reason)
        self._working.clear()

    def busy(self) -> bool:
        """Whether any waits or runs."""
        return bool(self._working)

    def _lay_out(self, found: TryOut) -> None:
        """A folder with the record, and the files that the stages to do take up."""
        write_record(self._live.folder, found)
        here, there = Places(self._live.folder, found.micrograph), Places(found.folder, found.micrograph)
        # Picks are taken too: a moved threshold needs no search, and marks of people stay.
        taken = (*STAGES[: STAGES.index(found.stages[0])], "picking")
        for stage, kinds in MADE.items():
            for kind in (*kinds, "manual") if stage == "picking" else kinds:
                there(kind).parent.mkdir(exist_ok=True)
                if stage in taken:
                    share(here(kind), there(kind))
