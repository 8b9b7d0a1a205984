"""F12 and F13: the same on every engine; a real SLURM whose jobs and nodes die; a network that parts."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import numba
import psutil

from nextpyp_nb.bench.faults import NotRun
from nextpyp_nb.bench.faults.cluster import (
    Cluster,
    begun_twice,
    counted,
    kept_busy,
    need_dask,
    on,
    outcomes,
    tally_problems,
    until,
)
from nextpyp_nb.bench.faults.network import parting
from nextpyp_nb.bench.faults.real_slurm import RealSlurm, started
from nextpyp_nb.engine.inline import Inline
from nextpyp_nb.engine.task import Outcome
from nextpyp_nb.session import create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Microscope
from nextpyp_nb.tracks.engines import Workers
from nextpyp_nb.tracks.runner import Runner, run_session

# What depends on the clock, and what is packed with it.
_TIMED = ("seconds_", "started", "finished", "found", "transferred", "latency")
_FILES = ("micrographs/*", "previews/*", "motion/*", "ctf/*", "picks/*")
# Seconds within which all workers must be back.
BACK = 60.0


class _InThisProcess(Runner):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.movies.close()
        self.movies = Inline()
        self.preprocess.use(Workers(self.movies, gpus=0, threads=1))


def engines(root: Path, *, movies: int) -> dict[str, Any]:
    """Sessions over the same movies on each engine: rows and files must be the same, byte for byte."""
    need_dask()
    settings = _camera(root / "camera", movies)
    found = {"slots": _results(root / "slots", settings)}
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        found["this process"] = _results(root / "inline", settings, _InThisProcess)
    finally:
        numba.set_num_threads(threads)
    (root / "cluster").mkdir()
    cluster = Cluster(root / "cluster")
    try:
        cluster.start_worker("a")
        found["Dask"] = _results(root / "dask", settings, engine="dask", address=cluster.address)
    finally:
        cluster.close()
    missing, problems = "", []
    try:
        with started(root / "here") as here:
            on_slurm = {"engine": "slurm", "memory": 2.0, "partition": "other"}
            found["SLURM"] = _results(root / "slurm", settings, **on_slurm)
            problems += filter(None, [here.left_over()])
    except NotRun as reason:
        missing = f"; not SLURM: {reason}"
    for name, results in found.items():
        differing = [key for key in found["slots"] | results if found["slots"].get(key) != results.get(key)]
        problems += [f"{name}: {key} is not as on slots" for key in differing[:5]]
    return {
        "engines": ", ".join(found) + missing, "movies": movies, "rows and files": len(found["slots"]),
        "problems": problems,
    }  # fmt: skip


def partition(root: Path, *, tasks: int, lease: float, beat: float) -> dict[str, Any]:
    """Cut off one of two workers within a task that takes longer than its lease, then let it back."""
    need_dask()
    with parting("a", "b") as network:
        cluster = Cluster(root, host="0.0.0.0")
        try:
            for number, name in enumerate(network.names):
                cluster.start_worker(
                    name, "ip", "netns", "exec", network.space(name),
                    scheduler=f"tcp://{network.outside(number)}:{cluster.port}", host=network.inside(number),
                )  # fmt: skip
            tally, took = root / "tally", dict[str, float]()
            tally.mkdir()
            seen = asyncio.run(_parted(root, cluster, network, tally, took, tasks, lease, beat))
        finally:
            cluster.close()
    problems = tally_problems(tally, seen, faults=1)
    if len((tally / "0.done").read_text().splitlines()) != 1:
        problems.append("the task that was cut off was put into place twice")
    problems += [f"{what} after {seconds:.0f} s" for what, seconds in took.items() if seconds > BACK]
    shown = {f"{what} after, s": round(seconds, 1) for what, seconds in took.items()}
    return {"tasks": len(seen), "lease, s": lease, **shown, "problems": problems}


async def _parted(
    root: Path, cluster: Cluster, network: Any, tally: Path, took: dict[str, float], tasks: int,
    lease: float, beat: float,
) -> dict[str, Outcome]:  # fmt: skip
    seen: dict[str, Outcome] = {}
    async with on(cluster, root, lease=lease, beat=beat) as engine:
        await until(lambda: engine.slots() == 4)
        await engine.submit(counted(0, tally, lease + 3.0))
        for number in range(1, tasks):
            await engine.submit(counted(number, tally, 0.2))
        listener = asyncio.create_task(outcomes(engine, tasks, seen))
        await until(lambda: (tally / "0.begun").exists() and len(seen) >= 4)
        process = psutil.Process(int((tally / "0.begun").read_text()))
        cut = next(n for n, worker in cluster.workers.items() if process.ppid() == worker.pid)
        network.cut(cut)
        begin = time.monotonic()
        for what, true in (
            ("no new work", lambda: engine.slots() == 2),
            ("its work ended", lambda: not process.is_running()),
            ("with the other", lambda: len((tally / "0.begun").read_text().splitlines()) == 2),
        ):
            await until(true, 2 * BACK)
            took[what] = time.monotonic() - begin
            if what == "its work ended" and (tally / "0.done").exists():
                raise RuntimeError("the worker that was cut off put its result into place")
        network.mend(cut)
        await until(lambda: engine.slots() == 4, BACK)
        await asyncio.wait_for(listener, BACK)
    return seen


def slurm(root: Path, *, cancels: int, node: bool = False, minute: bool = False) -> dict[str, Any]:
    """Jobs are cancelled, SLURM's controller is killed with a worker, (a node dies, job time runs out)."""
    need_dask()
    with started(root / "here") as here:
        trial = _OnSlurm(root, here)
        trial.disturbed(cancels, node)
        if minute:
            trial.out_of_time()
    return trial.figures | {"problems": trial.problems}


class _OnSlurm:
    """Tasks go on without a pause while faults happen; what was seen is in `figures` and `problems`."""

    def __init__(self, root: Path, here: RealSlurm) -> None:
        self.figures: dict[str, Any] = {"tasks": 0}
        self.problems: list[str] = []
        self._root, self._here, self._epoch = root, here, 0

    def disturbed(self, cancels: int, node: bool) -> None:
        """Faults that take a worker or more away, each after all are back from the one before."""
        back: dict[str, float] = {}

        async def faults(engine: Any) -> None:
            async def recovers(what: str) -> None:
                begin = time.monotonic()
                await until(lambda: engine.slots() < 4)
                await until(lambda: engine.slots() == 4 and not engine.message(), 2 * BACK)
                back[what] = max(back.get(what, 0.0), time.monotonic() - begin)

            for _ in range(cancels):
                self._here.ask("scancel", self._here.jobs("RUNNING")[0])
                await recovers("scancel")
            if node:
                self._here.kill("n2")
                for process in self._here.workers("n2"):
                    process.kill()
                await recovers("node")
                self._here.start("n2")
            # Killed, it forgets what is not on disk yet, ends jobs it does not know, and gives numbers twice.
            self._here.kill("slurmctld")
            self._here.workers()[0].kill()
            await until(lambda: "SLURM says" in engine.message())
            self._here.start("slurmctld")
            await recovers("controller")

        self._work("disturbed", 1.0, faults, most_twice=cancels + 2 * node + 3)
        self.figures["scancel"] = cancels
        for what, seconds in back.items():
            self.figures[f"{what}: back after, s"] = round(seconds, 1)
            if seconds > BACK:
                self.problems.append(f"{what}: workers were back after {seconds:.0f} s")

    def out_of_time(self) -> None:
        """Jobs of a minute: each of two is replaced at its end, and takes nothing that it cannot finish."""
        numbers: set[str] = set()

        async def faults(engine: Any) -> None:
            def replaced() -> bool:
                numbers.update(self._here.jobs("RUNNING"))
                return len(numbers) >= 4 and engine.slots() == 4

            await until(replaced, 4 * BACK)

        twice = self._work("out-of-time", 1 / 60, faults, most_twice=0)
        self.figures["begun twice at the end of job time"] = twice

    def _work(self, name: str, hours: float, faults: Any, *, most_twice: int) -> int:
        tally = self._root / name / "tally"
        tally.mkdir(parents=True)

        async def work() -> dict[str, Outcome]:
            engine = self._engine(self._root / name, hours)
            try:
                await until(lambda: engine.slots() == 4, BACK)
                return await kept_busy(engine, tally, 0.25, faults(engine))
            finally:
                await asyncio.to_thread(engine.close)

        seen = asyncio.run(work())
        self.figures["tasks"] += len(seen)
        self.problems += tally_problems(tally, seen, faults=most_twice)
        self.problems += filter(None, [self._here.left_over()])
        return begun_twice(tally)

    def _engine(self, folder: Path, hours: float) -> Any:
        from nextpyp_nb.engine.dask import Dask
        from nextpyp_nb.engine.slurm import JobPlan, Slurm

        self._epoch += 1
        plan = JobPlan(
            name="nextpyp-test", jobs=2, threads=1, memory=0.5, hours=hours, folder=folder / "cluster"
        )
        return Dask(
            Slurm(plan, interval=1.0), session="s", epoch=self._epoch, share=plan.folder, lease=5.0, beat=0.5
        )


def _camera(folder: Path, movies: int) -> Settings:
    """Settings of a session over whole movies of a small detector."""
    camera = Microscope(
        folder / "m", layout="flat", height=512, width=576, frames=8, dose_per_frame=4.0, seed=3
    )
    camera.prepare()
    asyncio.run(camera.run(movies, interval=0))
    return Settings.from_flat({
        "raw_data.location": str(camera.gain_path.parent / "**" / "*.tiff"),
        "gain.reference": str(camera.gain_path), "microscope.pixel_size": 1.3, "microscope.voltage": 300,
        "microscope.amplitude_contrast": 0.1, "microscope.dose": 32, "transfer.settle": 0.5,
        "transfer.scan_interval": 0.2, "picking.radius": 75, "class2d.enable": False,
        "resources.workers": 1, "resources.threads": 1,
    })  # fmt: skip


def _results(root: Path, settings: Settings, kind: type[Runner] = Runner, **resources: Any) -> dict[str, str]:
    """Rows and file hashes of a session of its own."""
    chosen = settings.updated({f"resources.{name}": value for name, value in resources.items()})
    session = create_session("s", settings=chosen, root=root)
    if asyncio.run(run_session(session.folder, until_idle=True, signals=False, kind=kind)):
        raise RuntimeError(f"the session on {resources.get('engine', 'this machine')} failed")
    rows = session.micrographs.set_index("name")
    rows = rows[[name for name in rows.columns if not name.startswith(_TIMED)]]
    found = {f"{index} {name}": repr(row[name]) for index, row in rows.iterrows() for name in rows.columns}
    for path in (path for pattern in _FILES for path in session.folder.glob(pattern)):
        found[str(path.relative_to(session.folder))] = hashlib.blake2b(path.read_bytes()).hexdigest()
    session.close()
    return found
