"""One runner per session: a lock on the host, and a lease whose epoch fences older runners off."""

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil

from nextpyp_nb.session.store import Fenced, Store

DEAD_AFTER = 5.0


class Held(RuntimeError):
    """Another runner has the session."""

    def __init__(self, name: str, host: str | None, pid: int | None) -> None:
        self.host, self.pid = host, pid
        where = f" on {host}, process {pid}" if host else " elsewhere"
        super().__init__(f"session {name} is running already{where}; stop it there first")


class Lease:
    """The right to write a session, until released."""

    def __init__(self, store: Store, lock: int, epoch: int) -> None:
        self._store, self._lock, self.epoch = store, lock, epoch

    def beat(self) -> None:
        """Say every second that we are alive; raises `Fenced` when another took over."""
        self._store.beat()

    def release(self) -> None:
        """Give the session back."""
        try:
            self._store.release_lease()
        except Fenced:
            # Another runner has it already: there is nothing to give back.
            pass
        finally:
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def acquire(store: Store, *, patience: float = DEAD_AFTER + 1.0) -> Lease:
    """Become the session's writer, or raise `Held`; another host's runner is watched for ``patience`` s."""
    folder = store.path.parent
    lock = lock_session(folder)
    try:
        row = store.lease_row()
        if lock is None or not _gone(store, row, patience):
            raise Held(folder.name, row["host"], row["pid"])
        pid = os.getpid()
        epoch = store.take_lease(
            host=socket.gethostname(), boot_id=boot_id(), pid=pid, start_time=start_time(pid)
        )
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise
    return Lease(store, lock, epoch)


def runner_state(row: Mapping[str, Any]) -> str:
    """running, stopped, or stale (it died without saying so), from a lease row."""
    if row["host"] is None:
        return "stopped"
    if row["host"] == socket.gethostname():
        return "running" if _process_lives(row) else "stale"
    return "running" if time.time() - row["beat"] <= DEAD_AFTER else "stale"


def alive(row: Mapping[str, Any]) -> bool:
    """Whether the runner of a lease row works."""
    return runner_state(row) == "running"


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot: tells it from a later one of the same number."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@cache
def boot_id() -> str:
    """Tells this boot of the machine from the one before."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _process_lives(row: Mapping[str, Any]) -> bool:
    if row["boot_id"] != boot_id():
        return False
    try:
        return start_time(row["pid"]) == row["start_time"] and (
            psutil.Process(row["pid"]).status() != psutil.STATUS_ZOMBIE
        )
    except (OSError, ValueError, psutil.Error):
        return False


def _gone(store: Store, row: Mapping[str, Any], patience: float) -> bool:
    if row["host"] is None:
        return True
    if row["host"] == socket.gethostname():
        return not _process_lives(row)
    # Clocks of two machines differ: what counts is whether its beat moves while we look.
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(min(0.5, patience))
        now = store.lease_row()
        if (now["epoch"], now["beat"]) != (row["epoch"], row["beat"]):
            return now["host"] is None
    return True


def lock_session(folder: Path) -> int | None:
    """The lock of a session on this host, or None when someone holds it; close it to give it back.

    Nobody else may open the file: whoever reads it could hold the lock and keep the runner out.
    """
    handle = os.open(folder / "runner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
