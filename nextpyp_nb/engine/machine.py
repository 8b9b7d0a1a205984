"""One Dask worker as the engine sees it: what it works on, and whether it is in touch."""

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

from nextpyp_nb.engine import agent
from nextpyp_nb.engine.task import Task

# After the end of a lease: processes look at it twice a second.
MARGIN = 1.0
# Before a worker that cannot be used is looked at once more.
AGAIN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all workers of an engine are told; times in s."""

    session: str
    epoch: int
    threads: int
    gpus: int
    lease: float
    beat: float
    folder: Path
    topic: str


@dataclass(slots=True, eq=False)
class Attempt:
    """A task on a machine; other attempts at the task have other numbers."""

    task: Task
    machine: "Machine"
    number: str = field(default_factory=lambda: secrets.token_hex(8))
    cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Machine:
    """Joined once, then beaten until it has been out of touch for a lease; then it is over."""

    def __init__(self, address: str, client: Client, setup: Setup, changed: Callable[[], None]) -> None:
        self.address, self.listed, self.slots, self._problem = address, True, 0, ""
        self.client: Client | None = client
        self.working: set[str] = set()
        # Whether it has finished something; when its job will be ended.
        self.tried, self._ends = False, math.inf
        self.over = asyncio.Event()
        self._setup, self._changed = setup, changed
        self._term = secrets.token_hex(8)
        # A worker that reads this word sees our folder.
        self._word = secrets.token_hex(8)
        self._share = setup.folder / f"word-{self._term}"
        self._heard, self._ready = -float("inf"), False

    def usable(self) -> bool:
        """Whether it may be given work: joined, listed, and heard of lately."""
        return self._ready and self.listed and self._silence() < 2 * self._setup.beat

    def message(self) -> str:
        """What is wrong with it, or nothing."""
        if self._ready and not self.usable():
            return f"{self.address} was not heard of for {self._silence():.0f} s"
        return self._problem

    def free(self, takes: float) -> bool:
        """Whether a slot is free, and will be there for the seconds that a task ``takes``.

        The first task is taken while there is any time: one as long as a job would find none else.
        """
        in_time = time.monotonic() + (takes if self.tried else 0.0) < self._ends
        return in_time and len(self.working) < self.slots

    async def tend(self) -> None:
        """Join it and stay in touch; returns when it is over, or after a while when it is of no use."""
        try:
            self._share.write_text(self._word)
            facts = await self._ask(agent.join, self._joining(), 30.0)
        except Exception as error:
            self._problem = f"{self.address} cannot be used: {first_line(error)}"
            await asyncio.sleep(AGAIN)
            return
        finally:
            self._share.unlink(missing_ok=True)
        if wrong := self._wrong(facts):
            self._problem = f"{self.address} cannot be used: {wrong}"
            await asyncio.sleep(AGAIN)
            return
        self.slots, self._heard, told = facts["slots"], time.monotonic(), facts["now"]
        if facts["left"] is not None:
            self._ends = self._heard + facts["left"]
        while time.monotonic() < self._heard + self._setup.lease + MARGIN:
            try:
                known = await self._ask(
                    agent.beat,
                    {"session": self._setup.session, "term": self._term, "until": told + self._setup.lease},
                )
            except Exception:
                # What it says counts, not why it says nothing.
                await asyncio.sleep(0.5)
                continue
            if known is None:
                # The worker was started anew at the same address; its processes died with it.
                return
            self._heard, told = time.monotonic(), known
            if not self._ready:
                self._ready = True
                # The lease stands: the next beat is due in its time, work may begin now.
                self._changed()
            await asyncio.sleep(self._setup.beat)

    async def perform(self, attempt: Attempt) -> dict[str, Any]:
        """Kind and content of what became of it; "lost" once it can run here no more."""
        client = self.client
        if client is None:
            await self.over.wait()
            return agent.LOST
        future = client.submit(
            agent.work, session=self._setup.session, term=self._term, number=attempt.number,
            task=asdict(attempt.task), key=f"{attempt.task.id}-{attempt.number}", workers=[self.address],
            allow_other_workers=False, retries=0, pure=False,
        )  # fmt: skip
        answer: asyncio.Future[dict[str, Any]] = asyncio.ensure_future(future.result())
        over = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait((answer, over), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                return agent.LOST
            if answer.cancelled() or (error := answer.exception()):
                # Dask gave it up; whether it still runs there, only the worker knows.
                await self.cancel(attempt)
                why = "cancelled by Dask" if answer.cancelled() else first_line(error)
                return {"kind": "lost", "content": {"reason": f"{self.address}: {why}"}}
            return answer.result()
        finally:
            for waiting in (answer, over):
                waiting.cancel()
            future.release()

    async def cancel(self, attempt: Attempt) -> None:
        """Returns when the attempt has ended, here or with the machine."""
        while not (self.over.is_set() or attempt.ended.is_set()):
            try:
                await self._ask(agent.cancel, {"session": self._setup.session, "number": attempt.number}, 5.0)
            except Exception:
                # Out of touch: it ends with the lease, unless contact comes back before.
                await asyncio.sleep(0.5)
            else:
                return

    async def leave(self) -> None:
        """End the agent; one out of touch ends by its lease."""
        if not self.usable():
            return
        with contextlib.suppress(Exception):
            await self._ask(agent.leave, {"session": self._setup.session, "epoch": self._setup.epoch}, 5.0)

    def _joining(self) -> dict[str, Any]:
        setup = self._setup
        return {
            "session": setup.session, "epoch": setup.epoch, "term": self._term, "threads": setup.threads,
            "gpus": setup.gpus, "topic": setup.topic, "share": str(self._share),
        }  # fmt: skip

    def _wrong(self, facts: dict[str, Any]) -> str:
        """Why the worker must not be used, or nothing."""
        if "newer" in facts:
            return "a newer runner has this session"
        for name, version in agent.versions().items():
            if facts["versions"][name] != version:
                return f"it has {name} {facts['versions'][name]}, here is {version}"
        if facts["word"] != self._word:
            return f"it does not see {self._setup.folder}: {facts['word']}"
        return ""

    def _silence(self) -> float:
        return time.monotonic() - self._heard

    async def _ask(self, function: Any, told: dict[str, Any], patience: float = 0.0) -> Any:
        if self.client is None:
            raise ConnectionError("no scheduler")
        run = self.client.run(function, workers=[self.address], **told)
        answers = await asyncio.wait_for(run, max(2 * self._setup.beat, patience))
        if self.address not in answers:
            raise ConnectionError("no answer")
        return answers[self.address]


def first_line(error: BaseException | None) -> str:
    """The first line of what an error says, or else its name."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
