"""Movies on their way in: found → settling → transferring → done, or stuck, conflict, failed, offline."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nextpyp_nb.session.database import Database, Row, to_json

MOVIE_STATES = (
    "found", "settling", "transferring", "done", "stuck", "conflict", "failed", "offline", "ignored"
)  # fmt: skip


class Movies(Database):
    """What the store knows and writes of movies."""

    def add_movies(self, found: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add movies of new sources: name, source and maybe relative, size, mtime_ns, inode of each.

        Returns the ids of the new ones, in order.
        """
        now, ids = time.time(), []
        with self.transaction():
            for movie in found:
                cursor = self._run(
                    "INSERT INTO movie(name, source, relative, size, mtime_ns, inode, state, found)"
                    " VALUES (?, ?, ?, ?, ?, ?, 'found', ?) ON CONFLICT(source) DO NOTHING",
                    movie["name"], str(movie["source"]), movie.get("relative"), movie.get("size"),
                    movie.get("mtime_ns"), movie.get("inode"), now,
                )  # fmt: skip
                if cursor.rowcount:
                    ids.append(int(cursor.lastrowid or 0))
        return ids

    def movie_settling(self, reasons: Mapping[int, str]) -> None:
        """Movies that are not whole yet, each with what is awaited; the whole look in one transaction."""
        self.movie_states(dict.fromkeys(reasons, "settling"), reasons)

    def movie_states(self, states: Mapping[int, str], reasons: Mapping[int, str] | None = None) -> None:
        """Put movies into states such as stuck, offline or ignored; movies that are done stay done."""
        if not states:
            return
        for state in states.values():
            if state not in MOVIE_STATES or state == "done":
                raise ValueError(f"got state {state!r}, expected one of {', '.join(MOVIE_STATES)} but done")
        reasons = reasons or {}
        rows = [
            (state, reasons.get(movie), movie, state, reasons.get(movie)) for movie, state in states.items()
        ]
        changed = [row for row in rows if self._movie_differs(row[2], row[0], row[1])]
        if not changed:
            return
        with self.transaction():
            self._run_many(
                "UPDATE movie SET state = ?, reason = ? WHERE id = ? AND state <> 'done'"
                " AND (state IS NOT ? OR reason IS NOT ?)",
                changed,
            )

    def movie_transferring(self, movie_id: int, operation: str) -> None:
        """A movie is whole and its transfer begins: the attempt is counted before the work."""
        with self.transaction():
            self._run(
                "UPDATE movie SET state = 'transferring', reason = NULL, operation = ?,"
                " attempts = attempts + 1, settled = COALESCE(settled, ?) WHERE id = ? AND state <> 'done'",
                operation, time.time(), movie_id,
            )  # fmt: skip

    def movie_done(
        self,
        movie_id: int,
        *,
        path: Path | str,
        size: int,
        hash: str,
        mtime_ns: int | None = None,
        inode: int | None = None,
        source_size: int | None = None,
        operation: str | None = None,
        note: str | None = None,
        acquisition: Mapping[str, Any] | None = None,
    ) -> None:
        """A movie lies whole in the session (or is linked): its pre-processing becomes ready.

        ``hash`` stands for the content in the stage keys; empty (links): size and time stand for it.
        ``source_size`` differs from ``size`` where the movie was compressed on the way.
        ``note`` stays with the movie as its reason, such as that it is short.
        """
        now = time.time()
        with self.transaction():
            self._run(
                "UPDATE movie SET state = 'done', reason = ?, path = ?, size = ?, hash = ?,"
                " source_size = ?, mtime_ns = COALESCE(?, mtime_ns), inode = COALESCE(?, inode),"
                " operation = COALESCE(?, operation), acquisition = COALESCE(?, acquisition),"
                " settled = COALESCE(settled, ?), transferred = ? WHERE id = ?",
                note, str(path), size, hash, source_size, mtime_ns, inode, operation,
                None if acquisition is None else to_json(dict(acquisition)), now, now, movie_id,
            )  # fmt: skip
            # A link whose source changed and was accepted is other content: claiming finds out.
            self._run(
                "INSERT INTO task(movie_id, state, ready) VALUES (?, 'ready', ?)"
                " ON CONFLICT(movie_id) DO UPDATE SET state = 'ready' WHERE state = 'done'",
                movie_id, now,
            )  # fmt: skip

    def movie_failed(self, movie_id: int, reason: str, *, state: str = "failed") -> None:
        """A transfer came to nothing; ``state`` is failed, conflict, stuck or offline."""
        with self.transaction():
            self.movie_states({movie_id: state}, {movie_id: reason})
            name = self._value("SELECT name FROM movie WHERE id = ?", movie_id)
            self.log(f"movie_{state}", reason, track="transfer", movie=name, level="error")

    def movie_changed(self, movie_id: int, reason: str) -> None:
        """The source of a linked movie is not what was taken: a conflict, until someone tries it again."""
        with self.transaction():
            self._run("UPDATE movie SET state = 'conflict', reason = ? WHERE id = ?", reason, movie_id)
            name = self._value("SELECT name FROM movie WHERE id = ?", movie_id)
            self.log("movie_conflict", reason, track="transfer", movie=name, level="error")

    def movie_acquisitions(self, noted: Mapping[int, Mapping[str, Any]], groups: Mapping[int, int]) -> None:
        """What the microscope wrote beside movies, whenever it comes, and their optics groups."""
        with self.transaction():
            self._run_many(
                "UPDATE movie SET acquisition = ? WHERE id = ?",
                [(to_json(dict(columns)), movie) for movie, columns in noted.items()],
            )
            self._run_many(
                "UPDATE movie SET optics_group = ? WHERE id = ?",
                [(str(group), movie) for movie, group in groups.items()],
            )

    def acquisitions(self) -> list[Row]:
        """Id, name, source, acquisition (or None) and optics_group (or None) of all movies, in order."""
        rows = self._rows("SELECT id, name, source, acquisition, optics_group FROM movie ORDER BY id")
        return [row | {"acquisition": json.loads(row["acquisition"] or "null")} for row in rows]

    def retry_transfer(self, movie: str | None = None) -> int:
        """Put failed, stuck, conflicting and ignored movies (or one of them) back to found."""
        with self.transaction():
            return self._run(
                "UPDATE movie SET state = 'found', reason = NULL, attempts = 0"
                " WHERE (state IN ('failed', 'stuck', 'conflict') OR (state = 'ignored' AND ? IS NOT NULL))"
                " AND (? IS NULL OR name = ?)",
                movie, movie, movie,
            ).rowcount  # fmt: skip

    def release_transfers(self, movie_ids: Sequence[int]) -> None:
        """What was on its way is looked at anew, without blame."""
        with self.transaction():
            self._run_many(
                "UPDATE movie SET state = 'found', attempts = MAX(attempts - 1, 0)"
                " WHERE state = 'transferring' AND id = ?",
                [(movie_id,) for movie_id in movie_ids],
            )

    def clear_transfer(self) -> int:
        """Forget movies that are not transferred; a transferred movie is never dropped. Returns how many."""
        with self.transaction():
            return self._run("DELETE FROM movie WHERE state <> 'done' AND path IS NULL").rowcount

    def exclude(self, name: str, excluded: bool = True) -> None:
        """Leave a micrograph out of (or take it back into) classification and export."""
        with self.transaction():
            if not self._run("UPDATE movie SET excluded = ? WHERE name = ?", int(excluded), name).rowcount:
                raise ValueError(f"no movie {name!r} in this session")

    def ignore(self, name: str) -> None:
        """Take a movie that fails or waits off the lists; Retry brings it back."""
        with self.transaction():
            row = self._row("SELECT id, state FROM movie WHERE name = ?", name)
            if row is None:
                raise ValueError(f"no movie {name!r} in this session")
            if row["state"] != "done":
                self._run("UPDATE movie SET state = 'ignored' WHERE id = ?", row["id"])
            self._run(
                "UPDATE task SET state = 'ignored' WHERE movie_id = ? AND state NOT IN ('done', 'running')",
                row["id"],
            )

    def movies(self, *states: str) -> list[Row]:
        """All columns of the movies in these states (all when none is given), oldest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        return self._rows(f"SELECT * FROM movie {where} ORDER BY id", *states)

    def movie(self, key: int | str) -> Row:
        """One movie by id or name."""
        column = "id" if isinstance(key, int) else "name"
        row = self._row(f"SELECT * FROM movie WHERE {column} = ?", key)
        if row is None:
            raise KeyError(f"no movie {key!r} in this session")
        return row

    def movie_of(self, source: str) -> Row | None:
        """The movie of a source, or None."""
        return self._row("SELECT * FROM movie WHERE source = ?", source)

    def movie_names(self) -> set[str]:
        """All names taken."""
        return {row["name"] for row in self._rows("SELECT name FROM movie")}

    def done_sources(self) -> set[str]:
        """The sources of all movies that were taken."""
        return {row["source"] for row in self._rows("SELECT source FROM movie WHERE state = 'done'")}

    def taken(self) -> Iterator[Row]:
        """How each movie was taken, a thousand at a time: long sessions must not fill the memory.

        Rows have id, name, source, source_size, mtime_ns, operation, path, size, hash and transferred.
        """
        last = 0
        while rows := self._rows(
            "SELECT id, name, source, COALESCE(source_size, size) source_size, mtime_ns, operation, path,"
            " size, hash, transferred FROM movie WHERE state = 'done' AND id > ? ORDER BY id LIMIT 1000",
            last,
        ):
            yield from rows
            last = rows[-1]["id"]

    def _movie_differs(self, movie: int, state: str, reason: str | None) -> bool:
        row = self._row("SELECT state, reason FROM movie WHERE id = ?", movie)
        return row is not None and row["state"] != "done" and (row["state"], row["reason"]) != (state, reason)
