"""A session's rows as data frames for people."""

import json
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.accepted import judged_classes
from nextpyp_nb.session.reader import Reader

TIMES = ("found", "settled", "transferred", "started", "finished", "created", "time", "received")

# CROSS JOIN: SQLite begins with what changed, not with all movies.
_MICROGRAPHS = """
SELECT m.id, m.name, m.excluded, m.found, m.transferred, m.optics_group, m.acquisition, t.state, t.reason,
g.* FROM touched c CROSS JOIN micrograph g ON g.movie_id = c.movie_id
JOIN movie m ON m.id = c.movie_id JOIN task t ON t.movie_id = c.movie_id
WHERE c.change > ? AND c.movie_id >= ? ORDER BY m.id
"""
_OWN = """
SELECT v.movie_id, v.name, v.value FROM own_value v JOIN touched c ON c.movie_id = v.movie_id
AND c.change > ?
"""
_FAILED = """
SELECT name AS movie, 'transfer' AS stage, state, reason, attempts, NULL AS traceback, found AS time
FROM movie WHERE state IN ('failed', 'stuck', 'conflict') UNION ALL
SELECT m.name, t.stage, t.state, t.reason, t.attempts, t.traceback, t.finished FROM task t
JOIN movie m ON m.id = t.movie_id WHERE t.state IN ('failed', 'quarantined') ORDER BY time DESC
"""


def table(reader: Reader, sql: str, *values: Any) -> pd.DataFrame:
    """The rows of a query; times become UTC moments."""
    columns = reader.columns(sql, *values)
    moments = _moments(columns)
    if not any(columns.values()):
        # Without rows pandas would take words for numbers.
        return pd.DataFrame({name: np.empty(0, object) for name in columns} | moments)
    return pd.DataFrame(columns | moments)


def _moments(columns: dict[str, list[Any]]) -> dict[str, pd.DatetimeIndex]:
    """The columns of seconds as UTC moments."""
    names = [name for name in columns if name in TIMES]
    if not names:
        return {}
    # All at once: pandas takes longer to begin than for thousands of them.
    seconds = np.concatenate([np.array(columns[name], np.float64) for name in names])
    moments = pd.to_datetime(seconds, unit="s", utc=True)
    length = len(moments) // len(names)
    return {name: moments[i * length : (i + 1) * length] for i, name in enumerate(names)}


def movies(reader: Reader) -> pd.DataFrame:
    """All movies, in the order in which they were found."""
    frame = table(
        reader,
        "SELECT id, name, source, path, state, reason, size, hash, found, transferred, attempts,"
        " operation, excluded FROM movie ORDER BY id",
    )
    return frame.astype({"excluded": bool})


def micrographs(reader: Reader, before: tuple[int, pd.DataFrame] | None = None) -> pd.DataFrame:
    """One row a pre-processed movie, in the order they were found; times are UTC.

    ``latency`` is seconds from found to finished; what the microscope reported follows as ``acquired_*``.
    ``before`` is an earlier change number and its table: only rows that changed since are fetched.
    """
    if before is None or before[1].empty:
        return _micrograph_rows(reader, -1)
    changes, old = before
    new = _micrograph_rows(reader, changes)
    if not new.empty:
        again = new["id"].iloc[0] <= old["id"].iloc[-1]
        old = pd.concat([old[~old["id"].isin(new["id"])] if again else old, new], ignore_index=True)
        if again:
            old = old.sort_values("id", ignore_index=True)
    whole = len(old) == reader.value("SELECT COUNT(*) FROM micrograph")
    return old if whole else _micrograph_rows(reader, -1)


def latest_micrographs(reader: Reader, count: int) -> pd.DataFrame:
    """The last ``count`` rows of `micrographs`."""
    first = reader.value(
        "SELECT MIN(movie_id) FROM (SELECT movie_id FROM micrograph ORDER BY movie_id DESC LIMIT ?)", count
    )
    return _micrograph_rows(reader, -1, first or 0)


def _micrograph_rows(reader: Reader, since: int, first: int = 0) -> pd.DataFrame:
    columns = reader.columns(_MICROGRAPHS, since, first)
    del columns["movie_id"]
    more = [_spread(columns.pop("more"), ""), _spread(columns.pop("acquisition"), "acquired_")]
    made: dict[str, Any] = dict(columns)
    for name, column in columns.items():
        # Words keep None; unknown numbers are NaN.
        made[name] = np.array(column, object if name in _WORDS else None)
        if name in _WORDS:
            made[name] = pd.Series(made[name], dtype=object)
        elif made[name].dtype == object:
            made[name] = made[name].astype(np.float64)
    made["excluded"] = made["excluded"].astype(bool)
    made["defocus"] = 0.5 * (made["defocus_u"] + made["defocus_v"])
    made["astigmatism"] = made["defocus_u"] - made["defocus_v"]
    made["latency"] = np.subtract(*(np.array(columns[name], np.float64) for name in ("finished", "found")))
    frame = pd.DataFrame(made | _moments(columns))
    for spread in more:
        new = [name for name in spread if name not in frame]
        if new:
            frame = pd.concat([frame, spread[new]], axis=1)
    own = reader.rows(_OWN, since)
    if own:
        values = pd.DataFrame(own).pivot(index="movie_id", columns="name", values="value")
        frame = frame.join(values[[name for name in values if name not in frame]], on="id")
    return frame


_WORDS = ("name", "state", "reason", "optics_group", "ctf_failed", "version", *TIMES)


def failed(reader: Reader) -> pd.DataFrame:
    """What failed or is stuck, latest first: movie, stage, reason, attempts."""
    return table(reader, _FAILED)


def rounds(reader: Reader) -> pd.DataFrame:
    """Rounds of 2D classification, oldest first."""
    return table(
        reader,
        "SELECT number, state, particles, classes, resolution, path, started, finished, seed,"
        " reason, revision FROM round ORDER BY number",
    )


def classes(reader: Reader, number: int | None = None) -> pd.DataFrame:
    """The classes of a round (the last done one), in the order of the stack."""
    judged, values = judged_classes(reader)
    return table(
        reader,
        f"SELECT number, identity, count, share, resolution, score, mark, accepted, round FROM ({judged})"
        " WHERE round = COALESCE(?, (SELECT MAX(number) FROM round WHERE state = 'done')) ORDER BY number",
        *values, number,
    )  # fmt: skip


def class_history(reader: Reader) -> pd.DataFrame:
    """What every done round gave, oldest first; accepted particles by the marks and the rule of today."""
    judged, values = judged_classes(reader)
    return table(
        reader,
        "SELECT r.number AS round, finished, finished - started AS seconds, particles, new,"
        " COUNT(c.number) AS classes, COALESCE(SUM(count) FILTER (WHERE accepted = 1), 0) AS accepted,"
        f" r.resolution, churn, annealed FROM round r LEFT JOIN ({judged}) c ON c.round = r.number"
        " AND count > 0 WHERE state = 'done' GROUP BY r.number ORDER BY r.number",
        *values,
    )


def exports(reader: Reader) -> pd.DataFrame:
    """Exports and reports with their state, progress and path, oldest first."""
    return table(
        reader,
        "SELECT id, kind, name, state, path, filter, message, done, total, created, finished FROM export"
        " ORDER BY id",
    )


def _spread(texts: list[str | None], prefix: str) -> pd.DataFrame:
    """JSON objects as columns; an empty frame of the same rows when there are none."""
    if all(text in (None, "{}") for text in texts):
        return pd.DataFrame(index=range(len(texts)))
    rows = json.loads(f"[{','.join(text or '{}' for text in texts)}]")
    frame = pd.DataFrame(rows).replace("", np.nan)
    return frame.dropna(axis=1, how="all").add_prefix(prefix)
