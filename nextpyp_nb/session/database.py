"""The one connection that writes: transactions, fencing, and events."""

import errno
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from nextpyp_nb.session.schema import migrate

Row = dict[str, Any]
EVENTS_KEPT = 100_000


class Fenced(RuntimeError):
    """Another runner has taken the session over: this one's results are refused."""


class Database:
    """A read-write connection that commits only while its epoch is the session's newest."""

    def __init__(self, path: Path, *, epoch: int | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        _write_ahead(self._connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        migrate(self._connection)
        self.epoch = self._value("SELECT epoch FROM lease") if epoch is None else epoch

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested ones join the outer; refused when the epoch is not ours any more."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                self._refuse_older_epoch()
                yield
                self._run("UPDATE meta SET value = value + 1 WHERE key = 'changes'")
                self._connection.execute("COMMIT")
            except BaseException as error:
                # SQLite has rolled back by itself after some errors, such as a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise self.said(error) from error
                raise
            finally:
                self._depth = 0

    def close(self) -> None:
        """Leave a database that can be read without write permission: no WAL, a plain journal."""
        with self._lock:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.execute("PRAGMA journal_mode=DELETE")
            except sqlite3.OperationalError:
                # Readers still look: SQLite keeps the WAL, and who closes last takes it away.
                pass
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def said(self, error: sqlite3.OperationalError) -> Exception:
        """SQLite's error, or the operating system's where the disk is full."""
        if "full" in str(error):
            return OSError(errno.ENOSPC, "the disk is full", str(self.path))
        return error

    def log(
        self, code: str, text: str, *, track: str | None = None, movie: str | None = None, level: str = "info"
    ) -> int:
        """Add an event; ``level`` is info, warning or error. Returns its id."""
        with self.transaction():
            cursor = self._run(
                "INSERT INTO event(time, level, track, movie, code, text) VALUES (?, ?, ?, ?, ?, ?)",
                time.time(), level, track, movie, code, text,
            )  # fmt: skip
            number = int(cursor.lastrowid or 0)
            if number % 1000 == 0:
                self._run("DELETE FROM event WHERE id <= ?", number - EVENTS_KEPT)
            return number

    def _refuse_older_epoch(self) -> None:
        newest = self._value("SELECT epoch FROM lease")
        if newest != self.epoch:
            raise Fenced(f"another runner took this session over (epoch {newest}, ours is {self.epoch})")

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    def _run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)

    def _rows(self, sql: str, *values: Any) -> list[Row]:
        with self._lock:
            return [dict(row) for row in self._connection.execute(sql, values)]

    def _row(self, sql: str, *values: Any) -> Row | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def _value(self, sql: str, *values: Any) -> Any:
        with self._lock:
            row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]


def to_json(value: Any) -> str:
    """JSON on one line, the same for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)


def _write_ahead(connection: sqlite3.Connection, patience: float = 10.0) -> None:
    """Switch to write-ahead logging; SQLite's own time-out does not cover the change of journal."""
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)
