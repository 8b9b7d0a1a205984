"""The right to work, for a time: a worker out of touch ends its work before others do it again.

The deadline lies in a small file that the processes of one worker map into memory. Its clock counts seconds
since the machine booted, sleep included: a process that was stopped finds its time over when it goes on.
"""

import math
import mmap
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

_NUMBER = struct.Struct("d")


def now() -> float:
    """Seconds since this machine booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WorkLease:
    """A deadline that one process moves and others keep."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self.path = path
        if make:
            path.write_bytes(_NUMBER.pack(-math.inf))
        with path.open("r+b" if make else "rb") as stream:
            access = mmap.ACCESS_WRITE if make else mmap.ACCESS_READ
            self._shared = mmap.mmap(stream.fileno(), _NUMBER.size, access=access)

    def extend(self, until: float) -> None:
        """Move the deadline, never back."""
        if until > self.until:
            _NUMBER.pack_into(self._shared, 0, until)

    @property
    def until(self) -> float:
        """The deadline, by `now`."""
        return float(_NUMBER.unpack_from(self._shared)[0])

    def holds(self) -> bool:
        """Whether work may go on."""
        return now() < self.until


def keep(path: Path) -> None:
    """End this process when the lease at ``path`` is over, at the latest before it renames a file."""
    lease = WorkLease(path)
    fence(lease)

    def watch() -> None:
        while lease.holds():
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def fence(lease: WorkLease) -> None:
    """Let this process rename nothing, which is how files are published, when the lease is over: it ends."""

    def check(event: str, _: tuple[Any, ...]) -> None:
        if event == "os.rename" and not lease.holds():
            os.kill(os.getpid(), signal.SIGKILL)

    # Python tells of each rename before it is made.
    sys.addaudithook(check)
