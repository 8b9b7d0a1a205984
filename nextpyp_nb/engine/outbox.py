"""Outcomes on their way from the threads of an engine to its one listener."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from nextpyp_nb.engine.task import Outcome, Task


class Outbox:
    """Put from any thread, listened to in one event loop."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[Task, Outcome]] = deque()
        self._closed = False
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, task: Task, outcome: Outcome) -> None:
        """Tell what became of a task."""
        self._outcomes.append((task, outcome))
        self._wake()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._wake()

    async def events(self) -> AsyncIterator[tuple[Task, Outcome]]:
        """What was put, in order, until closed."""
        woken = asyncio.Event()
        self._listener = asyncio.get_running_loop(), woken
        while True:
            woken.clear()
            while self._outcomes:
                yield self._outcomes.popleft()
            if self._closed:
                return
            await woken.wait()

    def _wake(self) -> None:
        if self._listener is not None:
            loop, woken = self._listener
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:
                # The listener's loop is closed: nobody listens any more.
                self._listener = None
