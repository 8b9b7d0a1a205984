"""F1 and F2: runners killed at every point, and calls that fail, over and over; then all must be there."""

import errno
import random
from collections import Counter
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.faults.points import POINTS, breaker, in_child, killer, watched
from nextpyp_nb.bench.faults.pretend import pretend_session, run, write_movies
from nextpyp_nb.bench.faults.promises import broken, results, unfinished

ERRORS = (errno.EIO, errno.ENOSPC, errno.ESTALE)


def killed(
    root: Path, *, movies: int, kills: int, most: int = 12, seed: int = 1, operation: str = "copy"
) -> dict[str, Any]:
    """Kill the runner ``kills`` times, at each named point in turn, while ``movies`` come in; then finish.

    It dies at the first to the ``most``-th passage of a point; what is passed less often is none.

    What was promised is checked after every kill, and the results must be those of an undisturbed session.
    """
    rng = random.Random(seed)
    cameras = {name: write_movies(root / name, movies, folders=3) for name in ("calm", "wild")}
    calm, wild = (
        pretend_session(root / "sessions", root / name, name, transfer__operation=operation)
        for name in cameras
    )
    with watched(lambda point, count: None) as passed:
        run(calm)
    points = [point for point in POINTS if passed[point] >= most]
    strange = wild.folder / "raw" / ".of-someone-else.part"
    strange.write_bytes(b"not ours")
    died: Counter[str] = Counter()
    problems: list[str] = []
    for number in range(3 * kills):
        if died.total() == kills:
            break
        point = points[number % len(points)]
        act = killer(point, rng.randint(1, most))
        if in_child(lambda act=act: _run_watched(wild, act)) == -9:  # type: ignore[misc]
            died[point] += 1
            problems += broken(wild, cameras["wild"], moved=operation == "move")
    in_child(lambda: run(wild))
    problems += broken(wild, cameras["wild"], moved=operation == "move")
    problems += unfinished(wild, cameras["wild"])
    if strange.read_bytes() != b"not ours":
        problems.append("T8: a partial file of someone else was touched")
    if sorted(results(calm, cameras["calm"]).items()) != sorted(results(wild, cameras["wild"]).items()):
        problems.append("the results differ from those of an undisturbed session")
    return {"movies": movies, "kills": died.total(), "points": len(died), "problems": problems}


def failing_calls(root: Path, *, movies: int, every: int = 1) -> dict[str, Any]:
    """Let each ``every``-th call to the disk fail in turn, with each of the errors; then run in peace."""
    problems, tried, ended = [], 0, Counter[str]()
    calls = _count_calls(root / "count", movies)
    for nth in range(1, calls + 1, every):
        number = ERRORS[nth // every % len(ERRORS)]
        place = root / f"{nth}"
        written = write_movies(place / "camera", movies)
        session = pretend_session(place / "sessions", place / "camera")
        code = in_child(lambda n=nth, e=number, s=session: _run_watched(s, breaker(n, e)))  # type: ignore[misc]
        tried += 1
        ended["went on" if code == 0 else "said so" if code in (1, 99) else f"status {code}"] += 1
        problems += [f"call {nth}, {errno.errorcode[number]}: {text}" for text in broken(session, written)]
        in_child(lambda s=session: _retry_and_run(s))  # type: ignore[misc]
        problems += [
            f"call {nth}, {errno.errorcode[number]}: {text}" for text in unfinished(session, written)
        ]
        session.close()
    return {"calls": calls, "tried": tried, "ended": dict(ended), "problems": problems}


def _run_watched(session: Any, act: Any) -> int:
    with watched(act):
        return run(session)


def _retry_and_run(session: Any) -> int:
    session.retry().wait(5)
    return run(session)


def _count_calls(root: Path, movies: int) -> int:
    write_movies(root / "camera", movies)
    session = pretend_session(root / "sessions", root / "camera")
    with watched(lambda point, count: None) as passed:
        run(session)
    return sum(count for point, count in passed.items() if point.startswith("before"))
