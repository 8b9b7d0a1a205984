"""A Dask cluster of real processes on this machine, and tasks that leave a trace of each begin and end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.faults import NotRun
from nextpyp_nb.engine.task import Done, Engine, Outcome, Progress, Task

TALLY = "nextpyp_nb.engine.probe:tally"
# Tasks that are given to an engine at any time.
AT_ONCE = 12


def need_dask() -> None:
    """`NotRun` without the extra dask."""
    try:
        import dask_jobqueue  # noqa: F401
    except ImportError:
        raise NotRun("the extra dask is not installed") from None


class Cluster:
    """A scheduler and its workers, each in a process group of its own, to be killed and stopped at will."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        self.folder, self.host, self.port = folder, host, port
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start it, again at the same address."""
        self.scheduler = self._start(
            "scheduler", "dask_scheduler", "--host", self.host, "--port", str(self.port), "--no-dashboard"
        )

    def start_worker(
        self, name: str, *wrapper: str, scheduler: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        """Start one; ``wrapper`` is a command that runs another, such as ip netns exec."""
        self.workers[name] = self._start(
            name, "dask_worker", scheduler or self.address, "--name", name, "--host", host,
            "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder),
            wrapper=wrapper,
        )  # fmt: skip

    def signal(self, name: str, number: int) -> None:
        """To the worker and what it started."""
        os.killpg(self.workers[name].pid, number)

    def close(self) -> None:
        """End all of it."""
        for process in (*self.workers.values(), self.scheduler):
            for number in (signal.SIGCONT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            process.wait()

    def _start(
        self, name: str, program: str, *arguments: str, wrapper: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*wrapper, sys.executable, "-m", f"distributed.cli.{program}", *arguments],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


def counted(number: int, folder: Path, seconds: float) -> Task:
    """A task that takes so many seconds and leaves a trace of its begin and end in ``folder``."""
    return Task(
        id=str(number),
        function=TALLY,
        payload={"folder": str(folder), "name": str(number), "seconds": seconds},
    )


@contextlib.asynccontextmanager
async def on(cluster: Cluster, folder: Path, *, epoch: int = 1, **more: Any) -> AsyncIterator[Any]:
    """An engine with short leases, closed at the end."""
    from nextpyp_nb.engine.dask import Dask, Existing

    more = {"lease": 5.0, "beat": 0.5} | more
    engine = Dask(Existing(cluster.address), session="s", epoch=epoch, share=folder / "cluster", **more)
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


async def outcomes(engine: Engine, count: int, seen: dict[str, Outcome]) -> None:
    """Outcomes of ``count`` tasks into ``seen``; one that comes twice is an error."""
    async for done, outcome in engine.events():
        if not isinstance(outcome, Progress):
            _note(seen, done, outcome)
            if len(seen) == count:
                return


async def kept_busy(
    engine: Engine, tally: Path, seconds: float, faults: Coroutine[Any, Any, None]
) -> dict[str, Outcome]:
    """Give the engine tasks of so many seconds each for as long as ``faults`` go on; what became of them."""
    seen: dict[str, Outcome] = {}
    acting, given = asyncio.create_task(faults), 0

    async def give() -> None:
        nonlocal given
        await engine.submit(counted(given, tally, seconds))
        given += 1

    async def listen() -> None:
        async for done, outcome in engine.events():
            if isinstance(outcome, Progress):
                continue
            _note(seen, done, outcome)
            if not acting.done():
                await give()
            elif len(seen) == given:
                return

    for _ in range(AT_ONCE):
        await give()
    listening = asyncio.create_task(listen())
    try:
        await acting
        await asyncio.wait_for(listening, 120)
    finally:
        listening.cancel()
    return seen


def _note(seen: dict[str, Outcome], task: Task, outcome: Outcome) -> None:
    if task.id in seen:
        raise RuntimeError(f"task {task.id} has two outcomes")
    seen[task.id] = outcome


async def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until it is so; TimeoutError when it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.05)


def begun_twice(tally: Path) -> int:
    """How many tasks were begun more often than once, each time counted."""
    return sum(len(path.read_text().splitlines()) - 1 for path in tally.glob("*.begun"))


def tally_problems(tally: Path, seen: Mapping[str, Outcome], *, faults: int) -> list[str]:
    """What is not so: all done, each with the result that lies in place; begun anew only what a fault hit."""
    problems = [f"task {name}: {outcome}" for name, outcome in seen.items() if not isinstance(outcome, Done)]
    given = {path.stem for path in tally.glob("*.begun")}
    problems += [f"task {name} was begun, and nothing came of it" for name in sorted(given - set(seen))]
    if (again := begun_twice(tally)) > faults:
        problems.append(f"{again} tasks were begun twice, expected at most {faults}")
    for name, outcome in seen.items():
        if isinstance(outcome, Done):
            last = (tally / f"{name}.done").read_text().splitlines()[-1]
            if last != str(outcome.result["pid"]):
                problems.append(f"task {name}: what lies there is not what was told")
    return problems
