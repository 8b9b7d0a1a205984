"""A Dask cluster of real processes on this machine, for the tests that need the extra `dask`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest


class Cluster:
    """A scheduler and its workers, each in a process group of its own, to be killed and stopped at will."""

    def __init__(self, folder, host="127.0.0.1"):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        self.folder, self.host, self.port = folder, host, port
        self.address = f"tcp://{host}:{port}"
        self.workers = {}
        self.scheduler = None
        self.start_scheduler()

    def start_scheduler(self):
        self.scheduler = self._start(
            "scheduler", "dask_scheduler", "--host", self.host, "--port", str(self.port), "--no-dashboard"
        )

    def start_worker(self, name, *wrapper):
        self.workers[name] = self._start(
            name, "dask_worker", self.address, "--name", name, "--no-nanny", "--nthreads", "1",
            "--no-dashboard", "--local-directory", str(self.folder), wrapper=wrapper,
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


@pytest.fixture
def cluster(tmp_path):
    """A cluster of this test's own."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    """Two workers that no test disturbs."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.start_worker("a")
    made.start_worker("b")
    yield made
    made.close()


@pytest.fixture
def make_dask(shared_cluster, tmp_path):
    """Engines on that cluster, one runner after the other."""
    from nextpyp_nb.engine.dask import Dask, Existing

    epochs = iter(range(1, 100))
    return lambda **more: Dask(
        Existing(shared_cluster.address), session=tmp_path.name, epoch=next(epochs),
        share=tmp_path / "cluster", **more,
    )  # fmt: skip
