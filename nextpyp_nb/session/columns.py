"""Columns of micrographs that people make: a function in their kernel, its numbers in the store."""

import math
import threading
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from nextpyp_nb.session.inbox import Receipt

# So many numbers travel in one command, or what came together in so many seconds.
MOST, SECONDS = 2000, 2.0
Row = dict[str, Any]


class Columns:
    """The part of a `Session` that is about such columns."""

    def set_column(
        self, name: str, values: Mapping[str, float | None], *, actor: str | None = None
    ) -> Receipt:
        """Keep a number of micrographs, by their names, as a column; None takes one away."""
        return self._command("set_column", {"name": name, "values": dict(values)}, actor)

    def drop_column(self, name: str, *, actor: str | None = None) -> Receipt:
        """Forget a column that people made."""
        return self._command("set_column", {"name": name, "values": None}, actor)

    def add_column(self, function: Callable[[Row], Any], name: str | None = None) -> "Column":
        """Let ``function`` of a row of `micrographs` be a column, now and for those to come; see `Column`."""
        return Column(self, function, name or function.__name__).start()

    @property
    @abstractmethod
    def micrographs(self) -> pd.DataFrame:
        """One row a pre-processed movie."""

    @abstractmethod
    def version(self) -> int:
        """Differs after every change."""

    @abstractmethod
    def _command(self, name: str, arguments: Row, actor: str | None, *, launch: bool = False) -> Receipt: ...


class Column:
    """A column that follows the session: ``function`` gets a row (a dict) and gives a number or None.

    It runs in this kernel, on a thread of its own, for each micrograph that comes or is done again; an
    exception leaves the micrograph without a number and is kept in ``errors`` by name.
    """

    def __init__(self, session: Columns, function: Callable[[Row], Any], name: str) -> None:
        self.session, self.function, self.name = session, function, name
        self.errors: dict[str, Exception] = {}
        self._seen: dict[str, Any] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"column {name}", daemon=True)

    def __call__(self, row: Row) -> Any:
        """What the function says of a row."""
        return self.function(row)

    def start(self) -> "Column":
        """Try it on one micrograph, where an exception is raised, then follow."""
        for row in self.session.micrographs.tail(1).to_dict("records"):
            _number(self.function(_plain(row)))
        self._thread.start()
        return self

    def stop(self) -> None:
        """Follow no more; the numbers stay."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def update(self) -> int:
        """Work out what is not worked out yet, and send it; returns of how many micrographs."""
        table, began, count = self.session.micrographs, time.monotonic(), 0
        batch: dict[str, float | None] = {}
        for row in table.to_dict("records"):
            stamp, name = row["finished"], str(row["name"])
            if self._ended.is_set() or self._seen.get(name) == stamp:
                continue
            batch[name] = self._number(name, _plain(row))
            self._seen[name] = stamp
            count += 1
            if len(batch) >= MOST or time.monotonic() - began > SECONDS:
                self._send(batch)
                batch, began = {}, time.monotonic()
        if batch:
            self._send(batch)
        return count

    def _number(self, name: str, row: Row) -> float | None:
        try:
            return _number(self.function(row))
        except Exception as error:
            if not self.errors:
                warnings.warn(f"column {self.name}: {name}: {error!r}", stacklevel=2)
            self.errors[name] = error
            return None

    def _send(self, batch: dict[str, float | None]) -> None:
        answer = self.session.set_column(self.name, batch).wait(timeout=30)
        if not answer.ok:
            raise ValueError(answer.message)

    def _follow(self) -> None:
        seen = None
        while not self._ended.wait(0.5):
            try:
                version = self.session.version()
                if version != seen:
                    self.update()
                    seen = version
            except (OSError, ValueError) as error:
                warnings.warn(f"column {self.name} is followed no more: {error}", stacklevel=1)
                return


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(row: Mapping[Any, Any]) -> Row:
    return {str(key): value for key, value in row.items()}
