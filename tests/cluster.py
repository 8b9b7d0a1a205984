"""A Dask cluster of real processes on this machine, and tasks that leave a trace of each begin and end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from nextpyp_nb.engine.task import Done, Progress, Task

TALLY = "nextpyp_nb.engine.probe:tally"


class Cluster:
    """A scheduler and its workers, each in a process group of its own, to be killed and stopped at will."""

    def __init__(self, folder, host="127.0.0.1"):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        self.folder, self.host, self.port = folder, host, port
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers = {}
        self.scheduler = None
        self.start_scheduler()

    def start_scheduler(self):
        self.scheduler = self._start(
            "scheduler", "dask_scheduler", "--host", self.host, "--port", str(self.port), "--no-dashboard"
        )

    def start_worker(self, name, *wrapper, scheduler=None, host="127.0.0.1"):
        """Start one; ``wrapper`` is a command that runs another, such as ip netns exec."""
        self.workers[name] = self._start(
            name, "dask_worker", scheduler or self.address, "--name", name, "--host", host,
            "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder),
            wrapper=wrapper,
        )  # fmt: skip

    def signal(self, name, number):
        """To the worker and what it started."""
        os.killpg(self.workers[name].pid, number)

    def close(self):
        for process in (*self.workers.values(), self.scheduler):
            for number in (signal.SIGCONT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            process.wait()

    def _start(self, name, program, *arguments, wrapper=()):
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*wrapper, sys.executable, "-m", f"distributed.cli.{program}", *arguments],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


def counted(number, folder, seconds):
    return Task(
        id=str(number),
        function=TALLY,
        payload={"folder": str(folder), "name": str(number), "seconds": seconds},
    )


@contextlib.asynccontextmanager
async def on(cluster, folder, *, epoch=1, **more):
    """An engine with short leases, closed at the end."""
    from nextpyp_nb.engine.dask import Dask, Existing

    more = {"lease": 5.0, "beat": 0.5} | more
    engine = Dask(Existing(cluster.address), session="s", epoch=epoch, share=folder / "cluster", **more)
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


async def outcomes(engine, count, seen):
    """Outcomes of ``count`` tasks into ``seen``; one that comes twice is an error."""
    async for done, outcome in engine.events():
        if not isinstance(outcome, Progress):
            assert done.id not in seen
            seen[done.id] = outcome
            if len(seen) == count:
                return


async def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.05)


def check_tally(tally, seen, *, count, faults):
    """All through, each with the result that lies in place; begun anew only what a fault has hit."""
    assert set(seen) == {str(number) for number in range(count)}
    assert all(isinstance(outcome, Done) for outcome in seen.values())
    begun = [line for path in tally.glob("*.begun") for line in path.read_text().splitlines()]
    assert count <= len(begun) <= count + faults
    for number, outcome in seen.items():
        assert (tally / f"{number}.done").read_text().splitlines()[-1] == str(outcome.result["pid"])
