"""One look at the microscope's place: what is new, whole, waiting, stuck, out of reach or changed."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextpyp_nb.tracks.acquiring import Notes
from nextpyp_nb.tracks.copying import release
from nextpyp_nb.tracks.finding import Found, Listing, Offline, list_names, look_at, unique_name
from nextpyp_nb.tracks.remote import list_remote
from nextpyp_nb.tracks.settling import Settling
from nextpyp_nb.tracks.track import LEVELS, Live

ATTEMPTS = 5
# Between two looks at the files that were taken already, s.
FULL_PASS = 60.0
# The source of a moved movie is kept so long.
HOLD = 60.0
NOT_TAKEN = ("found", "settling", "transferring", "stuck", "conflict", "failed", "offline", "ignored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A whole movie with its id and name in the session; ``note`` is what to say of it."""

    found: Found
    id: int
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look found: movies to take, what the others wait for, and all names."""

    ready: list[Ready]
    waiting: dict[Path, str]
    listing: Listing
    generation: int


class Intake:
    """Knows which movies were taken, and finds what there is to take; its looks cost what is new.

    Looks run in a thread of their own, one at a time. ``due`` are moved movies whose sources may go.
    """

    def __init__(self, live: Live, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self.clock = clock
        self.busy: set[str] = set()
        self.held: set[str] = set()
        self.due: list[tuple[Mapping[str, Any], Found]] = []
        self._releasing = False
        self._kept: dict[str, tuple[int, int]] = {}
        self.generation = 0
        self._refresh()

    def begin_anew(self) -> None:
        """Look with the settings as they are now, from the next look on; nothing taken is forgotten."""
        self.busy.clear()
        self.generation += 1

    def _refresh(self) -> None:
        self._as_of = self.generation
        chosen = self._live.settings.transfer
        give_up = chosen.give_up
        if self._live.until_idle:
            give_up = min(give_up, max(30.0, 3 * chosen.settle))
        self._hold = min(HOLD, chosen.settle) if self._live.until_idle else HOLD
        self._settling = Settling(settle=chosen.settle, give_up=give_up)
        self._notes = Notes(self._live)
        self._done = set(map(sys.intern, self._live.store.done_sources()))
        self._names = self._live.store.movie_names()
        self._changed: dict[str, tuple[int, int]] = {}
        self._full_pass_due = 0.0

    def look(self) -> Looked:
        """Look once; what is learnt of each movie is written down."""
        if self._as_of != self.generation:
            self._refresh()
        generation, settings, store = self._as_of, self._live.settings, self._live.store
        leave_out = {Path(p) for p in (settings.gain.reference, settings.gain.defects) if p}
        known = {row["source"]: row for row in store.movies(*NOT_TAKEN)}
        try:
            listing = list_names(settings.raw_data.location, leave_out, settings.raw_data.notes, self._remote)
        except Offline as error:
            self._away(known.values(), str(error))
            raise
        fresh = [name for name in listing.movies if name not in self._done and name not in self.busy]
        found = listing.look(name for name in fresh if name not in known or _again(known[name]))
        rows = self._identify(found, known)
        ready, waiting, stuck = self._settling.look(found, self.clock())
        store.movie_settling({rows[str(source)]["id"]: reason for source, reason in waiting.items()})
        for source, reason in stuck.items():
            row = rows[str(source)]
            if (row["state"], row["reason"]) != ("stuck", reason):
                store.movie_failed(row["id"], reason, state="stuck")
        names = set(listing.movies)
        self._away((row for source, row in known.items() if source not in names), _reason(listing))
        self._notes.take(listing.sides)
        if self.clock() >= self._full_pass_due:
            self._full_pass(names)
        return Looked(
            ready=[self._ready(movie, rows[str(movie.source)]) for movie in ready],
            waiting=waiting, listing=listing, generation=generation,
        )  # fmt: skip

    def _remote(self, place: str, listing: Listing) -> None:
        list_remote(place, listing, self._live.folder / "notes")

    def taken(self, source: str, operation: str) -> None:
        """A movie is in the session: it is not looked at again but for changes."""
        # Kept for as long as the session, here and by who waits for its side file: as one string.
        self._done.add(sys.intern(source))
        if operation == "move":
            self.held.add(source)
            self._full_pass_due = min(self._full_pass_due, self.clock() + self._hold)

    def leave(self, source: Path) -> None:
        """A movie is no longer on its way, whatever came of it."""
        self._settling.forget(source)
        self.busy.discard(str(source))

    def release_due(self) -> None:
        """Delete the sources that are due, each after its copy was read from the disk: beside the looks."""
        self._releasing = True
        try:
            while self.due:
                self._release(*self.due.pop(0))
        finally:
            self._releasing = False

    def _ready(self, movie: Found, row: Mapping[str, Any]) -> Ready:
        return Ready(
            found=movie, id=row["id"], name=row["name"], note=self._settling.short.get(movie.source, "")
        )

    def _identify(self, found: Iterable[Found], known: Mapping[str, Any]) -> dict[str, Any]:
        """The row of each movie; those that are new get a name and a row."""
        new = [movie for movie in found if str(movie.source) not in known]
        rows = []
        for movie in new:
            name = unique_name(movie.source, self._names)
            self._names.add(name)
            rows.append({
                "name": name, "source": str(movie.source), "size": movie.size, "mtime_ns": movie.mtime_ns,
                "inode": movie.inode, "state": "found", "reason": None,
            })  # fmt: skip
        if not rows:
            return dict(known)
        for row, number in zip(rows, self._live.store.add_movies(rows), strict=True):
            row["id"] = number
            self._notes.expect(number, row["name"], row["source"])
        return dict(known) | {row["source"]: row for row in rows}

    def _away(self, rows: Iterable[Mapping[str, Any]], reason: str) -> None:
        """What was there and is not now is offline: nothing is dropped, and it is taken when it is back."""
        gone = [
            row["id"]
            for row in rows
            if row["state"] in ("found", "settling", "stuck", "offline") and row["source"] not in self.busy
        ]
        self._live.store.movie_states(dict.fromkeys(gone, "offline"), dict.fromkeys(gone, reason))

    def _full_pass(self, names: set[str]) -> None:
        """Compare what was taken with what lies at the source now; which sources of moved movies may go."""
        begin, due = self.clock(), []
        self.held &= names
        for row in self._live.store.taken():
            if row["source"] not in names or row["source"] in self.busy:
                continue
            movie = look_at(row["source"])
            if movie is None:
                continue
            if movie.signature != (row["source_size"], row["mtime_ns"]):
                self._note_change(row, movie)
            elif row["operation"] == "move" and self._kept.get(row["source"]) != movie.signature:
                self.held.add(row["source"])
                if row["transferred"] <= time.time() - self._hold:
                    due.append((row, movie))
        if not self._releasing:
            self.due = due
        wait = self._hold if self.held else FULL_PASS
        self._full_pass_due = self.clock() + max(wait, 10 * (self.clock() - begin))

    def _release(self, row: Mapping[str, Any], movie: Found) -> None:
        try:
            release(movie, Path(row["path"]), row["hash"])
            text, level = "moved: its copy was read again, and the source is deleted", "info"
        except OSError as error:
            self._kept[row["source"]] = movie.signature
            text, level = str(error), "warning"
        self.held.discard(row["source"])
        self._live.logs["transfer"].log(LEVELS[level], text, extra={"movie": row["name"]})
        if level == "warning":
            self._live.store.log("kept", text, track="transfer", movie=row["name"], level=level)

    def _note_change(self, row: Mapping[str, Any], movie: Found) -> None:
        """A changed copy is said once, and both are kept; a link to changed content is a conflict."""
        self.held.discard(row["source"])
        if row["operation"] == "link":
            self._done.discard(row["source"])
            self._live.store.movie_changed(
                row["id"], "changed at the source after it was linked; Retry takes it as it is now"
            )
        elif self._changed.get(row["source"]) != movie.signature:
            self._changed[row["source"]] = movie.signature
            text = "changed at the source after it was transferred; the transferred one is kept and used"
            self._live.store.log("changed", text, track="transfer", movie=row["name"], level="warning")


def _again(row: Mapping[str, Any]) -> bool:
    return row["state"] in ("found", "settling", "stuck", "offline") or (
        row["state"] == "failed" and row["attempts"] < ATTEMPTS
    )


def _reason(listing: Listing) -> str:
    away = "; ".join(listing.away.values())
    return away or "not at its place now; it is taken when it is there again"
