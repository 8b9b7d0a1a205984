"""F11, F17 and F21: poison movies, long collections, and moves under every condition."""

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nextpyp_nb.bench.faults.pretend import PretendRunner, pretend_session, run, small_movie, write_movies
from nextpyp_nb.bench.faults.work import POISON
from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.session import Session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.compressing import transfer_movie
from nextpyp_nb.tracks.finding import look_at
from nextpyp_nb.tracks.intake import Intake
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.track import Live

DAY, LONG = 86_400.0, 2000


class _Poisoned(PretendRunner):
    """With real workers, which die of it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.movies = self.preprocess.engine = Slots(2)
        self.preprocess.function = "nextpyp_nb.bench.faults.work:poisonous"


def poison(root: Path, *, movies: int, each: int = 1, kinds: tuple[str, ...] = POISON) -> dict[str, Any]:
    """``each`` movies of every kind of poison among ``movies`` good ones: exactly those must be put aside."""
    camera = root / "camera"
    written = write_movies(camera, movies)
    for number, kind in enumerate(kinds * each):
        path = camera / "grid0" / f"{kind}_{number}.tiff"
        path.write_bytes(content := small_movie(5000 + number))
        written[path] = content
    session = pretend_session(root / "sessions", camera, resources__walltime=60)
    run(session, kind=_Poisoned)
    aside = set(session.failed()["movie"])
    expected = {path.stem for path in written if path.stem.partition("_")[0] in POISON}
    problems = [f"{name} is put aside" for name in sorted(aside - expected)]
    problems += [f"{name} is not put aside" for name in sorted(expected - aside)]
    if len(session.micrographs) != movies:
        problems.append(f"{len(session.micrographs)} of {movies} good movies are through")
    return {"movies": movies, "poison": len(expected), "put aside": len(aside), "problems": problems}


def collection(root: Path, *, movies: int, at_once: int = 20) -> dict[str, Any]:
    """A long collection, as quick as it goes: memory and open files of the runner while it grows.

    The slope is judged over `LONG` movies and more; below, threads that are begun weigh more than movies.
    """
    camera = root / "camera"
    write_movies(camera, at_once)
    session = pretend_session(root / "sessions", camera, transfer__operation="link")
    process, samples = psutil.Process(), []

    def act() -> None:
        arrived = at_once
        while arrived < movies:
            for number in range(arrived, arrived + at_once):
                (camera / "grid0" / f"late_{number}.tiff").write_bytes(small_movie(number))
            arrived += at_once
            _until(partial(_reached, session, arrived))
            samples.append((arrived, process.memory_info().rss / 1e6, process.num_fds()))

    acting = threading.Thread(target=act)
    acting.start()
    run(session, still_coming=acting.is_alive)
    acting.join()
    taken, memory, handles = np.array(samples[len(samples) // 3 :]).T
    slope = 1000 * float(np.polyfit(taken, memory, 1)[0])
    problems = (
        [] if len(session.micrographs) == movies else [f"{len(session.micrographs)} of {movies} are through"]
    )
    if movies >= LONG and slope >= 1:
        problems.append(f"memory grows by {slope:.2f} MB per 1,000 movies, expected less than 1")
    if np.ptp(handles) > 4:
        problems.append(f"open files went from {handles.min():.0f} to {handles.max():.0f}")
    return {
        "movies": movies, "MB per 1,000 movies": round(slope, 2), "open files": int(handles.max()),
        "problems": problems,
    }  # fmt: skip


def moves(root: Path, *, wrong: int = 6) -> dict[str, Any]:
    """Up to ``wrong`` of the things that forbid deleting a source, combined; it goes when none does."""
    names = ("opted in", "held long enough", "source as it was", "copy there", "copy as it was", "row done")
    deleted, cases, problems = 0, 0, []
    for number, good in enumerate(itertools.product((True, False), repeat=len(names))):
        if good.count(False) > wrong:
            continue
        gone = _move(root / str(number), dict(zip(names, good, strict=True)))
        cases, deleted = cases + 1, deleted + gone
        if gone != all(good):
            not_so = ", ".join(name for name, is_so in zip(names, good, strict=True) if not is_so)
            problems.append(f"the source {'went' if gone else 'stayed'}; not so: {not_so or 'nothing'}")
    return {"cases": cases, "deleted": deleted, "problems": problems}


def _move(root: Path, good: dict[str, bool]) -> bool:
    ((source, content),) = write_movies(root / "camera", 1).items()
    operation = "move" if good["opted in"] else "copy"
    session = pretend_session(root / "sessions", root / "camera", transfer__operation=operation)
    with Store(session.folder / "session.db") as store, acquire(store):
        revision, settings = store.latest_settings()
        found = look_at(str(source))
        assert found is not None
        done = transfer_movie(found, session.folder / "raw", "m", settings.transfer)
        (movie,) = store.add_movies([{"name": "m", "source": str(source)}])
        if good["row done"]:
            store.movie_done(
                movie, path=done.path, size=done.size, hash=done.digest, mtime_ns=found.mtime_ns,
                source_size=found.size, operation=operation,
            )  # fmt: skip
        if good["held long enough"]:
            store._run("UPDATE movie SET transferred = transferred - ?", DAY)
        if not good["source as it was"]:
            source.write_bytes(content + b"more")
        if not good["copy as it was"]:
            done.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        if not good["copy there"]:
            done.path.unlink()
        logs = Logbook(session.folder)
        intake = Intake(Live(session.folder, store, logs, settings, revision))
        for _ in range(2):
            intake.look()
            intake.release_due()
        logs.close()
    session.close()
    return not source.exists()


def _reached(session: Session, count: int) -> bool:
    """Whether so many are through; without their table, which would be memory of ours."""
    return session.status().tracks["preprocess"].counts["done"] >= count


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
