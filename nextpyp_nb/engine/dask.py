"""Work on more than one machine: agents on the workers of a Dask scheduler, each under a lease.

Each worker is asked every few seconds, and each answer extends its lease. When it was not heard of for the
length of a lease, its processes have ended, and what it worked on is given to others: a task may be begun
twice, but never be worked on by two at a time, and only one outcome is told.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from distributed import Client, Security

from nextpyp_nb.engine.machine import Attempt, Machine, Setup, first_line
from nextpyp_nb.engine.outbox import Outbox
from nextpyp_nb.engine.task import Killed, Outcome, Progress, Task, outcome_from

# So many workers may vanish under a task before it is taken to be the task's fault.
LOSSES = 4
# A worker whose job ends sooner than this, times the longest of the last tasks, takes no more.
IN_TIME, LAST = 1.5, 32


class Pool(Protocol):
    """Where the workers come from."""

    def opened(self) -> AbstractAsyncContextManager[tuple[str, Security | None]]:
        """The address of the scheduler and the keys to it, for as long as it is open."""
        ...

    def message(self) -> str:
        """What people should know of it, or nothing."""
        ...


class Existing:
    """The scheduler at an address, with the keys of Dask's own configuration."""

    def __init__(self, address: str) -> None:
        self.address = address

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[str, Security | None]]:
        """Nothing is to be opened."""
        yield self.address, None

    def message(self) -> str:
        """Nothing of its own."""
        return ""


class Dask:
    """The engine over a ``pool`` of Dask workers, for the runner of ``epoch`` of ``session``.

    Each worker has as many slots as its threads hold ``threads``, and uses ``gpus`` of its GPUs. ``share`` is
    a folder that all machines see. ``lease`` and ``beat`` are in s.
    """

    def __init__(
        self, pool: Pool, *, session: str, epoch: int, share: Path, threads: int = 1, gpus: int = 0,
        lease: float = 20.0, beat: float = 4.0,
    ) -> None:  # fmt: skip
        self._pool, self._outbox = pool, Outbox()
        share.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._setup = Setup(
            session=session, epoch=epoch, threads=threads, gpus=gpus, lease=lease, beat=beat, folder=share,
            topic=f"nextpyp_nb-{session}-{epoch}-{secrets.token_hex(4)}",
        )  # fmt: skip
        self._waiting: deque[Task] = deque()
        self._losses: dict[str, int] = {}
        self._took: deque[float] = deque([0.0], maxlen=LAST)
        self._attempts: dict[str, Attempt] = {}
        self._machines: dict[str, Machine] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._count, self._said, self._trouble = 0, "", ""
        self._loop = asyncio.new_event_loop()
        self._closing, self._feeding = asyncio.Event(), asyncio.Event()
        self._closed = False
        # Words about every connection that closes would fill the runner's log: `message` says what counts.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread = threading.Thread(target=self._run, name="dask engine", daemon=True)
        self._thread.start()

    def slots(self) -> int:
        """Twice what the workers in touch do at once, so that none waits for the next task."""
        return 2 * self._count

    def message(self) -> str:
        """What keeps workers away, or nothing."""
        return self._said

    async def submit(self, task: Task) -> None:
        """Queue a task."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        self._loop.call_soon_threadsafe(self._queue, task)

    def events(self) -> AsyncIterator[tuple[Task, Outcome]]:
        """What becomes of the tasks, until closed."""
        return self._outbox.events()

    async def cancel(self, task_id: str | None = None) -> None:
        """Drop what waits, end what runs; returns when it has ended, or cannot be running any more."""
        work = self._cancel(task_id)
        if self._closed:
            work.close()
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End everything; jobs on a cluster are cancelled, a scheduler of others' is left as it is."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._outbox.close()

    # Everything below runs in the engine's own thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        wait = 1.0
        while not self._closing.is_set():
            try:
                async with self._pool.opened() as (address, security):
                    self._trouble = f"the Dask scheduler at {address} is asked"
                    async with Client(
                        address, asynchronous=True, timeout=5, security=security, set_as_default=False,
                        name="nextpyp_nb",
                    ) as client:  # fmt: skip
                        wait = 1.0
                        await self._serve(client)
            except Exception as error:
                # Whatever keeps a scheduler away is said, and tried again; work in hand waits.
                self._trouble = f"no cluster: {first_line(error)}; it is tried again"
                self._say()
            self._count = 0
            for machine in self._machines.values():
                machine.client = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)
            wait = min(2 * wait, 30.0)
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*list(self._jobs), return_exceptions=True)

    async def _serve(self, client: Client) -> None:
        """Look for workers and keep them busy, until closed or out of touch for good."""
        client.subscribe_topic(self._setup.topic, self._progress)
        feeding = self._spawn(self._feed())
        try:
            while not self._closing.is_set() and client.status not in ("closed", "closing"):
                await self._look(client)
                self._say()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), 0.5)
            if self._closing.is_set():
                self._waiting.clear()
                await asyncio.gather(*(machine.leave() for machine in self._machines.values()))
        finally:
            feeding.cancel()

    async def _look(self, client: Client) -> None:
        """Begin with workers that are new."""
        try:
            if client.status != "running":
                raise ConnectionError("out of touch")
            listed = await asyncio.wait_for(client.nthreads(), 5)
        except (OSError, TimeoutError) as error:
            self._trouble = f"the Dask scheduler does not answer: {first_line(error)}"
            return
        self._trouble = "" if listed else "waits for workers"
        for machine in self._machines.values():
            machine.client, machine.listed = client, machine.address in listed
        for address in set(listed) - set(self._machines):
            machine = self._machines[address] = Machine(address, client, self._setup, self._feeding.set)
            self._spawn(self._tend(machine))

    async def _tend(self, machine: Machine) -> None:
        try:
            await machine.tend()
        finally:
            # Over: what it had is given to others, and if it comes back it begins anew.
            machine.over.set()
            del self._machines[machine.address]
            self._feeding.set()

    async def _feed(self) -> None:
        while True:
            self._feeding.clear()
            usable = [machine for machine in self._machines.values() if machine.usable()]
            self._count = sum(machine.slots for machine in usable)
            for machine in sorted(usable, key=lambda one: len(one.working)):
                while self._waiting and machine.free(IN_TIME * max(self._took)):
                    task = self._waiting.popleft()
                    attempt = Attempt(task, machine)
                    self._attempts[attempt.number] = attempt
                    machine.working.add(attempt.number)
                    self._spawn(self._try(attempt))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._feeding.wait(), 1.0)

    async def _try(self, attempt: Attempt) -> None:
        task, begin = attempt.task, time.monotonic()
        try:
            message = await attempt.machine.perform(attempt)
        finally:
            attempt.machine.working.discard(attempt.number)
            del self._attempts[attempt.number]
            attempt.ended.set()
            self._feeding.set()
        if attempt.cancelled or self._closing.is_set():
            self._losses.pop(task.id, None)
        elif message["kind"] != "lost":
            self._losses.pop(task.id, None)
            self._took.append(time.monotonic() - begin)
            attempt.machine.tried = True
            self._outbox.put(task, outcome_from(message))
        else:
            self._lost(task, message["content"].get("reason", f"{attempt.machine.address} is out of touch"))

    def _lost(self, task: Task, reason: str) -> None:
        """Not the task's fault, until it was lost time and again: another worker takes it next."""
        count = self._losses[task.id] = self._losses.get(task.id, 0) + 1
        if count < LOSSES:
            self._waiting.appendleft(task)
        else:
            del self._losses[task.id]
            self._outbox.put(task, Killed(reason=f"lost {count} workers in a row: {reason}"))
        self._feeding.set()

    def _queue(self, task: Task) -> None:
        self._waiting.append(task)
        self._feeding.set()

    async def _cancel(self, task_id: str | None) -> None:
        self._waiting = deque(t for t in self._waiting if task_id is not None and t.id != task_id)
        ended = [attempt for attempt in self._attempts.values() if task_id in (None, attempt.task.id)]
        for attempt in ended:
            attempt.cancelled = True
        await asyncio.gather(*(attempt.machine.cancel(attempt) for attempt in ended))

    def _progress(self, event: tuple[float, dict[str, Any]]) -> None:
        attempt = self._attempts.get(event[1]["number"])
        if attempt is not None and not attempt.cancelled:
            self._outbox.put(attempt.task, Progress(report=event[1]["report"]))

    def _say(self) -> None:
        parts = [self._trouble, self._pool.message()]
        parts += sorted({machine.message() for machine in self._machines.values()})
        self._said = "; ".join(part for part in parts if part)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job
