"""Where the movies of a session are processed: slots of this machine, or workers of a cluster."""

import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.engine.task import Engine
from nextpyp_nb.kernels.backend import gpu_count
from nextpyp_nb.settings import Settings, Site


class Workers(NamedTuple):
    """An engine, and the GPUs and threads that each of its tasks may use."""

    engine: Engine
    gpus: int
    threads: int

    @property
    def device(self) -> int | None:
        """The CUDA device of a task, or None: a worker on a GPU sees only its own."""
        return 0 if self.gpus else None


def worker_plan(settings: Settings) -> tuple[int, int, int]:
    """Movie workers on this machine, threads of each, and GPUs in use."""
    cores = len(os.sched_getaffinity(0))
    chosen = settings.resources
    gpus = gpu_count() if chosen.gpus < 0 else min(chosen.gpus, gpu_count())
    workers = chosen.workers or gpus or max(1, cores // 2)
    return workers, chosen.threads or max(1, cores // workers), gpus


def movie_workers(settings: Settings, folder: Path, *, epoch: int, site: Site) -> Workers:
    """The engine that Resources ask for; this machine where they make no sense, which Start then says."""
    chosen = settings.resources
    if chosen.engine == "local" or chosen.missing():
        workers, threads, gpus = worker_plan(settings)
        return Workers(Slots(workers, threads=threads, gpus=gpus), gpus, threads)
    # Dask is loaded only where it is wanted: that takes a second.
    from nextpyp_nb.engine.dask import Dask, Existing, Pool

    gpus = max(0, chosen.gpus)
    name = f"{folder.name}-{hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()}"
    threads = chosen.threads or (1 if chosen.engine == "dask" else 4)
    if chosen.engine == "dask":
        pool: Pool = Existing(chosen.address)
    else:
        from nextpyp_nb.engine.slurm import JobPlan, Slurm

        pool = Slurm(
            JobPlan(
                name=f"nextpyp-{name}", jobs=chosen.workers, threads=threads, memory=chosen.memory,
                hours=chosen.job_hours, folder=folder / "cluster", gpus=gpus, partition=chosen.partition,
                arguments=tuple(chosen.arguments.split()), interface=site.cluster_interface,
                prologue=site.cluster_prologue, python=site.cluster_python or sys.executable,
            )
        )  # fmt: skip
    engine = Dask(pool, session=name, epoch=epoch, share=folder / "cluster", threads=threads, gpus=gpus)
    return Workers(engine, gpus, threads)
