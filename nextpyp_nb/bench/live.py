"""A collection with all three tracks at once: whether 2D yields, memory stays, and when classes are there."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nextpyp_nb.bench.cost import machine, measured
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Column, Microscope
from nextpyp_nb.tracks.runner import run_session

MB = 1e6
# Movies that wait or are in work at once.
AHEAD = 4
ENOUGH = 10


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
        camera_and_meter = _Camera(session, sorted(hidden.glob("*.tiff")), camera)
        camera_and_meter.start()
        with measured() as cost:
            asyncio.run(run_session(session.folder, until_idle=True, still_coming=camera_and_meter.is_alive))
        camera_and_meter.join()
        found = camera_and_meter.told() | _yielding(session) | _first_classes(session, every)
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


class _Camera(threading.Thread):
    """Shows movies to the session, a few ahead of it, and notes memory and load on the way."""

    def __init__(self, session: Session, movies: list[Path], camera: Path) -> None:
        super().__init__(daemon=True)
        self.session, self.movies, self.camera = session, movies, camera
        self.samples: list[tuple[int, float, float, float, float]] = []

    def run(self) -> None:
        """Until all are through."""
        shown, done, stuck = 0, 0, time.monotonic()
        while done < len(self.movies) and time.monotonic() - stuck < 600:
            before, done = done, len(self.session.micrographs)
            stuck = time.monotonic() if done > before else stuck
            while shown < min(done + AHEAD, len(self.movies)):
                self.movies[shown].rename(self.camera / self.movies[shown].name)
                shown += 1
            self.samples.append((done, *_memory(), os.getloadavg()[0]))
            time.sleep(1)

    def told(self) -> dict[str, Any]:
        """Memory of each kind of process; its slope over the last two thirds."""
        done, *held, load = np.array(self.samples).T
        late = done >= done.max() / 3
        facts: dict[str, Any] = {"movies": len(self.movies), "processed": int(done.max())}
        for name, values in zip(("runner", "movie workers", "2D worker"), held, strict=True):
            kept = late & (values > 0)
            slope = float(np.polyfit(done[kept], values[kept], 1)[0]) if kept.sum() > 2 else None
            facts[f"MB of the {name}, most"] = round(float(values.max()))
            facts[f"MB of the {name}, a movie more"] = None if slope is None else round(slope, 3)
        return facts | {"load on average": round(float(load.mean()), 1), "load, most": float(load.max())}


def _memory() -> tuple[float, float, float]:
    """MB of this process, of its workers, and of the one that yields to all others."""
    own, workers, yielding = psutil.Process(), 0.0, 0.0
    for child in own.children():
        try:
            size = child.memory_info().rss / MB
            if child.nice() > own.nice():
                yielding += size
            else:
                workers += size
        except psutil.Error:
            continue
    return own.memory_info().rss / MB, workers, yielding


def _yielding(session: Session) -> dict[str, Any]:
    """Seconds a micrograph takes its worker while a round is computed, and while none is."""
    table, rounds = session.micrographs, session.rounds
    begun, ended = (table[name].to_numpy("datetime64[ns]") for name in ("started", "finished"))
    beside = np.zeros(len(table), bool)
    alone = np.ones(len(table), bool)
    for row in rounds.itertuples():
        first, last = (np.datetime64(t.tz_localize(None)) for t in (row.started, row.finished))
        beside |= (begun >= first) & (ended <= last)
        alone &= (ended <= first) | (begun >= last)
    work = sum(table[f"seconds_{name}"].to_numpy(float) for name in ("motion", "ctf", "picking"))
    # The first ones compile.
    warm = np.arange(len(table)) >= ENOUGH
    facts: dict[str, Any] = {}
    for name, kept in (("beside a round", beside & warm), ("between rounds", alone & warm)):
        facts[f"micrographs {name}"] = int(kept.sum())
        facts[f"s a micrograph {name}, median"] = (
            round(float(np.median(work[kept])), 3) if kept.any() else None
        )
    return facts


def _first_classes(session: Session, every: int) -> dict[str, Any]:
    """How long after the particles for it were there the first classes were."""
    table, rounds = session.micrographs.sort_values("finished"), session.rounds.sort_values("number")
    there = table["finished"][table["particles"].cumsum() >= every]
    if not len(there) or not len(rounds):
        return {"first classes after, s": None}
    history = session.class_history()
    wait = (rounds["finished"].iloc[0] - there.iloc[0]).total_seconds()
    return {
        "first classes after, s": round(wait, 1), "particles": int(table["particles"].sum()),
        "rounds": len(rounds), "churn of rounds": [None if c != c else round(c, 4) for c in history["churn"]],
        "classes found anew in": history.loc[history["annealed"] == 1, "round"].tolist(),
    }  # fmt: skip
