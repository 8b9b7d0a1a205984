"""F9 and F20: runners that race for a session, and 2D rounds that are killed."""

import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.faults.points import in_child, killer, watched
from nextpyp_nb.bench.faults.pretend import pretend_session
from nextpyp_nb.formats.files import published
from nextpyp_nb.session import Session
from nextpyp_nb.session.lease import Held, acquire
from nextpyp_nb.session.store import Fenced, Store

KILLED_AT = (
    "before commit",
    "after commit",
    "before replace",
    "after replace",
    "before fsync",
    "after fsync",
)


def races(root: Path, *, times: int) -> dict[str, Any]:
    """Three processes race ``times`` times for one session; then a writer that slept writes again."""
    session = pretend_session(root / "sessions", root / "camera")
    path, log = session.folder / "session.db", root / "spans"
    for child in range(3):
        log.with_suffix(f".{child}").touch()
    problems, won = [], 0
    for number in range(times):
        gate = time.monotonic() + 0.1
        in_child(lambda n=number, g=gate: _race(path, log, n, g))  # type: ignore[misc]
    spans = sorted(
        tuple(map(int, line.split()))
        for child in range(3)
        for line in log.with_suffix(f".{child}").read_text().splitlines()
    )
    won = len(spans)
    for before, after in itertools.pairwise(spans):
        if before[1] > after[0]:
            problems.append("two writers at once")
        if before[2] >= after[2]:
            problems.append("an epoch was given twice")
    problems += _zombie(path)
    session.close()
    return {"races": times, "leases": won, "problems": problems}


def killed_rounds(root: Path, *, batches: int, kills: int, seed: int = 1) -> dict[str, Any]:
    """Rounds that consume ``batches`` are killed ``kills`` times; each batch must count once at the end.

    The rounds keep their state as those of classification do: a file a round, written whole, with what
    it has counted; the averaging itself is not done.
    """
    rng = random.Random(seed)
    calm, wild = (_with_batches(root / name, batches) for name in ("calm", "wild"))
    in_child(lambda: _classify(calm, batches))
    died, tries = 0, 0
    while died < kills and tries < 4 * kills:
        tries += 1
        act = killer(rng.choice(KILLED_AT), rng.randint(1, 6))
        died += in_child(lambda a=act: _classify_watched(wild, batches, a)) == -9  # type: ignore[misc]
    in_child(lambda: _classify(wild, batches))
    states = [_state(session) for session in (calm, wild)]
    problems = [] if states[0] == states[1] else ["the final state differs from an undisturbed one"]
    problems += [f"batch {b} counts {n} times" for b, n in states[1].items() if n != 1]
    if len(states[1]) != batches:
        problems.append(f"{len(states[1])} of {batches} batches count")
    return {"batches": batches, "kills": died, "problems": problems}


def _race(path: Path, log: Path, number: int, gate: float) -> int:
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                time.sleep(max(0.0, gate - time.monotonic()))
                with Store(path) as store:
                    for _ in range(5):
                        try:
                            lease = acquire(store, patience=0.0)
                        except Held:
                            time.sleep(0.002)
                            continue
                        begin = time.monotonic_ns()
                        time.sleep(0.002)
                        line = f"{begin} {time.monotonic_ns()} {lease.epoch}\n"
                        lease.release()
                        with log.with_suffix(f".{child}").open("a") as out:
                            out.write(line)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return 0


def _zombie(path: Path) -> list[str]:
    with Store(path) as asleep:
        asleep.take_lease(host="far-away", boot_id="x", pid=4, start_time=5)
        with Store(path) as awake:
            awake.take_lease(host="near", boot_id="y", pid=6, start_time=7)
            try:
                asleep.log("late", "the zombie speaks")
            except Fenced:
                awake.release_lease()
                return []
    return ["a zombie's result was taken"]


def _with_batches(root: Path, batches: int) -> Session:
    session = pretend_session(root / "sessions", root / "camera")
    with Store(session.folder / "session.db") as store, acquire(store):
        revision, settings = store.latest_settings()
        ids = store.add_movies([{"name": f"m{n}", "source": f"/c/m{n}", "size": 1} for n in range(batches)])
        with store.transaction():
            for movie in ids:
                store.movie_done(movie, path=f"raw/{movie}", size=1, hash=str(movie))
            for task in store.claim_tasks(batches, "", revision, settings):
                store.commit_micrograph(task, {"particles": 10, "fit_resolution": 3.0, "defocus_u": 1e4})
    return session


def _classify_watched(session: Session, batches: int, act: Any) -> int:
    with watched(act):
        return _classify(session, batches)


def _classify(session: Session, batches: int) -> int:
    """Rounds of 20 more batches each, until all are counted."""
    with Store(session.folder / "session.db") as store, acquire(store):
        store.release_running()
        while True:
            done = _state(session)
            if len(done) == batches:
                return 0
            claimed = store.begin_round(
                ctf_max_resolution=10, key="k", seed=1, revision=1,
                passing=[f"m{n}" for n in range(min(batches, len(done) + 20))],
            )  # fmt: skip
            counted = _counted(session, claimed.previous)
            for batch in claimed.batches:
                if str(batch) not in counted:
                    counted[str(batch)] = 1
            folder = session.folder / "class2d"
            with published(folder / f"{claimed.number}.json") as part:
                part.write_text(json.dumps(counted))
            store.commit_round(claimed.number, [], particles=10 * len(counted), resolution=None, path="")


def _state(session: Session) -> dict[str, int]:
    rounds = session.rounds
    done = rounds[rounds["state"] == "done"]["number"]
    return _counted(session, int(done.max()) if len(done) else None)


def _counted(session: Session, number: int | None) -> dict[str, int]:
    if number is None:
        return {}
    counted: dict[str, int] = json.loads((session.folder / "class2d" / f"{number}.json").read_text())
    return counted
