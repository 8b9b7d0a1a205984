"""Worker slots on this machine: one process each, one task in flight, a pipe, no server."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from nextpyp_nb.engine.outbox import Outbox
from nextpyp_nb.engine.task import Killed, Outcome, Progress, Task, outcome_from

_THREAD_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
# Matrix products here are small: a second thread doubles what they cost on busy cores.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What a movie took is kept for the next (glibc, bytes): taken anew it costs a twentieth of a small one.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


class Slots:
    """``count`` worker processes; a worker that dies costs exactly its task, and is replaced.

    Workers get ``threads`` each, one of ``gpus`` each in turn (none: they see no GPU), and are made
    ``nice``. They start with their first task and die with this process, or when the ``lease`` is over.
    """

    def __init__(
        self, count: int, *, threads: int = 1, gpus: int = 0, nice: int = 0, lease: Path | None = None
    ) -> None:
        if count < 1:
            raise ValueError(f"got {count} worker slots, expected at least 1")
        self._waiting: deque[Task] = deque()
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._closed = False
        environments = [worker_environment(i, threads=threads, gpus=gpus) for i in range(count)]
        self._slots = [_Slot(self, environment, nice, lease) for environment in environments]

    def slots(self) -> int:
        """How many tasks run at once."""
        return len(self._slots)

    def message(self) -> str:
        """Nothing to say: they are always there."""
        return ""

    async def submit(self, task: Task) -> None:
        """Queue a task."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        with self._changed:
            self._waiting.append(task)
            self._changed.notify_all()

    def events(self) -> AsyncIterator[tuple[Task, Outcome]]:
        """What becomes of the tasks, until closed."""
        return self._outbox.events()

    async def cancel(self, task_id: str | None = None) -> None:
        """Drop what waits, end the workers of what runs; returns when they are gone."""
        with self._changed:
            self._waiting = deque(t for t in self._waiting if task_id is not None and t.id != task_id)
            ended = [slot for slot in self._slots if slot.end(task_id)]
        await asyncio.to_thread(self._until_ended, ended)

    def close(self) -> None:
        """End all workers."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            for slot in self._slots:
                slot.end(None)
            self._changed.notify_all()
        for slot in self._slots:
            slot.join()
        self._outbox.close()

    def _next(self, slot: "_Slot") -> Task | None:
        """The next task for ``slot``, taken and marked as its own at once; None when closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            slot.task = self._waiting.popleft()
            return slot.task

    def _until_ended(self, slots: "list[_Slot]") -> None:
        with self._changed:
            self._changed.wait_for(lambda: not any(slot.ending for slot in slots))

    def _tell(self, slot: "_Slot", task: Task, outcome: Outcome) -> None:
        with self._changed:
            if not slot.ending:
                self._outbox.put(task, outcome)
            if not isinstance(outcome, Progress):
                slot.task, slot.ending = None, False
                self._changed.notify_all()


class _Slot:
    """A thread that feeds one worker process, and starts another when that one dies."""

    def __init__(self, engine: Slots, environment: dict[str, str], nice: int, lease: Path | None) -> None:
        self.task: Task | None = None
        self.ending = False
        self._engine, self._environment, self._nice, self._lease = engine, environment, nice, lease
        self._process: subprocess.Popen[bytes] | None = None
        self._tasks: IO[bytes] | None = None
        self._outcomes = -1
        self._unread = b""
        # The thread lives as long as the slot: PDEATHSIG is sent when the thread that forked ends.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self, task_id: str | None) -> bool:
        """Kill the worker if it has this task (any); with the engine's lock held."""
        if self.task is None or task_id not in (None, self.task.id):
            return False
        self.ending = True
        if self._process is not None:
            self._process.kill()
        return True

    def join(self) -> None:
        """Wait until worker and thread are gone."""
        self._thread.join()

    def _run(self) -> None:
        while (task := self._engine._next(self)) is not None:
            try:
                self._serve(task)
            except (OSError, ValueError) as error:
                self._engine._tell(self, task, Killed(reason=f"the worker failed: {error}; {self._stop()}"))
        self._stop()

    def _serve(self, task: Task) -> None:
        line = json.dumps({"function": task.function, "payload": task.payload}).encode() + b"\n"
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._launch()
        if self.ending:
            # Cancelled while its worker was being started.
            return self._engine._tell(self, task, Killed(reason=f"cancelled: {self._stop()}"))
        assert self._tasks is not None
        try:
            self._tasks.write(line)
            self._tasks.flush()
        except BrokenPipeError:
            return self._engine._tell(self, task, Killed(reason=f"the worker died: {self._stop()}"))
        return self._engine._tell(self, task, self._await(task))

    def _await(self, task: Task) -> Outcome:
        until = time.monotonic() + task.timeout
        while True:
            line = self._line(until)
            if line is None:
                self._stop()
                return Killed(reason=f"took longer than {task.timeout:g} s and was ended")
            if not line:
                return Killed(reason=f"the worker died: {self._stop()}")
            outcome = outcome_from(json.loads(line))
            if not isinstance(outcome, Progress):
                return outcome
            self._engine._tell(self, task, outcome)

    def _line(self, until: float) -> bytes | None:
        """The worker's next line; empty when it died, None when time is up."""
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._outcomes], [], [], left)[0]:
                return None
            piece = os.read(self._outcomes, 1 << 16)
            if not piece:
                return b""
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _launch(self) -> None:
        tasks, to_worker = os.pipe()
        from_worker, outcomes = os.pipe()
        arguments = (tasks, outcomes, os.getpid(), self._nice, *([self._lease] if self._lease else []))
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "nextpyp_nb.engine.worker", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=2, env=self._environment,
                pass_fds=(tasks, outcomes),
            )  # fmt: skip
        finally:
            os.close(tasks)
            os.close(outcomes)
        self._tasks, self._outcomes, self._unread = os.fdopen(to_worker, "wb"), from_worker, b""
        with self._engine._changed:
            self._process = process

    def _stop(self) -> str:
        """Be sure that the worker is gone; says how it ended."""
        process = self._process
        if process is None:
            return "no worker"
        process.kill()
        code = process.wait()
        with self._engine._changed:
            self._process = None
        try:
            if self._tasks is not None:
                self._tasks.close()
        except BrokenPipeError:
            pass
        os.close(self._outcomes)
        return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit status {code}"


def worker_environment(index: int, *, threads: int, gpus: int) -> dict[str, str]:
    """Our environment with limits of threads and memory, set before NumPy loads, and one GPU or none."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    own = visible or [str(number) for number in range(gpus)]
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_LIMITS, str(threads)),
        **dict.fromkeys(_ONE_THREAD, "1"),
        **_KEPT_MEMORY,
        "CUDA_VISIBLE_DEVICES": own[index % min(gpus, len(own))] if gpus else "",
    }
