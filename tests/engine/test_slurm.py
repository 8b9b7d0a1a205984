"""Jobs of a real SLURM as workers: jobs, SLURM and runners die; nothing is lost, nothing left behind."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextpyp_nb.bench.faults.cluster import until
from nextpyp_nb.bench.faults.machines import slurm
from nextpyp_nb.bench.faults.real_slurm import missing, started

pytest.importorskip("dask_jobqueue", reason="the extra dask is not installed")

from nextpyp_nb.engine.dask import Dask
from nextpyp_nb.engine.slurm import JobPlan, Slurm

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with started(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def on_slurm(folder, *, epoch=1, **more):
    plan = {"name": "nextpyp-test", "jobs": 2, "threads": 1, "memory": 0.5, "hours": 1.0, "folder": folder}
    pool = Slurm(JobPlan(**plan | more), interval=1.0)
    return Dask(pool, session="s", epoch=epoch, share=folder, lease=5.0, beat=0.5)


def test_jobs_and_slurm_die_and_all_is_done_once(tmp_path):
    """scancel, then SLURM's controller with a worker: all are back within a minute (F13)."""
    assert slurm(tmp_path, cancels=1)["problems"] == []


def test_the_jobs_of_a_killed_runner_are_ended_by_the_next_one(here, tmp_path):
    program = (
        "import pathlib, sys, time\n"
        "from tests.engine.test_slurm import on_slurm\n"
        "engine = on_slurm(pathlib.Path(sys.argv[1]), jobs=1)\n"
        "while not engine.slots(): time.sleep(0.1)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    root = str(Path(__file__).parents[2])
    runner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    with runner:
        assert runner.stdout.readline() == "ready\n"
        left = here.jobs()
        assert len(left) == 1
        runner.kill()

    async def run():
        engine = on_slurm(tmp_path, epoch=2, jobs=1)
        try:
            await until(lambda: left[0] not in here.jobs(), 20)
        finally:
            await asyncio.to_thread(engine.close)

    asyncio.run(run())
    assert here.left_over() == ""


def test_what_slurm_refuses_is_said(here, tmp_path):
    async def run():
        engine = on_slurm(tmp_path, partition="nowhere")
        try:
            await until(lambda: "Invalid partition" in engine.message())
        finally:
            await asyncio.to_thread(engine.close)

    asyncio.run(run())


def test_keys_are_for_our_eyes_only(here, tmp_path):
    engine = on_slurm(tmp_path / "cluster", jobs=1)
    try:
        end = time.monotonic() + 20
        while not here.jobs() and time.monotonic() < end:
            time.sleep(0.1)
        keys = list((tmp_path / "cluster" / "keys").iterdir())
        assert {key.name for key in keys} == {"ca_file.pem", "worker_cert.pem", "worker_key.pem"}
        assert all(key.stat().st_mode & 0o077 == 0 for key in keys)
        assert (tmp_path / "cluster").stat().st_mode & 0o077 == 0
    finally:
        engine.close()
    assert here.left_over() == ""
