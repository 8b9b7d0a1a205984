"""Work on more than one machine: workers that die, hang, come back; runners that were replaced."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from nextpyp_nb.bench.faults.cluster import counted, kept_busy, on, outcomes, tally_problems, until
from nextpyp_nb.engine.lease import WorkLease, now
from nextpyp_nb.engine.task import Killed, Task

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

from nextpyp_nb.engine import agent, machine  # noqa: E402
from nextpyp_nb.engine.dask import Dask, Existing  # noqa: E402


def task(number, do="answer", timeout=60.0, **payload):
    return Task(
        id=str(number), function="nextpyp_nb.engine.probe:probe", timeout=timeout,
        payload={"do": do, "value": number, **payload},
    )  # fmt: skip


def test_workers_that_die_or_hang_lose_and_double_nothing(cluster, tmp_path):
    """Of three workers one is killed and one stopped for longer than its lease, which then wakes up."""
    for name in "abc":
        cluster.start_worker(name)
    tally = tmp_path / "tally"
    tally.mkdir()

    async def run():
        seen, at = {}, {}
        async with on(cluster, tmp_path) as engine:
            await until(lambda: engine.slots() == 6)
            for number in range(60):
                await engine.submit(counted(number, tally, 0.25))
            listener = asyncio.create_task(outcomes(engine, 60, seen))
            await until(lambda: len(seen) >= 6)
            cluster.signal("a", signal.SIGKILL)
            cluster.signal("b", signal.SIGSTOP)
            at["stopped"] = time.monotonic()
            await until(lambda: engine.slots() == 2)
            at["noticed"] = time.monotonic()
            await until(lambda: "not heard of" in engine.message())
            await until(lambda: len(seen) >= 30)
            cluster.signal("b", signal.SIGCONT)
            cluster.start_worker("a2")
            await until(lambda: engine.slots() == 6)
            await asyncio.wait_for(listener, 60)
            await until(lambda: engine.message() == "")
        return seen, at["noticed"] - at["stopped"]

    seen, noticed = asyncio.run(run())
    assert len(seen) == 60
    assert tally_problems(tally, seen, faults=2) == []
    assert noticed < 10


def test_a_job_near_its_end_takes_nothing_that_it_cannot_finish(cluster, tmp_path, monkeypatch):
    """Ended at the time that was announced, it was in the midst of nothing; the other did the rest."""
    tally = tmp_path / "tally"
    tally.mkdir()
    ends = time.time() + 18
    monkeypatch.setenv(agent.ENDS, str(ends))
    cluster.start_worker("a")
    monkeypatch.delenv(agent.ENDS)
    cluster.start_worker("b")

    async def end():
        await asyncio.sleep(ends - time.time())
        cluster.signal("a", signal.SIGKILL)
        await asyncio.sleep(1)

    async def run():
        async with on(cluster, tmp_path) as engine:
            await until(lambda: engine.slots() == 4)
            return await kept_busy(engine, tally, 0.5, end())

    assert tally_problems(tally, asyncio.run(run()), faults=0) == []
    pids = {path.read_text() for path in tally.glob("*.begun")}
    assert len(pids) == 2


def test_a_task_longer_than_a_job_lasts_is_tried_all_the_same(tmp_path):
    setup = machine.Setup(
        session="s", epoch=1, threads=1, gpus=0, lease=5, beat=1, folder=tmp_path, topic="t"
    )
    job = machine.Machine("tcp://here", None, setup, lambda: None)
    job.slots, job._ends = 1, time.monotonic() + 10
    assert job.free(60)
    job.tried = True
    assert (job.free(60), job.free(5)) == (False, True)
    job.tried, job._ends = False, time.monotonic() - 1
    assert not job.free(5)


def test_a_poison_task_is_named_and_the_workers_stay(shared_cluster, tmp_path):
    async def run():
        seen = {}
        async with on(shared_cluster, tmp_path) as engine:
            for number in range(8):
                await engine.submit(task(number, "die" if number == 3 else "answer"))
            await engine.submit(task(8, "hang", timeout=0.5))
            await asyncio.wait_for(outcomes(engine, 9, seen), 60)
        return seen

    seen = asyncio.run(run())
    assert {name for name, outcome in seen.items() if isinstance(outcome, Killed)} == {"3", "8"}
    assert "signal 11" in seen["3"].reason
    assert seen["8"].reason == "took longer than 0.5 s and was ended"
    assert all(process.poll() is None for process in shared_cluster.workers.values())


def test_cancel_ends_what_runs_and_the_engine_goes_on(shared_cluster, tmp_path):
    async def run():
        seen = {}
        async with on(shared_cluster, tmp_path) as engine:
            for number in range(6):
                await engine.submit(task(number, "hang"))
            await until(lambda: len(grandchildren(shared_cluster)) == 2)
            await engine.cancel("0")
            await engine.cancel(None)
            assert grandchildren(shared_cluster) == []
            await engine.submit(task(9))
            await asyncio.wait_for(outcomes(engine, 1, seen), 30)
        return seen

    assert list(asyncio.run(run())) == ["9"]
    assert grandchildren(shared_cluster) == []


def test_what_was_cancelled_before_it_came_is_not_begun():
    """Work goes by the scheduler, the word that cancels it does not: that may be there first."""

    async def run():
        here = agent.Agent(None, 1, 1, 1, 0, "topic")
        here.lease.extend(now() + 60)
        await here.cancel("7")
        try:
            hanging = task(7, "hang")
            return await asyncio.wait_for(here.perform("", "7", asdict(hanging)), 10)
        finally:
            await here.close()

    assert asyncio.run(run()) == agent.CANCELLED


def test_a_newer_runner_ends_the_work_of_an_older_one(shared_cluster, tmp_path):
    """As after a kill -9 of the runner: its work on the cluster ends, and what it says no longer counts."""

    async def run():
        seen = {}
        async with on(shared_cluster, tmp_path, epoch=4) as old:
            await until(lambda: old.slots() == 4)
            await old.submit(task(0, "hang"))
            await until(lambda: len(grandchildren(shared_cluster)) == 1)
            hanging = grandchildren(shared_cluster)
            async with on(shared_cluster, tmp_path, epoch=5) as new:
                await until(lambda: new.slots() == 4)
                assert not any(process.is_running() for process in hanging)
                await new.submit(task(1))
                await asyncio.wait_for(outcomes(new, 1, seen), 30)
                await until(lambda: old.slots() == 0)
                await until(lambda: "a newer runner has this session" in old.message())
        return seen

    assert list(asyncio.run(run())) == ["1"]


def test_the_scheduler_dies_and_comes_back(cluster, tmp_path):
    cluster.start_worker("a")
    tally = tmp_path / "tally"
    tally.mkdir()

    async def run():
        seen = {}
        async with on(cluster, tmp_path) as engine:
            for number in range(30):
                await engine.submit(counted(number, tally, 0.2))
            listener = asyncio.create_task(outcomes(engine, 30, seen))
            await until(lambda: len(seen) >= 3)
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            await until(lambda: engine.slots() == 0)
            assert engine.message()
            cluster.start_scheduler()
            cluster.workers["a"].kill()
            cluster.start_worker("b")
            await asyncio.wait_for(listener, 60)
        return seen

    assert tally_problems(tally, asyncio.run(run()), faults=1) == []


@pytest.mark.parametrize("wrong", ["version", "folder"])
def test_workers_of_another_version_or_without_our_folder_are_not_used(
    shared_cluster, tmp_path, monkeypatch, wrong
):
    if wrong == "version":
        monkeypatch.setattr(agent, "__version__", "9.9")
        expected = "here is 9.9"
    else:
        joining = machine.Machine._joining
        monkeypatch.setattr(machine.Machine, "_joining", lambda self: joining(self) | {"share": "/nowhere"})
        expected = "does not see"

    async def run():
        async with on(shared_cluster, tmp_path) as engine:
            await until(lambda: expected in engine.message())
            assert engine.slots() == 0

    asyncio.run(run())


def test_no_scheduler_is_said_and_closing_does_not_hang(tmp_path):
    engine = Dask(Existing("tcp://127.0.0.1:9"), session="s", epoch=1, share=tmp_path)
    end = time.monotonic() + 30
    while "no cluster" not in engine.message():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert engine.slots() == 0
    engine.close()
    engine.close()


def test_a_worker_that_no_runner_asks_for_ends_by_itself(tmp_path):
    program = (
        "import time\n"
        "from types import SimpleNamespace\n"
        "from nextpyp_nb.engine import agent\n"
        "agent.ALONE = 0.2\n"
        "asked = SimpleNamespace(lease=SimpleNamespace(until=agent.now() + 1.0))\n"
        "worker = SimpleNamespace(extensions={'nextpyp_nb': {'s': asked}})\n"
        "agent.dask_setup(worker)\n"
        "time.sleep(0.7)\n"
        "print('asked', flush=True)\n"
        "time.sleep(60)\n"
    )
    root = str(Path(machine.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": root}, capture_output=True,
        text=True, timeout=50,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "asked\n")


def test_a_process_out_of_its_lease_puts_no_file_into_place(tmp_path):
    """Stopped when the lease was good, it wakes after its end: the rename is never made."""
    lease = WorkLease(tmp_path / "lease", make=True)
    lease.extend(now() + 60)
    program = (
        "import pathlib, sys\n"
        "from nextpyp_nb.engine.lease import WorkLease, fence\n"
        "fence(WorkLease(pathlib.Path(sys.argv[1])))\n"
        "for name in ('first', 'second'):\n"
        "    pathlib.Path(name + '.part').write_text(name)\n"
        "    sys.stdin.readline()\n"
        "    pathlib.Path(name + '.part').replace(name)\n"
        "    print(name, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(lease.path)], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(machine.__file__).parents[2])},
    )  # fmt: skip
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "first\n"
    lease._shared[:] = bytes(8)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait(10) == -signal.SIGKILL
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()
    child.stdin.close()
    child.stdout.close()


def grandchildren(cluster):
    """The processes that the workers of a cluster compute in."""
    found = []
    for process in cluster.workers.values():
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if "nextpyp_nb.engine.worker" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
    return found
