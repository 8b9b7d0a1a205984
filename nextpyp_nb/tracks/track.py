"""One loop for all tracks: look, work, wait; started, drained and paused from outside."""

import asyncio
import contextlib
import errno
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.logbook import Logbook

# Free bytes that end the wait of a full disk: well above what one movie takes, so that it does not flutter.
ROOM = 1 << 30


@dataclass(slots=True)
class Live:
    """What the tracks of a running session share."""

    folder: Path
    store: Store
    logs: Logbook
    settings: Settings
    revision: int
    until_idle: bool = False
    woken: dict[str, asyncio.Event] = field(default_factory=dict)

    def wake(self, track: str) -> None:
        """Let ``track`` look at once."""
        if track in self.woken:
            self.woken[track].set()


class Track:
    """A track does one `step` after another while it is wanted; subclasses say what a step is."""

    name = ""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.wanted = False
        self.trouble = ""
        self.full = False
        self.stopping = False
        self._wake = live.woken.setdefault(self.name, asyncio.Event())

    async def step(self) -> float:
        """Do what there is to do now; returns seconds until the next look."""
        raise NotImplementedError

    def busy(self) -> bool:
        """Whether work is in flight."""
        return False

    def idle(self) -> bool:
        """Whether nothing is left to do with what there is now."""
        return not self.busy()

    def message(self) -> str:
        """One sentence: what the track does now."""
        return ""

    def start(self) -> None:
        """Want work from now on."""
        self.wanted, self.stopping, self.trouble = True, False, ""
        self._publish()
        self._wake.set()

    def stop(self) -> None:
        """Take no more work; what is in flight is finished."""
        self.wanted = False
        self.stopping = self.busy()
        self._publish()
        self._wake.set()

    def pause(self, reason: str) -> None:
        """Stop for a reason that a person must see; Start goes on."""
        self.wanted, self.trouble = False, reason
        self.log("error", "paused", reason)
        self._publish()

    def log(self, level: str, code: str, text: str, movie: str | None = None) -> None:
        """Write an event to the session and to the track's log."""
        self.live.logs[self.name].log(LEVELS[level], text, extra={"movie": movie})
        self.live.store.log(code, text, track=self.name, movie=movie, level=level)

    async def run(self) -> None:
        """Go on for the life of the runner."""
        while True:
            try:
                wait = await self._turn()
            except OSError as error:
                # Not even the session's own disk takes a word: wait for room, nothing is dropped.
                self.trouble, self.full, wait = explain(error), is_full(error), 5.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            self._wake.clear()

    async def _turn(self) -> float:
        wait = 1.0
        if self.wanted:
            wait = await self._guarded_step()
        elif self.stopping and not self.busy():
            self.stopping = False
            self.log("info", "stopped", "stopped; everything in flight is finished")
        self._publish()
        return wait

    async def _guarded_step(self) -> float:
        """An error in a step is said and tried again; it ends neither this track nor the others."""
        try:
            if self.full:
                await asyncio.to_thread(room_for, self.live.folder, ROOM)
                self.full = False
            wait = await self.step()
        except OSError as error:
            said = self.trouble
            self.trouble, self.full = explain(error), is_full(error)
            if said != self.trouble:
                self.log("error", "trouble", self.trouble)
            return 5.0
        if self.trouble and self.wanted:
            self.log("info", "resumed", f"goes on: {self.trouble} is over")
            self.trouble = ""
        return wait

    def state(self) -> str:
        """running, stopping, paused or stopped."""
        if self.wanted:
            return "paused" if self.trouble else "running"
        return "stopping" if self.stopping else ("paused" if self.trouble else "stopped")

    def _publish(self) -> None:
        message = self.trouble or (self.message() if self.state() in ("running", "stopping") else "")
        self.live.store.set_track(self.name, wanted=self.wanted, state=self.state(), message=message)


LEVELS = {"info": 20, "warning": 30, "error": 40}


def is_full(error: OSError) -> bool:
    """Whether there is no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def room_for(folder: Path, size: int) -> None:
    """Raise the error of a full disk unless ``size`` bytes are free in ``folder`` and it takes a file."""
    probe = folder / ".room.part"
    try:
        with probe.open("wb") as out:
            out.write(bytes(1 << 20))
            out.flush()
            os.fsync(out.fileno())
    finally:
        probe.unlink(missing_ok=True)
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))


def explain(error: OSError) -> str:
    """A sentence for the errors people meet."""
    where = f" ({error.filename})" if error.filename else ""
    if is_full(error):
        return f"the disk is full{where}; free some space, the session goes on by itself"
    if error.errno == 13:
        return f"no permission{where}; ask for access, the session goes on by itself"
    return str(error)
