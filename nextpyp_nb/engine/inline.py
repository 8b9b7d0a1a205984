"""The simplest engine: one task after another in this process, for tests and notebooks."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from nextpyp_nb.engine.task import Outcome, Progress, Task, perform


class Inline:
    """Runs tasks in a thread of this process; time limits are not kept, and a crash is a crash."""

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()
        self._cancelled: set[str] = set()
        self._running: str | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def slots(self) -> int:
        """One at a time."""
        return 1

    def message(self) -> str:
        """Nothing to say."""
        return ""

    async def submit(self, task: Task) -> None:
        """Queue a task."""
        self._waiting.append(task)
        self._changed.set()

    async def events(self) -> AsyncIterator[tuple[Task, Outcome]]:
        """Work through the queue, telling what happens."""
        while not self._closed:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            task = self._waiting.popleft()
            self._running = task.id
            reports: list[dict[str, Any]] = []
            outcome = await asyncio.to_thread(perform, task.function, task.payload, reports.append)
            self._running = None
            if task.id in self._cancelled:
                self._cancelled.discard(task.id)
                continue
            for report in reports:
                yield task, Progress(report=report)
            yield task, outcome

    async def cancel(self, task_id: str | None = None) -> None:
        """Drop what waits; what runs is finished in vain."""
        self._waiting = deque(t for t in self._waiting if task_id is not None and t.id != task_id)
        if self._running is not None and task_id in (None, self._running):
            self._cancelled.add(self._running)

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._waiting.clear()
        self._changed.set()
