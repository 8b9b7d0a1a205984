"""What works for a session on one Dask worker: worker slots as on one machine, under a lease.

A process that dies of a task costs that task alone, as everywhere; the Dask worker only passes on what comes
of it. The engine calls the functions of this file on the worker's event loop.
"""

import asyncio
import os
import platform
import tempfile
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from nextpyp_nb import __version__
from nextpyp_nb.engine.lease import WorkLease, now
from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.engine.task import Killed, Progress, Task

# A worker in a job of ours that no runner asked for so long ends, in s: Dask alone was seen to stay for ever.
ALONE = 120.0
# In the environment of a job of ours: when it will be ended, seconds since 1970 on the clock of its machine.
ENDS = "NEXTPYP_NB_JOB_ENDS"
LOST: dict[str, Any] = {"kind": "lost", "content": {}}
CANCELLED: dict[str, Any] = {"kind": "cancelled", "content": {}}


class Agent:
    """Runs attempts at tasks for the runner of one ``epoch``, as long as its lease holds."""

    def __init__(self, worker: Worker, epoch: int, slots: int, threads: int, gpus: int, topic: str) -> None:
        self.epoch, self.term = epoch, ""
        self._worker, self._topic = worker, topic
        self._folder = tempfile.TemporaryDirectory(prefix="nextpyp-agent-")
        self.lease = WorkLease(Path(self._folder.name) / "lease", make=True)
        self._slots = Slots(slots, threads=threads, gpus=gpus, lease=self.lease.path)
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        # Dask asks again when an answer is lost on its way: it is told again, not worked for again. And what
        # was cancelled may come later than the word that cancels it.
        self._told: deque[tuple[str, dict[str, Any]]] = deque(maxlen=16 + 2 * slots)
        self._listening = asyncio.create_task(self._listen())

    async def begin(self, term: str) -> None:
        """Drop what an earlier ``term`` of contact left behind: it was given to others."""
        if term != self.term:
            self.term = term
            await self.cancel(None)

    async def perform(self, term: str, number: str, task: dict[str, Any]) -> dict[str, Any]:
        """What became of an attempt: kind and content of its outcome, or lost, or cancelled."""
        if term != self.term or not self.lease.holds():
            return LOST
        if number in (told := dict(self._told)):
            return told[number]
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._slots.submit(Task(**task | {"id": number}))
        try:
            return await answer
        finally:
            del self._answers[number]

    async def cancel(self, number: str | None) -> None:
        """End an attempt (all of them), also one that has not come yet."""
        if number is not None:
            self._told.append((number, CANCELLED))
        await self._slots.cancel(number)
        for known, answer in self._answers.items():
            if number in (None, known) and not answer.done():
                answer.set_result(CANCELLED)

    async def close(self) -> None:
        """End everything; no process is left."""
        await self.cancel(None)
        await asyncio.to_thread(self._slots.close)
        await self._listening
        self._folder.cleanup()

    async def _listen(self) -> None:
        async for task, outcome in self._slots.events():
            if isinstance(outcome, Progress):
                self._worker.log_event(self._topic, {"number": task.id, "report": outcome.report})
                continue
            answer = self._answers.get(task.id)
            if answer is None or answer.done():
                continue
            if isinstance(outcome, Killed) and not self.lease.holds():
                answer.set_result(LOST)
            else:
                kind = type(outcome).__name__.lower()
                answer.set_result({"kind": kind, "content": asdict(outcome)})
                self._told.append((task.id, answer.result()))


def versions() -> dict[str, str]:
    """What must be alike on the runner's machine and here."""
    return {"nextpyp_nb": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}


def agents(worker: Worker) -> dict[str, Agent]:
    """The agents on a Dask worker by session."""
    found: dict[str, Agent] = worker.extensions.setdefault("nextpyp_nb", {})
    return found


async def join(
    dask_worker: Worker, *, session: str, epoch: int, term: str, threads: int, gpus: int, topic: str,
    share: str,
) -> dict[str, Any]:  # fmt: skip
    """Have an agent ready for this runner and end those of earlier ones; what there is to know of the place.

    ``share`` is a file that the runner wrote; its content is given back, or why it cannot be read.
    """
    known = agents(dask_worker)
    held = known.get(session)
    if held is not None and held.epoch > epoch:
        return {"newer": held.epoch}
    if held is not None and held.epoch < epoch:
        del known[session]
        await held.close()
    slots = max(1, dask_worker.state.nthreads // threads)
    if session not in known:
        known[session] = Agent(dask_worker, epoch, slots, threads, gpus, topic)
    await known[session].begin(term)
    try:
        word = await asyncio.to_thread(Path(share).read_text)
    except OSError as error:
        word = str(error)
    ends = os.environ.get(ENDS)
    left = None if ends is None else float(ends) - time.time()
    return {"now": now(), "slots": slots, "word": word, "left": left, "versions": versions()}


async def beat(dask_worker: Worker, *, session: str, term: str, until: float) -> float | None:
    """Extend the lease to ``until``; the time here, or None when the agent is gone or of another term."""
    agent = agents(dask_worker).get(session)
    if agent is None or agent.term != term:
        return None
    agent.lease.extend(until)
    return now()


async def work(*, session: str, term: str, number: str, task: dict[str, Any]) -> dict[str, Any]:
    """One attempt at a task; this is what Dask sees as a task."""
    agent = agents(get_worker()).get(session)
    return LOST if agent is None else await agent.perform(term, number, task)


async def cancel(dask_worker: Worker, *, session: str, number: str) -> None:
    """End an attempt; returns when its process is gone."""
    agent = agents(dask_worker).get(session)
    if agent is not None:
        await agent.cancel(number)


async def leave(dask_worker: Worker, *, session: str, epoch: int) -> None:
    """The runner ends: so does its agent."""
    agent = agents(dask_worker).get(session)
    if agent is not None and agent.epoch == epoch:
        del agents(dask_worker)[session]
        await agent.close()


def dask_setup(worker: Worker) -> None:
    """What Dask calls when a job of ours loads this file: end the process when no runner needs it."""
    started = now()

    def watch() -> None:
        while now() < max([started, *(agent.lease.until for agent in list(agents(worker).values()))]) + ALONE:
            time.sleep(min(5.0, ALONE))
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
