"""Named points at which a session can be killed, or a call made to fail: every change of the disk is one."""

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CALLS = ("fsync", "link", "symlink", "unlink", "rename", "replace", "utime")
# A write and a commit are points too; "after" is when the call has done its work and nobody knows yet.
POINTS = tuple(f"{when} {call}" for call in (*CALLS, "write", "commit") for when in ("before", "after"))

Act = Callable[[str, int], None]


@contextmanager
def watched(act: Act) -> Iterator[Counter[str]]:
    """Call ``act(point, count)`` at every point that is passed meanwhile; gives how often each was."""
    passed: Counter[str] = Counter()

    def at(point: str) -> None:
        passed[point] += 1
        act(point, passed[point])

    def around(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def both(*arguments: Any, **options: Any) -> Any:
            at(f"before {name}")
            result = call(*arguments, **options)
            at(f"after {name}")
            return result

        return both

    kept = {name: getattr(os, name) for name in CALLS}
    opened, connected = Path.open, sqlite3.connect

    def open_watched(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = opened(path, mode, *arguments, **options)
        return _Written(file, around) if "w" in mode and "b" in mode else file

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            call = super().execute
            return (around("commit", call) if sql == "COMMIT" else call)(sql, *arguments)

    try:
        for name, call in kept.items():
            setattr(os, name, around(name, call))
        Path.open = open_watched  # type: ignore[method-assign, assignment]
        sqlite3.connect = lambda *a, **o: connected(*a, **{"factory": Connection} | o)  # type: ignore
        yield passed
    finally:
        for name, call in kept.items():
            setattr(os, name, call)
        Path.open, sqlite3.connect = opened, connected  # type: ignore[method-assign]


class _Written:
    """A file whose writes are points."""

    def __init__(self, file: Any, around: Any) -> None:
        self._file = file
        self.write = around("write", file.write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def killer(point: str, count: int) -> Act:
    """Kill this process, beyond all appeal, when ``point`` is passed for the ``count``-th time."""

    def act(here: str, passed: int) -> None:
        if (here, passed) == (point, count):
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def breaker(nth: int, number: int) -> Act:
    """Make the ``nth`` call fail with the error ``number``, once; a commit fails as SQLite says it."""
    calls = 0

    def act(here: str, passed: int) -> None:
        nonlocal calls
        if not here.startswith("before"):
            return
        calls += 1
        if calls == nth:
            if here == "before commit":
                raise sqlite3.OperationalError("disk I/O error")
            raise OSError(number, os.strerror(number))

    return act


def in_child(work: Callable[[], int], quiet: bool = True) -> int:
    """Run ``work`` in a forked process; its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if quiet:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
