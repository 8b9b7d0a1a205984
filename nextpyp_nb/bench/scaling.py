"""A session with more and more workers: real tracks and Dask, kernels that sleep for a GPU's cost."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nextpyp_nb.bench.faults.cluster import Cluster
from nextpyp_nb.bench.faults.pretend import FUNCTION, pretend_session, run, write_movies
from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.tracks.runner import Runner

SHOWN = (
    "workers", "movies", "movies_per_hour", "of_ideal", "overhead_ms", "runner_cpu_ms", "scheduler_cpu_ms",
    "workers_cpu_ms",
)  # fmt: skip


def bench_scaling(*, workers: list[int], cost: float, movies: int, out: Path | None) -> int:
    """Sessions of ``movies`` for each worker, which take ``cost`` s each, on so many ``workers`` in turn.

    Overhead is the time that a worker spends on a movie beside its cost; CPU times are those of a movie.
    """
    with tempfile.TemporaryDirectory(prefix="nextpyp-scaling-") as folder:
        rows = []
        for count in workers:
            row = _session(Path(folder) / str(count), count, cost, movies)
            rows.append(row)
            show([row], SHOWN)
    write_json(out, rows, cost=cost)
    return 0


class _Scaled(Runner):
    """Begins when all movies are transferred and all workers there, and only pretends to compute."""

    workers = 1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.preprocess.function = FUNCTION
        step = self.preprocess.step

        async def when_ready() -> float:
            ready = self.transfer.idle() and self.movies.slots() >= 2 * self.workers
            return await step() if ready else 0.2

        self.preprocess.step = when_ready  # type: ignore[method-assign]


def _session(root: Path, workers: int, cost: float, per_worker: int) -> dict[str, Any]:
    count = workers * per_worker
    write_movies(root / "camera", count)
    with contextlib.closing(Cluster(root)) as cluster:
        for number in range(workers):
            cluster.start_worker(str(number))
        processes = [psutil.Process(p.pid) for p in (cluster.scheduler, *cluster.workers.values())]
        session = pretend_session(
            root / "sessions", root / "camera", transfer__operation="link", resources__engine="dask",
            resources__address=cluster.address,
        )  # fmt: skip
        (session.folder / "cost").write_text(str(cost))
        parts = ([psutil.Process()], processes[:1], processes[1:])
        before = [_cpu(part) for part in parts]
        run(session, kind=type("Scaled", (_Scaled,), {"workers": workers}))
        used = [1000 * (_cpu(part) - begin) / count for part, begin in zip(parts, before, strict=True)]
        ends = sorted(end.timestamp() for end in session.micrographs["finished"])
        session.close()
    # Left out are the first of each worker, which load its modules, and the end, when some wait.
    steady = ends[2 * workers : count - workers]
    # A slope, for workers that sleep alike end their movies at the same times.
    rate = float(np.polyfit(np.asarray(steady) - steady[0], np.arange(len(steady)), 1)[0])
    return {
        "workers": workers, "movies": len(ends), "movies_per_hour": round(3600 * rate),
        "of_ideal": rate * cost / workers, "overhead_ms": 1000 * (workers / rate - cost),
        "runner_cpu_ms": used[0], "scheduler_cpu_ms": used[1], "workers_cpu_ms": used[2],
    }  # fmt: skip


def _cpu(processes: list[psutil.Process]) -> float:
    """CPU-seconds of processes and what they started; but of this one alone, not the cluster under it."""
    total = 0.0
    for process in processes:
        family = [process] if process.pid == psutil.Process().pid else [process, *process.children(True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                total += times.user + times.system
    return total
