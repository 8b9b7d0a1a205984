"""A collection with all three tracks at once: whether 2D yields, memory stays, and when classes are there."""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from nextpyp_nb.bench.cost import machine, measured
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Column, Microscope
from nextpyp_nb.tracks.runner import run_session

# Movies under way at once; those that compile; s until nothing moves; s of a turn with or without 2D.
AHEAD, ENOUGH, STUCK, TURN = 4, 10, 600.0, 10.0
KINDS = ("runner", "workers", "2D")


def bench_live(*, movies: int, side: int, frames: int, every: int, seed: int, out: Path | None) -> int:
    """Run ``movies`` simulated movies (``side`` px, ``frames``) through a session, a round each ``every``.

    They are made before and come as fast as the session takes them. Prints what came of it, as JSON.
    """
    with tempfile.TemporaryDirectory(prefix="nextpyp-live-") as place:
        hidden, camera = Path(place) / "made", Path(place) / "camera"
        sizes = {"height": side, "width": side, "frames": frames}
        microscope = Microscope(hidden, seed=seed, layout="flat", **sizes)
        options = [f"--{name}={value}" for name, value in (sizes | {"movies": movies, "seed": seed}).items()]
        # In a process of its own, so that its memory is not the session's.
        subprocess.run(
            [sys.executable, "-m", "nextpyp_nb.simulate", str(hidden), *options,
             "--layout=flat", "--interval=0", "--write-seconds=0"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        camera.mkdir()
        session = _session(Path(place), camera, microscope, every)
        # The runner too has a process of its own, as in a session: what watches it does not count.
        apart = multiprocessing.get_context("spawn")
        coming = apart.Event()
        coming.set()
        runner = apart.Process(target=_run, args=(session.folder, coming))
        with measured() as cost:
            runner.start()
            camera_and_meter = _Camera(
                session, sorted(hidden.glob("*.tiff")), camera, psutil.Process(runner.pid)
            )
            camera_and_meter.run()
            coming.clear()
            runner.join()
        found = camera_and_meter.told() | _first_classes(session, every)
    found |= {f"{name}, all processes": value for name, value in cost.items()}
    text = json.dumps({"machine": machine(), **found}, indent=1)
    sys.stdout.write(text + "\n")
    if out is not None:
        out.write_text(text + "\n")
    return 0 if found["processed"] == movies else 1


def _session(root: Path, camera: Path, microscope: Microscope, every: int) -> Session:
    column: Column = microscope.column
    settings = Settings.from_flat(
        {
            "raw_data.location": str(camera / "*.tiff"), "gain.reference": str(microscope.gain_path),
            "microscope.pixel_size": column.pixel_size, "microscope.voltage": column.voltage,
            "microscope.amplitude_contrast": column.amplitude_contrast,
            "microscope.dose": column.dose_per_frame * column.frames, "transfer.operation": "copy",
            "transfer.settle": 0.5, "transfer.scan_interval": 1.0, "picking.radius": 75,
            "class2d.first": every, "class2d.increment": every,
        }
    )  # fmt: skip
    return create_session("live", settings=settings, root=root / "sessions")


def _run(folder: Path, coming: Any) -> None:
    """Be the runner of the session while movies are ``coming``, and until all are through."""
    sys.exit(asyncio.run(run_session(folder, until_idle=True, still_coming=coming.is_set)))


class _Camera:
    """Shows movies to the session, a few ahead of it; notes what its processes hold and take on the way.

    From the first classes on the worker of 2D is stopped and let go on in turn, so that pre-processing beside
    it and without it is compared whatever else the machine does.
    """

    def __init__(self, session: Session, movies: list[Path], camera: Path, runner: psutil.Process) -> None:
        self.session, self.movies, self.camera, self.runner = session, movies, camera, runner
        self.samples: list[dict[str, float]] = []

    def run(self) -> None:
        """Until all are through."""
        shown, done, stuck = 0, 0, time.monotonic()
        while done < len(self.movies) and time.monotonic() - stuck < STUCK:
            before, done = done, len(self.session.micrographs)
            stuck = time.monotonic() if done > before else stuck
            while shown < min(done + AHEAD, len(self.movies)):
                self.movies[shown].rename(self.camera / self.movies[shown].name)
                shown += 1
            states = self.session.rounds["state"].tolist()
            stopped = "done" in states and time.monotonic() % (2 * TURN) < TURN
            beside = 0.0 if stopped or "running" not in states else 1.0
            now = {"time": time.monotonic(), "done": done, "beside": beside, "load": os.getloadavg()[0]}
            self.samples.append(now | _processes(self.runner, stopped))
            time.sleep(1)
        _processes(self.runner, False)

    def told(self) -> dict[str, Any]:
        """Memory of each kind of process, its slope over the last two thirds, and what 2D costs others."""
        table = pd.DataFrame(self.samples)
        late = table[table["done"] >= table["done"].max() / 3]
        facts: dict[str, Any] = {"movies": len(self.movies), "processed": int(table["done"].max())}
        for name in KINDS:
            kept = late[late[f"{name} MB"] > 0]
            slope = float(np.polyfit(kept["done"], kept[f"{name} MB"], 1)[0]) if len(kept) > 2 else None
            facts[f"{name}: MB, most; a movie more"] = [float(table[f"{name} MB"].max()), slope]
        steps = table.diff().assign(beside=table["beside"].shift())[table["done"].shift() >= ENOUGH]
        for name, part in (("beside 2D", 1), ("without", 0)):
            total = steps[steps["beside"] == part].sum()
            each = [total[column] / max(total["done"], 1) for column in ("time", "workers CPU-s")]
            facts[f"{name}: micrographs; s and worker's CPU-s of each"] = [
                int(total["done"]),
                *map(float, each),
            ]
        return facts | {"load": [float(table["load"].mean()), float(table["load"].max())]}


def _processes(runner: psutil.Process, stopped: bool) -> dict[str, float]:
    """MB and CPU-s of the runner, its workers and that of 2D (lower in priority), which may be stopped."""
    found = dict.fromkeys((f"{name} {unit}" for name in KINDS for unit in ("MB", "CPU-s")), 0.0)
    try:
        usual, processes = runner.nice(), (runner, *runner.children())
    except psutil.NoSuchProcess:
        return found
    for process in processes:
        try:
            name = "runner" if process == runner else "2D" if process.nice() > usual else "workers"
            if name == "2D":
                process.suspend() if stopped else process.resume()
            found[f"{name} MB"] += process.memory_info().rss / 1e6
            found[f"{name} CPU-s"] += sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return found


def _first_classes(session: Session, every: int) -> dict[str, Any]:
    """How long after the particles for it were there the first classes were."""
    table, rounds = session.micrographs.sort_values("finished"), session.rounds.sort_values("number")
    there = table["finished"][table["particles"].cumsum() >= every]
    if not len(there) or not len(rounds):
        return {"first classes after, s": None}
    history = session.class_history().astype({"churn": float})
    wait = (rounds["finished"].iloc[0] - there.iloc[0]).total_seconds()
    return {
        "first classes after, s": round(wait, 1), "particles": int(table["particles"].sum()),
        "rounds": len(rounds), "churn of rounds": [None if c != c else round(c, 4) for c in history["churn"]],
        "classes found anew in": history.loc[history["annealed"] == 1, "round"].tolist(),
    }  # fmt: skip
