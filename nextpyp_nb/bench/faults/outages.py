"""F7 and F8: the source goes away, and the session's disk is full, again and again while movies come in."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.faults.pretend import pretend_session, run, small_movie, write_movies
from nextpyp_nb.bench.faults.promises import broken, unfinished
from nextpyp_nb.session import Session

AWAY = "waiting for it to appear"


def vanishing(root: Path, *, times: int, seconds: float = 1.0) -> dict[str, Any]:
    """The camera's folder goes away ``times`` times, for ``seconds``, with a new movie in between."""
    camera = root / "camera"
    written = write_movies(camera, 3)
    session = pretend_session(root / "sessions", camera)
    seen = []

    def act() -> None:
        for number in range(times):
            camera.rename(root / "away")
            time.sleep(seconds)
            _until(lambda: AWAY in _transfer(session).message)
            seen.append(_transfer(session).message)
            (root / "away").rename(camera)
            path = camera / "grid0" / f"new_{number}.tiff"
            path.write_bytes(content := small_movie(1000 + number))
            written[path] = content
            _until(lambda: len(session.micrographs) == len(written))

    _run_beside(session, act)
    said = sum(AWAY in text for text in seen)
    problems = broken(session, written) + unfinished(session, written)
    if not said:
        problems.append("nothing said that the folder was away")
    return {"times": times, "said": said, "movies": len(written), "problems": problems}


def full_disk(root: Path, *, times: int) -> dict[str, Any]:
    """Nothing durable can be written, ``times`` times; each time the track pauses, and goes on by itself."""
    camera = root / "camera"
    written = write_movies(camera, 2)
    session = pretend_session(root / "sessions", camera)
    full, sync = threading.Event(), os.fsync
    paused, waits = 0, []

    def fsync(handle: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    def act() -> None:
        nonlocal paused
        for number in range(times):
            full.set()
            path = camera / "grid0" / f"new_{number}.tiff"
            path.write_bytes(content := small_movie(2000 + number))
            written[path] = content
            begin = time.monotonic()
            _until(lambda: _transfer(session).state == "paused")
            waits.append(time.monotonic() - begin)
            paused += "disk is full" in _transfer(session).message
            full.clear()
            _until(lambda: len(session.micrographs) == len(written))

    os.fsync = fsync
    try:
        _run_beside(session, act)
    finally:
        os.fsync = sync
    problems = broken(session, written) + unfinished(session, written)
    if paused < times:
        problems.append(f"paused {paused} times of {times}")
    if len(session.failed()):
        problems.append(f"{len(session.failed())} movies were blamed")
    return {
        "times": times, "paused": paused, "longest until paused, s": round(max(waits, default=0.0), 1),
        "problems": problems,
    }  # fmt: skip


def _transfer(session: Session) -> Any:
    return session.status().tracks["transfer"]


def _run_beside(session: Session, act: Callable[[], None]) -> None:
    acting = threading.Thread(target=act)
    acting.start()
    run(session, still_coming=acting.is_alive)
    acting.join()
    run(session)


def _until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.05)
