"""What a session is doing now, from a few cheap queries."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nextpyp_nb.session.accepted import judged_classes
from nextpyp_nb.session.events import moment
from nextpyp_nb.session.lease import runner_state
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.stages import AT_ONCE, TRACKS
from nextpyp_nb.settings import Settings

WINDOW = 600.0
# Where the runner keeps the alerts that it raised.
RAISED = "alerts"
# Where it keeps what does not add up between movies and files.
SUMS = "sums"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackStatus:
    """One track: what it does and how fast; ``rate_per_hour`` is of ten minutes, or since it runs."""

    name: str
    state: str
    since: datetime | None
    message: str
    counts: dict[str, int]
    rate_per_hour: float
    backlog: int
    eta_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """A session now; ``revision`` is the one in force, ``runner`` running, stopped or stale (it died).

    ``heartbeat`` is the runner's last; ``raised`` the kinds of alerts that it raised, and since when;
    ``sums`` what did not add up between movies and files at the last check.
    """

    name: str
    runner: str
    since: datetime | None
    host: str | None
    pid: int | None
    revision: int
    error: str | None
    tracks: dict[str, TrackStatus]
    heartbeat: datetime | None
    raised: dict[str, datetime]
    sums: str = ""


def read_status(reader: Reader, name: str) -> SessionStatus:
    """The status of the session behind ``reader``."""
    lease = reader.row("SELECT * FROM lease")
    assert lease is not None
    runner = runner_state(lease)
    rows = {row["name"]: row for row in reader.rows("SELECT * FROM track")}
    counts = {"transfer": _transfer(reader), "preprocess": _preprocess(reader), "classify": _classify(reader)}
    done = {"transfer": ("movie", "transferred"), "preprocess": ("micrograph", "finished"),
            "classify": ("round", "finished")}  # fmt: skip
    tracks = {
        track: _track(rows[track], runner, counts[track], _rate(reader, *done[track], rows[track]))
        for track in TRACKS
    }
    error = None
    if runner == "stale":
        error = "it was killed, or see the end of logs/runner.log; Start goes on where it was"
    return SessionStatus(
        name=name, runner=runner, since=moment(lease["since"]), host=lease["host"], pid=lease["pid"],
        revision=_in_force(reader), error=error,
        tracks=tracks, heartbeat=moment(lease["beat"]), raised=_raised(reader),
        sums=reader.value("SELECT value FROM meta WHERE key = ?", SUMS) or "",
    )  # fmt: skip


def _raised(reader: Reader) -> dict[str, datetime]:
    kept = reader.value("SELECT value FROM meta WHERE key = ?", RAISED)
    return {kind: datetime.fromisoformat(told["since"]) for kind, told in json.loads(kept or "{}").items()}


def _in_force(reader: Reader) -> int:
    """The newest revision if what changed since it was applied holds at once, else the applied one."""
    newest = int(reader.value("SELECT MAX(number) FROM revision") or 0)
    applied = int(reader.value("SELECT value FROM meta WHERE key = 'applied_revision'") or newest)
    if applied != newest:
        rows = reader.rows("SELECT settings FROM revision WHERE number IN (?, ?)", applied, newest)
        before, after = (Settings.model_validate_json(row["settings"]) for row in rows)
        if set(before.changes(after)) <= set(AT_ONCE):
            return newest
    return applied


def _track(row: dict[str, Any], runner: str, counts: dict[str, int], rate: float) -> TrackStatus:
    state, message = row["state"], row["message"]
    if runner != "running" and state != "stopped":
        state, message = "stopped", "The runner ended unexpectedly; Start goes on where it was."
    backlog = counts.get("new", counts["waiting"] + counts["running"])
    waits = backlog and rate and "new" not in counts
    return TrackStatus(
        name=row["name"], state=state, since=moment(row["since"]), message=message, counts=counts,
        rate_per_hour=rate, backlog=backlog, eta_s=3600.0 * backlog / rate if waits else None,
    )  # fmt: skip


def _transfer(reader: Reader) -> dict[str, int]:
    by = _by_state(reader, "movie")
    return {
        "found": sum(by.values()),
        "waiting": by.get("found", 0) + by.get("settling", 0) + by.get("offline", 0),
        "running": by.get("transferring", 0),
        "done": by.get("done", 0),
        "failed": by.get("failed", 0) + by.get("conflict", 0),
        "stuck": by.get("stuck", 0),
        "conflict": by.get("conflict", 0),
        "offline": by.get("offline", 0),
        "ignored": by.get("ignored", 0),
    }


def _preprocess(reader: Reader) -> dict[str, int]:
    by = _by_state(reader, "task")
    return {
        "waiting": by.get("ready", 0) + by.get("waiting", 0),
        "running": by.get("running", 0),
        "done": by.get("done", 0),
        "failed": by.get("failed", 0) + by.get("quarantined", 0),
        "quarantined": by.get("quarantined", 0),
        "ignored": by.get("ignored", 0),
    }


def _classify(reader: Reader) -> dict[str, int]:
    by = _by_state(reader, "round")
    last = reader.row(
        "SELECT number, particles, record, COALESCE(json_extract(record, '$[#-1]'), 0) AS batch FROM round"
        " WHERE state = 'done' ORDER BY number DESC LIMIT 1"
    ) or {"number": 0, "particles": 0, "record": "[]", "batch": 0}
    picked = reader.row(
        "SELECT COALESCE(SUM(b.particles) FILTER (WHERE m.excluded = 0), 0) AS total,"
        " COALESCE(SUM(b.particles) FILTER (WHERE m.excluded = 0 AND b.id > ?), 0) AS new,"
        " COALESCE(SUM(b.particles) FILTER (WHERE m.excluded AND b.id IN (SELECT value FROM json_each(?))),"
        " 0) AS leaving FROM batch b JOIN movie m ON m.id = b.movie_id",
        last["batch"], last["record"],
    )  # fmt: skip
    assert picked is not None
    judged, values = judged_classes(reader)
    accepted = reader.value(
        f"SELECT COALESCE(SUM(count), 0) FROM ({judged}) WHERE accepted = 1 AND round = ?",
        *values, last["number"],
    )  # fmt: skip
    return {
        "waiting": 0,
        "running": by.get("running", 0),
        "done": by.get("done", 0),
        "failed": by.get("failed", 0),
        "particles": picked["total"],
        "classified": last["particles"] or 0,
        "new": picked["new"],
        "leaving": picked["leaving"],
        "accepted": accepted,
    }


def _by_state(reader: Reader, what: str) -> dict[str, int]:
    return {
        row["state"]: row["n"] for row in reader.rows(f"SELECT state, COUNT(*) n FROM {what} GROUP BY state")
    }


def _rate(reader: Reader, what: str, column: str, track: dict[str, Any]) -> float:
    if track["state"] not in ("running", "stopping"):
        return 0.0
    now = time.time()
    began = max(now - WINDOW, track["since"] or 0.0)
    counted = "state = 'done' AND " if what == "round" else ""
    count = reader.value(f"SELECT COUNT(*) FROM {what} WHERE {counted}{column} >= ?", began)
    return 3600.0 * float(count) / max(now - began, 30.0)
