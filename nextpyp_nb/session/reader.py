"""Reading a session from elsewhere: connections that cannot write, one per thread."""

import sqlite3
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nextpyp_nb.session.database import Row

_BUSY = ("locked", "busy")


class Reader:
    """Read-only access to a session's database, safe from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """All rows as dictionaries."""
        cursor = self._execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, sql: str, *values: Any) -> dict[str, list[Any]]:
        """The same by column, for data frames of many rows."""
        cursor = self._execute(sql, values)
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
        return (
            dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
            if rows
            else {n: [] for n in names}
        )

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row, or None."""
        rows = self.rows(sql, *values)
        return rows[0] if rows else None

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self._execute(sql, values).fetchone()
        return None if row is None else row[0]

    def changes(self) -> int:
        """Grows with every transaction of the runner; its heartbeat does not count."""
        return int(self.value("SELECT value FROM meta WHERE key = 'changes'"))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._guard:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._threads = threading.local()

    def _execute(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._connection().execute(sql, values)
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in _BUSY):
                raise
            # The journal changes when a runner comes or goes: a fresh connection reads it.
            self._forget()
            return self._connection().execute(sql, values)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            if not self.path.is_file():
                raise FileNotFoundError(f"no session database at {self.path}")
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=10, check_same_thread=False
            )
            connection.execute("PRAGMA query_only=ON")
            # Many threads read: SQLite's own 2 MB each would add up, and the system keeps the pages anyway.
            connection.execute("PRAGMA cache_size=-256")
            self._threads.connection = connection
            with self._guard:
                self._all.append(connection)
        return connection

    def _forget(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        self._threads.connection = None
        if connection is not None:
            with self._guard:
                if connection in self._all:
                    self._all.remove(connection)
            connection.close()
