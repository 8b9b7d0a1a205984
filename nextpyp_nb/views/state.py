"""The observable snapshot every panel draws: read in a thread when something changed, drawn in place."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from nextpyp_nb.session.gain_check import gain_alert
from nextpyp_nb.session.groups import may
from nextpyp_nb.session.particle_size import SizeEstimate
from nextpyp_nb.session.traffic import Traffic
from nextpyp_nb.settings import Settings
from nextpyp_nb.views.pieces import Banner
from nextpyp_nb.views.selection import Selection
from nextpyp_nb.views.widgets.presence import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known of a session at one moment."""

    status: Any
    settings: Settings
    revision: int
    micrographs: pd.DataFrame
    failed: pd.DataFrame
    classes: pd.DataFrame
    rounds: pd.DataFrame
    exports: pd.DataFrame
    events: list[Any]
    traffic: Traffic
    gain_alert: dict[str, Any] | None = None
    alarms: pd.DataFrame
    filters: dict[str, str] = field(default_factory=dict)
    writer: bool = True
    size_estimate: SizeEstimate | None = None

    @property
    def radius(self) -> float | None:
        """The particle radius that is worked with, Å: given, or estimated."""
        return self.size_estimate.radius if self.size_estimate else self.settings.picking.radius

    @property
    def particles(self) -> int:
        """Particles picked so far."""
        return int(self.micrographs["particles"].fillna(0).sum()) if len(self.micrographs) else 0


def read_snapshot(session: Any) -> Snapshot:
    """Read all that the panels draw."""
    settings, micrographs = session.settings, session.micrographs
    return Snapshot(
        status=session.status(),
        settings=settings,
        revision=session.revision,
        micrographs=micrographs,
        failed=session.failed(),
        classes=session.classes,
        rounds=session.rounds,
        exports=session.exports,
        events=session.events(limit=200),
        traffic=session.traffic(),
        gain_alert=gain_alert(session.folder, settings),
        filters=session.filters,
        alarms=session.alarms.reindex(micrographs.index, fill_value=False),
        writer=may(session.role(), "exclude"),
        size_estimate=session.size_estimate,
    )


class LiveState:
    """Polls ``version``, reads when it differs, and calls who subscribed; stands still when nobody looks.

    Without a running event loop (plain Python, tests) nothing polls: call `refresh`.
    """

    def __init__(
        self,
        read: Callable[[], Any],
        version: Callable[[], Any],
        *,
        banner: Banner | None = None,
        presence: Presence | None = None,
        period: float = 0.1,
    ) -> None:
        self.read, self.version, self.period = read, version, period
        self.banner = banner or Banner()
        self.presence = presence or Presence()
        self.snapshot: Any = None
        # What the pages share: what is selected, and how to show one micrograph.
        self.selection = Selection()
        self.open_micrograph: Callable[[str], Any] = lambda name: None
        self.show_class: Callable[..., Any] = lambda entry, name=None: None
        self.answer: Any = None
        self._seen: Any = object()
        self._poll_error: Exception | None = None
        # CPU-seconds of the last reading: what others took from it meanwhile is no reason to wait.
        self._read_cost = 0.0
        self._drawers: list[Callable[[Any], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()
        self._turns: Sequence[Callable[[], Any]] = ()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._jobs: set[Any] = set()

    def subscribe(self, draw: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``draw`` with each new snapshot, at once when there is one; returns how to stop."""
        self._drawers.append(draw)
        if self.snapshot is not None:
            self._draw(draw)
        return lambda: self._drawers.remove(draw) if draw in self._drawers else None

    def start(self) -> None:
        """Read once, then follow on the event loop where there is one."""
        if self._task is not None:
            return
        self.refresh()
        if self._loop is not None:
            self._task = self._loop.create_task(self._follow())

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let ``work`` go on beside the page until it is closed; without an event loop it is not done."""
        if self._loop is not None:
            task = self._loop.create_task(work())
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    def in_turns(self, steps: Sequence[Callable[[], Any]]) -> None:
        """Do long work step by step, so that nobody waits for all of it; without an event loop at once.

        What is left of the steps before, of the same kind of work, is not done any more.
        """
        if self._loop is None or not self._loop.is_running():
            for step in steps:
                step()
            return
        self._turns = steps
        self.beside(lambda: self._take_turns(steps))

    async def _take_turns(self, steps: Sequence[Callable[[], Any]]) -> None:
        for step in steps:
            if steps is not self._turns:
                return
            step()
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop following."""
        for task in self._beside:
            task.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def refresh(self) -> bool:
        """Read if something changed, and draw; says whether it did."""
        try:
            version = self.version()
            changed = version != self._seen
            if changed:
                self.snapshot, self._seen = self.read(), version
        except Exception as error:
            self._poll_failed(error)
            return False
        self._poll_worked()
        if changed:
            self.draw()
        return changed

    def draw(self) -> None:
        """Let everybody draw the snapshot again; times go on even when nothing else does."""
        if self.snapshot is not None:
            for drawer in tuple(self._drawers):
                self._draw(drawer)

    def do(
        self,
        command: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        *,
        doing: str = "",
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Run ``command`` beside the page, wait for the runner's answer to it, and show what it says.

        ``then`` gets the answer to one that was carried out; ``failed`` is called for any other.
        """
        if self._loop is None or not self._loop.is_running():
            try:
                self._finish(_answered(command), then, doing, failed)
            except Exception as error:
                self._fail(error, doing, failed)
            return
        job = asyncio.run_coroutine_threadsafe(self._do(command, then, doing, failed), self._loop)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _do(self, command: Callable[[], Any], then: Any, doing: str, failed: Any) -> None:
        try:
            answer = await asyncio.to_thread(_answered, command)
            self._finish(answer, then, doing, failed)
        except Exception as error:
            self._fail(error, doing, failed)

    def _fail(self, error: Exception, doing: str, failed: Any) -> None:
        self.banner.show(error, doing)
        if failed is not None:
            failed()

    def fetch(self, read: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Read something beside the page, and draw it; errors appear on the page."""
        if self._loop is None or not self._loop.is_running():
            try:
                then(read())
            except Exception as error:
                self.banner.show(error)
            return
        job = asyncio.run_coroutine_threadsafe(self._fetch(read, then), self._loop)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _fetch(self, read: Callable[[], Any], then: Callable[[Any], None]) -> None:
        try:
            then(await asyncio.to_thread(read))
        except Exception as error:
            self.banner.show(error)

    def _finish(self, answer: Any, then: Any, doing: str, failed: Any) -> None:
        self.answer = answer
        if getattr(answer, "ok", True) is False:
            self.banner.refuse(f"{doing}: {answer.message}" if doing else answer.message)
            if failed is not None:
                failed()
        elif then is not None:
            then(answer)
        self.refresh()

    async def _follow(self) -> None:
        drawn = datetime.now(UTC)
        while True:
            pause = self.period
            if self.presence.present:
                changed = await self._poll()
                # Reading a long session must not fill the kernel's time.
                pause = max(pause, 3 * self._read_cost) if self._poll_error is None else 2.0
                if changed or (datetime.now(UTC) - drawn).total_seconds() > 5:
                    self.draw()
                    drawn = datetime.now(UTC)
            await asyncio.sleep(pause)

    async def _poll(self) -> bool:
        try:
            version = await asyncio.to_thread(self.version)
            if version == self._seen:
                self._poll_worked()
                return False
            self.snapshot, self._read_cost = await asyncio.to_thread(_costed, self.read)
            self._seen = version
        except Exception as error:
            self._poll_failed(error)
            return False
        self._poll_worked()
        return True

    def _draw(self, drawer: Callable[[Any], None]) -> None:
        try:
            drawer(self.snapshot)
        except Exception as error:
            self.banner.show(error)

    def _poll_failed(self, error: Exception) -> None:
        if repr(error) != repr(self._poll_error):
            self._poll_error = error
            self.banner.show(error, "The session cannot be read")

    def _poll_worked(self) -> None:
        if self._poll_error is not None:
            if self.banner.error is self._poll_error:
                self.banner.clear()
            self._poll_error = None


def _costed(read: Callable[[], Any]) -> tuple[Any, float]:
    """What is read, and the CPU-seconds of this thread for it."""
    began = time.thread_time()
    found = read()
    return found, time.thread_time() - began


def _answered(command: Callable[[], Any]) -> Any:
    """The command's result; where it is a receipt, the runner's answer to it."""
    result = command()
    return result.wait(timeout=5) if hasattr(result, "wait") else result
