"""One contract for all engines; and what only worker processes can do."""

import asyncio
import os
import random
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from nextpyp_nb.engine.inline import Inline
from nextpyp_nb.engine.slots import Slots, worker_environment
from nextpyp_nb.engine.task import Done, Failed, Killed, Progress, Task, is_transient, resolve

PROBE = "nextpyp_nb.engine.probe:probe"


def task(number, do="answer", timeout=60.0, **payload):
    return Task(
        id=str(number), function=PROBE, payload={"do": do, "value": number, **payload}, timeout=timeout
    )


@asynccontextmanager
async def closing(engine):
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


async def final_outcomes(engine, count, seen=None):
    """The final outcome of each of ``count`` tasks; an outcome that comes twice is an error."""
    outcomes = {} if seen is None else seen
    async for done, outcome in engine.events():
        if isinstance(outcome, Progress):
            continue
        assert done.id not in outcomes
        outcomes[done.id] = outcome
        if len(outcomes) == count:
            return outcomes
    return outcomes


@pytest.fixture(params=["inline", "slots", "dask"])
def make_engine(request):
    if request.param == "dask":
        return request.getfixturevalue("make_dask")
    return Inline if request.param == "inline" else lambda: Slots(2)


def test_every_task_ends_once_and_poison_is_named_exactly(make_engine):
    poison = {"7", "31", "32"}

    async def run():
        async with closing(make_engine()) as engine:
            for number in range(60):
                await engine.submit(task(number, "refuse" if str(number) in poison else "answer"))
            return await asyncio.wait_for(final_outcomes(engine, 60), 60)

    outcomes = asyncio.run(run())
    assert {name for name, o in outcomes.items() if isinstance(o, Failed)} == poison
    assert all(o.result["value"] == int(name) for name, o in outcomes.items() if isinstance(o, Done))
    assert outcomes["7"].reason == "refused: 7"
    assert outcomes["7"].kind == "deterministic"
    assert "ValueError" in outcomes["7"].traceback


def test_progress_comes_in_order_before_the_end(make_engine):
    async def run():
        seen = []
        async with closing(make_engine()) as engine:
            await engine.submit(task(1, "babble", steps=5))
            async for _, outcome in engine.events():
                seen.append(outcome)
                if not isinstance(outcome, Progress):
                    break
        return seen

    seen = asyncio.run(run())
    assert [o.report["step"] for o in seen[:-1]] == [0, 1, 2, 3, 4]
    assert isinstance(seen[-1], Done)


def test_waiting_tasks_can_be_cancelled(make_engine):
    async def run():
        async with closing(make_engine()) as engine:
            for number in range(8):
                await engine.submit(task(number, "wait", seconds=0.05))
            await engine.cancel("7")
            await engine.cancel("nobody")
            return await asyncio.wait_for(final_outcomes(engine, 7), 60)

    assert set(asyncio.run(run())) == {str(n) for n in range(7)}


def test_events_end_when_the_engine_is_closed(make_engine):
    async def run():
        engine = make_engine()
        listener = asyncio.create_task(final_outcomes(engine, 1))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(engine.close)
        engine.close()
        return await asyncio.wait_for(listener, 5)

    assert asyncio.run(run()) == {}


def test_random_kills_lose_none_of_300_and_leave_no_process():
    rng = random.Random(5)
    poison = {str(n) for n in rng.sample(range(300), 4)}

    async def run():
        outcomes = {}
        async with closing(Slots(3)) as engine:
            for number in range(300):
                await engine.submit(task(number, "die" if str(number) in poison else "wait", seconds=0.01))
            listener = asyncio.create_task(final_outcomes(engine, 300, outcomes))
            kills = 0
            while not listener.done():
                await asyncio.sleep(0.15)
                workers = worker_processes()
                if workers and kills < 6:
                    rng.choice(workers).kill()
                    kills += 1
            await listener
        return outcomes, kills

    outcomes, kills = asyncio.run(run())
    assert set(outcomes) == {str(n) for n in range(300)}
    killed = {name for name, o in outcomes.items() if isinstance(o, Killed)}
    assert poison <= killed
    assert len(killed) <= len(poison) + kills
    assert kills >= 3
    assert all("signal 11" in outcomes[name].reason for name in poison)
    assert worker_processes() == []


def test_a_task_that_takes_too_long_costs_itself_only():
    async def run():
        async with closing(Slots(1)) as engine:
            await engine.submit(task(0, "hang", timeout=0.5))
            await engine.submit(task(1))
            return await asyncio.wait_for(final_outcomes(engine, 2), 30)

    outcomes = asyncio.run(run())
    assert outcomes["0"] == Killed(reason="took longer than 0.5 s and was ended")
    assert isinstance(outcomes["1"], Done)


def test_cancel_ends_what_runs_at_once_and_goes_on():
    async def run():
        async with closing(Slots(1)) as engine:
            for number in range(3):
                await engine.submit(task(number, "hang"))
            await asyncio.to_thread(wait_for_worker)
            begin = time.monotonic()
            await engine.cancel(None)
            took = time.monotonic() - begin
            assert worker_processes() == []
            await engine.submit(task(9))
            return took, await asyncio.wait_for(final_outcomes(engine, 1), 30)

    took, outcomes = asyncio.run(run())
    assert took < 2.0
    assert list(outcomes) == ["9"]


def test_workers_have_their_limits_and_die_with_their_parent(tmp_path):
    """A parent that is killed -9 while its workers compute leaves none of them."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(read)
        try:
            asyncio.run(_report_then_hang(write))
        finally:
            os._exit(1)
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            environment, nice, worker = stream.readline().strip().split("|")
        assert environment == "3,"
        assert int(nice) - os.nice(0) == 5
        assert psutil.pid_exists(int(worker))
        # Out of memory, the kernel takes a worker and not the runner.
        assert Path(f"/proc/{worker}/oom_score_adj").read_text() == "1000\n"
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    until = time.monotonic() + 3
    while alive(int(worker)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(int(worker))


async def _report_then_hang(pipe):
    engine = Slots(1, threads=3, nice=5)
    await engine.submit(task(0))
    outcome = (await final_outcomes(engine, 1))["0"]
    found = outcome.result["environment"]
    text = f"{found['OMP_NUM_THREADS']},{found['CUDA_VISIBLE_DEVICES']}|{outcome.result['nice']}"
    await engine.submit(task(1, "hang"))
    await asyncio.sleep(0.2)
    os.write(pipe, f"{text}|{outcome.result['pid']}\n".encode())
    await asyncio.sleep(60)


def test_each_worker_sees_one_of_the_gpus_in_turn(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = [worker_environment(i, threads=1, gpus=2)["CUDA_VISIBLE_DEVICES"] for i in range(4)]
    assert seen == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert worker_environment(1, threads=1, gpus=2)["CUDA_VISIBLE_DEVICES"] == "7"
    assert worker_environment(1, threads=1, gpus=0)["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    "function",
    ["os:system", "nextpyp_nb.engine.probe", "nextpyp_nb.engine.probe:__name__", "nextpyp_nbx.a:b"],
)
def test_only_our_own_functions_are_called(function):
    with pytest.raises(ValueError, match="expected"):
        resolve(function)


def test_disks_come_back_and_bad_files_do_not():
    assert is_transient(FileNotFoundError("gone"))
    assert is_transient(MemoryError())
    assert not is_transient(PermissionError("no"))
    assert not is_transient(ValueError("bad file"))


def wait_for_worker():
    while not worker_processes():
        time.sleep(0.02)


def worker_processes():
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "nextpyp_nb.engine.worker" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
