"""F16: what a session of many movies costs: to open, to filter, to look once more, and for one movie more."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from nextpyp_nb.bench.faults.pretend import pretend_session, small_movie
from nextpyp_nb.session import Session, open_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.intake import Intake
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.track import Live

FOLDERS = 80
MORE = 20


def large_session(root: Path, *, movies: int, open_within: float = 2.0) -> dict[str, Any]:
    """A session of ``movies`` done movies whose sources all lie there; CPU seconds of this process."""
    camera = root / "camera"
    session = pretend_session(root / "sessions", camera, transfer__operation="link")
    sources = _sources(camera, movies + MORE)
    figures: dict[str, Any] = {"movies": movies}
    with _running(session) as (store, intake_of):
        _fill(store, sources[:movies])
        fresh = open_session(session.name, root=root / "sessions")
        figures["open, s"] = _cost(lambda: (fresh.status(), fresh.micrographs))
        figures["status, s"] = _cost(fresh.status)
        figures["filter, s"] = _cost(lambda: fresh.filtered("fit_resolution<=4 & particles>=10"))
        before = psutil.Process().memory_info().rss
        intake = intake_of()
        for source in sources[movies:]:
            intake.busy.add(str(source))
        figures["first look, s"] = _cost(intake.look)
        figures["another look, s"] = _cost(intake.look)
        figures["memory of the looks, MB"] = round((psutil.Process().memory_info().rss - before) / 1e6)
        figures["one movie more, ms"] = round(1000 * _cost(lambda: _fill(store, sources[movies:])) / MORE, 1)
        figures["table after it, s"] = _cost(lambda: fresh.micrographs)
        counted = len(fresh.micrographs)
        fresh.close()
    session.close()
    problems = [] if counted == movies + MORE else [f"{counted} micrographs, expected {movies + MORE}"]
    if figures["open, s"] > open_within:
        problems.append(f"opening takes {figures['open, s']} s, expected at most {open_within}")
    return figures | {"problems": problems}


@contextmanager
def _running(session: Session) -> Iterator[tuple[Store, Callable[[], Intake]]]:
    with Store(session.folder / "session.db") as store, acquire(store):
        logs = Logbook(session.folder)
        revision, settings = store.latest_settings()
        yield store, lambda: Intake(Live(session.folder, store, logs, settings, revision))
        logs.close()


def _sources(camera: Path, count: int) -> list[Path]:
    first = camera / "g0" / "m0.tiff"
    first.parent.mkdir(parents=True)
    first.write_bytes(small_movie(0))
    sources = [first]
    for n in range(1, count):
        path = camera / f"g{n % FOLDERS}" / f"m{n}.tiff"
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(first)
        sources.append(path)
    return sources


def _fill(store: Store, sources: list[Path]) -> None:
    """Take each source and process it as the runner does, 100 in a transaction."""
    revision, settings = store.latest_settings()
    for begin in range(0, len(sources), 100):
        with store.transaction():
            some = sources[begin : begin + 100]
            stat = some[0].stat()
            size, mtime_ns = stat.st_size, stat.st_mtime_ns
            rows = [{"name": p.stem, "source": str(p), "size": size, "mtime_ns": mtime_ns} for p in some]
            for movie, path in zip(store.add_movies(rows), some, strict=True):
                store.movie_done(movie, path=path, size=stat.st_size, hash="", operation="link")
            for n, task in enumerate(store.claim_tasks(len(some), "", revision, settings)):
                store.commit_micrograph(task, {
                    "n_frames": 2, "defocus_u": 9000.0 + n, "defocus_v": 8900.0 + n,
                    "fit_resolution": 3 + n / 50, "particles": 3 * n, "total_motion": 4.0,
                })  # fmt: skip


def _cost(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return round(time.process_time() - begin, 3)
