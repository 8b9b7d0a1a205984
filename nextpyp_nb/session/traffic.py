"""How movies flow: what each step from shutter to row takes, what came over time, what is under way."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.session.places import PART
from nextpyp_nb.session.reader import Reader

LAST = 50
BINS = 48
SHORTEST, LONGEST = 600.0, 12 * 3600.0
SHOWN = 6

_STEPS = """
SELECT m.found, m.settled, m.transferred, g.started, g.finished, g.seconds_motion, g.seconds_ctf,
g.seconds_picking, json_extract(m.acquisition, '$.time') AS shutter
FROM task t JOIN micrograph g ON g.movie_id = t.movie_id JOIN movie m ON m.id = t.movie_id
ORDER BY t.finished DESC LIMIT ?
"""
_FLOW = """
SELECT CAST((transferred - ?) / ? AS INTEGER) AS bin, COUNT(*) AS movies, COALESCE(SUM(size), 0) AS bytes
FROM movie WHERE transferred >= ? AND +state = 'done' GROUP BY bin
"""
# Without the plus SQLite would look up the state of all movies instead of their times in order.
_ENDS = """
SELECT {column} FROM movie WHERE +state = 'done' AND transferred IS NOT NULL
ORDER BY transferred {order} LIMIT 1
"""
_UNDER_WAY = "SELECT name, size, path, operation FROM movie WHERE state = 'transferring' ORDER BY id LIMIT ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """``steps``: median s of each step of the last `LAST` micrographs, in order; ``total`` of all of it.

    ``movies`` and ``bytes`` per bin of ``bin_seconds`` from ``since`` (epoch s) on; ``copied`` whether the
    bytes went over; ``under_way`` (name, size) of movies in transfer.
    """

    steps: dict[str, float]
    total: float | None
    since: float
    bin_seconds: float
    movies: tuple[int, ...]
    bytes: tuple[int, ...]
    copied: bool
    under_way: tuple[tuple[str, int], ...]

    @property
    def slowest(self) -> str | None:
        """The step that takes longest."""
        return max(self.steps, key=lambda name: self.steps[name]) if self.steps else None


class Flow:
    """The part of a `Session` that is about how movies come and go."""

    _reader: Reader

    def traffic(self) -> Traffic:
        """What each step from shutter to row takes, and how movies came over time."""
        return read_traffic(self._reader)


def read_traffic(reader: Reader, now: float | None = None) -> Traffic:
    """The traffic of the session behind ``reader``."""
    now = time.time() if now is None else now
    first = reader.value(_ENDS.format(column="transferred", order="ASC"))
    span = SHORTEST if first is None else min(max(now - first, SHORTEST), LONGEST)
    since, width = now - span, span / BINS
    flow = {row["bin"]: row for row in reader.rows(_FLOW, since, width, since)}
    way = reader.rows(_UNDER_WAY, SHOWN)
    last = reader.value(_ENDS.format(column="operation", order="DESC"))
    steps, total = _steps(reader.rows(_STEPS, LAST))
    return Traffic(
        steps=steps, total=total, since=since, bin_seconds=width,
        movies=tuple(flow[n]["movies"] if n in flow else 0 for n in range(BINS)),
        bytes=tuple(flow[n]["bytes"] if n in flow else 0 for n in range(BINS)),
        copied=last in ("copy", "move"),
        under_way=tuple((row["name"], int(row["size"] or 0)) for row in way),
    )  # fmt: skip


def arrived(folder: Path, movie: str) -> int:
    """Bytes of a movie in transfer that are there already."""
    parts = (folder / "raw").glob(f".{_literal(movie)}.*{PART}")
    return max((part.stat().st_size for part in parts if part.is_file()), default=0)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _steps(rows: list[dict[str, Any]]) -> tuple[dict[str, float], float | None]:
    if not rows:
        return {}, None
    columns = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], float)
        for name in rows[0]
        if name != "shutter"
    }
    shutter = np.array([_seconds(row["shutter"]) for row in rows])
    work = {name: columns[f"seconds_{name}"] for name in ("motion", "ctf", "picking")}
    waits = {
        "shutter to found": columns["found"] - shutter,
        "settling": columns["settled"] - columns["found"],
        "transfer": columns["transferred"] - columns["settled"],
        "waiting for a worker": columns["started"] - columns["transferred"],
        "motion": work["motion"], "CTF": work["ctf"], "picking": work["picking"],
        "storing": columns["finished"] - columns["started"] - sum(np.nan_to_num(s) for s in work.values()),
    }  # fmt: skip
    steps = {
        name: max(0.0, float(np.nanmedian(values)))
        for name, values in waits.items()
        if np.isfinite(values).any()
    }
    begin = np.where(np.isfinite(shutter), shutter, columns["found"])
    return steps, float(np.nanmedian(columns["finished"] - begin))


def _seconds(text: str | None) -> float:
    try:
        return datetime.fromisoformat(text).timestamp() if text else float("nan")
    except ValueError:
        return float("nan")
