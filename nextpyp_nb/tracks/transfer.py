"""File transfer: find what is whole, bring it into the session, make it ready for pre-processing."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from nextpyp_nb.tracks.copying import Conflict, release, transfer_movie
from nextpyp_nb.tracks.finding import Found, Settling, movie_suffix, scan, unique_name, watched_folder
from nextpyp_nb.tracks.track import Live, Track, explain, is_full

IN_FLIGHT = 2
QUIET_LOOKS = 3
ATTEMPTS = 5
OUT_OF_REACH = 3


class TransferTrack(Track):
    """Looks at the microscope's folder again and again; a file watcher only makes it look sooner."""

    name = "transfer"

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        self._settling = self._new_settling()
        self._moving: dict[Path, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[Path, str] = {}
        self._changed: dict[Path, tuple[int, int]] = {}
        self._lanes = asyncio.Semaphore(IN_FLIGHT)
        self._quiet = 0
        self._out_of_reach = 0
        self._watcher: Any = None

    def apply_settings(self) -> None:
        """Begin anew with the settings as they are now; nothing that was taken is forgotten."""
        self._settling = self._new_settling()
        self._unwatch()

    def _new_settling(self) -> Settling:
        chosen = self.live.settings.transfer
        give_up = chosen.give_up
        if self.live.until_idle:
            give_up = min(give_up, max(30.0, 3 * chosen.settle))
        return Settling(settle=chosen.settle, give_up=give_up)

    async def step(self) -> float:
        """One look at the folder; whole movies set off."""
        interval = self.live.settings.transfer.scan_interval
        begin = time.monotonic()
        self._out_of_reach += 1
        ids, ready, waiting = await asyncio.to_thread(self._look)
        self._out_of_reach = 0
        self._watch(self.live.settings.raw_data.location)
        for movie in ready:
            self._set_off(movie, ids[movie.source])
        self._waiting = waiting
        self._quiet = 0 if ready or waiting or self._tasks else self._quiet + 1
        # A look may cost at most a tenth of the time.
        return 0.5 if ready else max(interval, 10 * (time.monotonic() - begin))

    def _look(self) -> tuple[dict[Path, int], list[Found], dict[Path, str]]:
        """Ids of the movies still to be taken, those that are whole, and what the others wait for."""
        settings = self.live.settings
        leave_out = {Path(p) for p in (settings.gain.reference, settings.gain.defects) if p}
        new = self._unknown(scan(settings.raw_data.location, leave_out))
        ids = self._identify(new)
        ready, waiting, stuck = self._settling.look(new, time.monotonic())
        self._note(ids, waiting, stuck)
        return ids, ready, waiting

    def busy(self) -> bool:
        """Whether movies are being transferred."""
        return bool(self._tasks)

    def idle(self) -> bool:
        """Whether several looks in a row found nothing new and nothing settling."""
        return self._quiet >= QUIET_LOOKS and not self._tasks

    def message(self) -> str:
        """What is being transferred, or what is waited for."""
        if self._moving:
            verb = {"link": "linking", "copy": "copying", "move": "moving"}[
                self.live.settings.transfer.operation
            ]
            return f"{verb} {', '.join(list(self._moving.values())[:2])}"
        if self._waiting:
            source, reason = next(iter(self._waiting.items()))
            return f"{source.name}: {reason}"
        return f"watching {watched_folder(self.live.settings.raw_data.location)}"

    def hopeless(self) -> bool:
        """Whether the folder has been out of reach for so long that waiting for it makes no sense."""
        return self._out_of_reach >= OUT_OF_REACH and not self._tasks

    async def finish(self) -> None:
        """Stop watching and wait for the transfers in flight: a copy under way is not thrown away."""
        self._unwatch()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _unknown(self, found: list[Found]) -> list[Found]:
        """Movies still to be taken; one that changed after it was taken is said once, and both are kept."""
        known = {row["source"]: row for row in self.live.store.movies()}
        new = []
        for movie in found:
            row = known.get(str(movie.source))
            if movie.source in self._moving:
                continue
            if (
                row is None
                or row["state"] in ("found", "settling", "stuck", "offline")
                or (row["state"] == "failed" and row["attempts"] < ATTEMPTS)
            ):
                new.append(movie)
            elif row["state"] == "done" and (row["size"], row["mtime_ns"]) != movie.signature:
                self._note_change(row["name"], movie)
        return new

    def _note_change(self, name: str, movie: Found) -> None:
        if self._changed.get(movie.source) != movie.signature:
            self._changed[movie.source] = movie.signature
            text = "changed at the source after it was transferred; the transferred one is kept and used"
            self.log("warning", "changed", text, name)

    def _identify(self, movies: list[Found]) -> dict[Path, int]:
        """Ids of ``movies``; those that are new get a name and a row."""
        store = self.live.store
        known, taken = store.sources(), store.movie_names()
        rows = []
        for movie in movies:
            if str(movie.source) not in known:
                name = unique_name(movie.source, taken)
                taken.add(name)
                rows.append({
                    "name": name, "source": str(movie.source), "size": movie.size,
                    "mtime_ns": movie.mtime_ns, "inode": movie.inode,
                })  # fmt: skip
        if rows:
            store.add_movies(rows)
            known = store.sources()
        return {movie.source: known[str(movie.source)][0] for movie in movies}

    def _set_off(self, movie: Found, movie_id: int) -> None:
        self._moving[movie.source] = self.live.store.movie(movie_id)["name"]
        task = asyncio.create_task(self._transfer(movie, movie_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _transfer(self, movie: Found, movie_id: int) -> None:
        store, operation = self.live.store, self.live.settings.transfer.operation
        name = self._moving[movie.source]
        place = self.live.folder / "raw" / f"{name}{movie_suffix(movie.source)}"
        try:
            async with self._lanes:
                store.movie_transferring(movie_id, operation)
                done = await asyncio.to_thread(transfer_movie, movie, place, operation)
                store.movie_done(
                    movie_id, path=str(place), size=done.size, mtime_ns=done.mtime_ns,
                    inode=movie.inode, hash=done.digest, operation=operation,
                )  # fmt: skip
                self.live.logs[self.name].info("transferred", extra={"movie": name})
                self.live.wake("preprocess")
                if operation == "move":
                    await asyncio.to_thread(release, movie, done)
        except Conflict as error:
            store.movie_failed(movie_id, str(error), state="conflict")
        except OSError as error:
            if is_full(error):
                # Not the movie's fault: it waits as it was found.
                self.full, self.trouble = True, explain(error)
                with contextlib.suppress(OSError):
                    store.release_transfers([movie_id])
            else:
                store.movie_failed(movie_id, explain(error), state="failed")
        finally:
            self._settling.forget(movie.source)
            self._moving.pop(movie.source, None)

    def _note(self, ids: dict[Path, int], waiting: dict[Path, str], stuck: dict[Path, str]) -> None:
        """Write what is awaited for each movie that is not whole; what is stuck is an event, once."""
        self.live.store.movie_settling({ids[source]: reason for source, reason in waiting.items()})
        for source, reason in stuck.items():
            row = self.live.store.movie(ids[source])
            if (row["state"], row["reason"]) != ("stuck", reason):
                self.live.store.movie_failed(ids[source], reason, state="stuck")

    def _watch(self, location: str) -> None:
        """Ask the kernel to wake us; where it cannot, scanning alone finds everything."""
        if self._watcher is not None:
            return
        folder, loop = watched_folder(location), asyncio.get_running_loop()
        self._watcher = Observer()
        with contextlib.suppress(OSError):
            self._watcher.schedule(_Waker(loop, self._wake), str(folder), recursive="**" in location)
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
