"""File transfer: find what is whole, bring it into the session, make it ready for pre-processing."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from nextpyp_nb.session.journal import note
from nextpyp_nb.session.places import PART
from nextpyp_nb.session.reach import confined
from nextpyp_nb.settings import read_site
from nextpyp_nb.settings.raw_data import is_remote, places
from nextpyp_nb.tracks.compressing import transfer_movie
from nextpyp_nb.tracks.copying import Conflict, Throttle
from nextpyp_nb.tracks.finding import watched_folder
from nextpyp_nb.tracks.intake import Intake, Looked, Ready
from nextpyp_nb.tracks.manifest import Manifest
from nextpyp_nb.tracks.side_files import SideFiles
from nextpyp_nb.tracks.track import Live, Track, explain, is_full

IN_FLIGHT = 2
QUIET_LOOKS = 3
OUT_OF_REACH = 3
# One in so many is the oldest that waits: newest first for feedback, but nothing starves.
OLDEST_EVERY = 4


class TransferTrack(Track):
    """Looks at the microscope's folder again and again; a file watcher only makes it look sooner."""

    name = "transfer"

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        for part in (live.folder / "raw").rglob(f".*{PART}"):
            part.unlink(missing_ok=True)
        self._intake = Intake(live)
        self._manifest = Manifest(live.folder, live.store)
        self._side_files = SideFiles(live)
        self._throttle = Throttle(0.0)
        self._data_roots = read_site().data_roots
        self._queue: list[Ready] = []
        self._moving: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._releasing: asyncio.Task[None] | None = None
        self._waiting: dict[Path, str] = {}
        self._away = ""
        self._set_off_count = 0
        self._quiet = 0
        self._not_before = 0.0
        self._out_of_reach = 0
        self._watcher: Any = None

    def apply_settings(self) -> None:
        """Begin anew with the settings as they are now; nothing that was taken is forgotten."""
        self._queue.clear()
        self._intake.begin_anew()
        self._side_files.begin_anew()
        self._unwatch()

    async def step(self) -> float:
        """One look at the folder; whole movies set off."""
        chosen = self.live.settings.transfer
        self._throttle.rate = chosen.bandwidth * 1e6
        # A look may cost at most a tenth of the time, however often the watcher wakes us.
        await asyncio.sleep(self._not_before - time.monotonic())
        begin = time.monotonic()
        self._out_of_reach += 1
        looked = await asyncio.to_thread(self._intake.look)
        self._out_of_reach = 0
        self._watch(self.live.settings.raw_data.location)
        self._line_up(looked)
        self._release()
        brought = await asyncio.to_thread(self._side_files.bring, looked.listing, self._throttle)
        active = looked.ready or looked.waiting or self._tasks or self._intake.held or brought
        self._quiet = 0 if active else self._quiet + 1
        self._not_before = time.monotonic() + 9 * (time.monotonic() - begin)
        return 0.5 if looked.ready else chosen.scan_interval

    def busy(self) -> bool:
        """Whether movies are being transferred."""
        return bool(self._tasks)

    def idle(self) -> bool:
        """Whether several looks in a row found nothing new and nothing settling."""
        return self._quiet >= QUIET_LOOKS and not self._tasks

    def look_again(self) -> None:
        """Be idle only after as many quiet looks from now on."""
        self._quiet = 0

    def message(self) -> str:
        """What is being transferred, or what is waited for."""
        if self._moving:
            verb = {"link": "linking", "copy": "copying", "move": "moving"}[
                self.live.settings.transfer.operation
            ]
            more = f", {len(self._queue):,} more wait" if self._queue else ""
            return f"{verb} {', '.join(list(self._moving.values())[:2])}{more}"
        if self._away:
            return self._away
        if self._waiting:
            source, reason = next(iter(self._waiting.items()))
            return f"{source.name}: {reason}"
        location = self.live.settings.raw_data.location
        return f"watching {location if is_remote(location) else watched_folder(location)}"

    def hopeless(self) -> bool:
        """Whether the folder has been out of reach for so long that waiting for it makes no sense."""
        return self._out_of_reach >= OUT_OF_REACH and not self._tasks

    async def finish(self) -> None:
        """Stop watching and wait for the transfers in flight: a copy under way is not thrown away."""
        self._unwatch()
        self._queue.clear()
        self._intake.due.clear()
        releasing = [] if self._releasing is None else [self._releasing]
        await asyncio.gather(*self._tasks, *releasing, return_exceptions=True)

    def _line_up(self, looked: Looked) -> None:
        if looked.generation != self._intake.generation:
            return
        for movie in looked.ready:
            self._intake.busy.add(str(movie.found.source))
        self._queue = sorted([*self._queue, *looked.ready], key=lambda movie: movie.found.mtime_ns)
        self._waiting, self._away = looked.waiting, "; ".join(looked.listing.away.values())
        self._fill_lanes()

    def _release(self) -> None:
        """Moved movies are read again beside the looks: that takes as long as the disk wants."""
        if self._releasing is not None and self._releasing.done():
            self._releasing.result()
            self._releasing = None
        if self._intake.due and self._releasing is None:
            self._releasing = asyncio.create_task(asyncio.to_thread(self._intake.release_due))

    def _fill_lanes(self) -> None:
        while self.wanted and not self.full and self._queue and len(self._tasks) < IN_FLIGHT:
            self._set_off_count += 1
            movie = self._queue.pop(0 if self._set_off_count % OLDEST_EVERY == 0 else -1)
            self._moving[movie.id] = movie.name
            task = asyncio.create_task(self._transfer(movie))
            self._tasks.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._fill_lanes()

    async def _transfer(self, movie: Ready) -> None:
        store, chosen = self.live.store, self.live.settings.transfer
        try:
            store.movie_transferring(movie.id, chosen.operation)
            done = await asyncio.to_thread(
                transfer_movie, movie.found, self.live.folder / "raw", movie.name, chosen, self._throttle,
                confined(str(movie.found.source), self._data_roots),
            )  # fmt: skip
            self._manifest.add(done)
            taken = {
                "path": str(done.path), "size": done.size, "hash": done.digest,
                "mtime_ns": movie.found.mtime_ns, "source_size": movie.found.size,
                "inode": movie.found.inode, "operation": chosen.operation, "note": movie.note or None,
            }  # fmt: skip
            store.movie_done(movie.id, **taken)
            note(self.live.folder, "movie", {"name": movie.name, "source": str(movie.found.source), **taken})
            self._intake.taken(str(movie.found.source), chosen.operation)
            self._tell(movie)
            self.live.wake("preprocess")
        except Conflict as error:
            store.movie_failed(movie.id, str(error), state="conflict")
        except (OSError, ValueError) as error:
            self._take_failure(movie.id, error)
        finally:
            self._intake.leave(movie.found.source)
            self._moving.pop(movie.id, None)

    def _tell(self, movie: Ready) -> None:
        self.live.logs[self.name].info("transferred", extra={"movie": movie.name})
        if movie.note:
            self.log("warning", "short", f"{movie.note}; it is taken as it is", movie.name)

    def _take_failure(self, movie_id: int, error: Exception) -> None:
        if isinstance(error, OSError) and is_full(error):
            # Not the movie's fault: it waits as it was found.
            self.full, self.trouble = True, explain(error)
            with contextlib.suppress(OSError):
                self.live.store.release_transfers([movie_id])
            return
        reason = explain(error) if isinstance(error, OSError) else str(error)
        self.live.store.movie_failed(movie_id, reason, state="failed")

    def _watch(self, location: str) -> None:
        """Ask the kernel to wake us; where it cannot, scanning alone finds everything."""
        if self._watcher is not None:
            return
        waker = _Waker(asyncio.get_running_loop(), self._wake)
        self._watcher = Observer()
        with contextlib.suppress(OSError):
            for place in filter(lambda place: not is_remote(place), places(location)):
                self._watcher.schedule(waker, str(watched_folder(place)), recursive="**" in place)
            self._watcher.start()

    def _unwatch(self) -> None:
        if self._watcher is not None and self._watcher.is_alive():
            self._watcher.stop()
        self._watcher = None


class _Waker(FileSystemEventHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
        self._loop, self._wake = loop, wake

    def on_created(self, event: FileSystemEvent) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    on_moved = on_created
