"""How fast movies come in, and whether a session keeps up: copying against dd, and a pretended day."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.bench.faults.pretend import PretendRunner, pretend_session, run, small_movie
from nextpyp_nb.settings.transfer import Transfer
from nextpyp_nb.tracks.compressing import transfer_movie
from nextpyp_nb.tracks.finding import look_at

MB = 1 << 20


def bench_rates(
    *, movies: int, per_minute: float, cost: float, scale: float, megabytes: int, out: Path | None
) -> int:
    """Print both measurements; 1 when the copy falls below 80 % of dd or a backlog grows."""
    with tempfile.TemporaryDirectory(prefix="nextpyp-rates-") as place:
        copying = copy_rates(Path(place), megabytes=megabytes)
        collection = backlog(Path(place), movies=movies, per_minute=per_minute, cost=cost, scale=scale)
    found = {"copying": copying, "collection": collection}
    text = json.dumps(found, indent=1)
    sys.stdout.write(text + "\n")
    if out is not None:
        out.write_text(text)
    return 0 if copying["copy / dd"] >= 0.8 and collection["backlog grows by"] <= 2 else 1


def copy_rates(root: Path, *, megabytes: int, rounds: int = 15) -> dict[str, Any]:
    """A file of so many MB by dd with fsync, and by us as copy and as move up to the deletion, in turn.

    MB/s, medians over ``rounds``, and medians of what each round gave against its dd: a disk that others
    use too changes from round to round. All read the same file, which lies in memory after the first time.
    """
    source = root / "movie.tiff"
    with source.open("wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(MB))
    found = look_at(str(source))
    assert found is not None
    ways = {
        "dd": lambda: subprocess.run(
            ["dd", f"if={source}", f"of={root / 'dd'}", "bs=4M", "conv=fsync"],
            check=True,
            capture_output=True,
        ),
        "copy": lambda: transfer_movie(found, root / "raw", "m", Transfer(operation="copy")),
        "move": lambda: transfer_movie(found, root / "raw", "m", Transfer(operation="move")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.monotonic()
            way()
            seconds[name].append(time.monotonic() - begin)
            for made in (root / "dd", root / "raw" / "m.tiff"):
                made.unlink(missing_ok=True)
    rate = {name: megabytes / statistics.median(taken) for name, taken in seconds.items()}
    return {f"{name}, MB/s": round(value) for name, value in rate.items()} | {
        f"{name} / dd": round(float(np.median(np.divide(seconds["dd"], seconds[name]))), 2)
        for name in ("copy", "move")
    }  # fmt: skip


def backlog(root: Path, *, movies: int, per_minute: float, cost: float, scale: float) -> dict[str, Any]:
    """A collection of ``movies`` whose kernels sleep ``cost`` s each; time runs ``scale`` times as fast.

    Transfer, database and tracks are real and do not run faster: they weigh ``scale`` times as much.
    """
    camera = root / "camera"
    camera.mkdir()
    session = pretend_session(root / "sessions", camera)
    (session.folder / "cost").write_text(str(cost / scale))
    interval, samples, late = 60 / per_minute / scale, [], 0

    def collect() -> None:
        nonlocal late
        begin = time.monotonic()
        for number in range(movies):
            due = begin + number * interval
            late += time.monotonic() > due + interval
            time.sleep(max(0.0, due - time.monotonic()))
            part = camera / f".{number}"
            part.write_bytes(small_movie(number))
            part.rename(camera / f"m{number:05d}.tiff")
            if number % 20 == 19:
                samples.append(number + 1 - len(session.micrographs))

    collecting = threading.Thread(target=collect)
    collecting.start()
    run(session, still_coming=collecting.is_alive, kind=PretendRunner)
    collecting.join()
    third = max(1, len(samples) // 3)
    return {
        "movies": movies, "per minute": per_minute, "pretended cost, s": cost, "time runs faster by": scale,
        "processed": len(session.micrographs), "written late": late,
        "median on the way, first third": statistics.median(samples[:third]),
        "median on the way, last third": statistics.median(samples[-third:]),
        "most on the way": max(samples),
        "backlog grows by": statistics.median(samples[-third:]) - statistics.median(samples[:third]),
    }  # fmt: skip
