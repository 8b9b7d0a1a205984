"""The rest of what is written down: lease, settings revisions, tracks, commands, exports, filters."""

import json
import sqlite3
import time
from typing import Any

from nextpyp_nb import __version__
from nextpyp_nb.session.accepted import class_rule
from nextpyp_nb.session.database import Row, to_json
from nextpyp_nb.session.particle_size import ParticleSizes
from nextpyp_nb.session.stages import TRACKS
from nextpyp_nb.settings import Settings

TRACK_STATES = ("running", "stopping", "stopped", "paused", "waiting")


class Ledger(ParticleSizes):
    """Lease, revisions, tracks, commands, exports and filters of a session."""

    def take_lease(self, *, host: str, boot_id: str, pid: int, start_time: int) -> int:
        """Make this the one writer: a new epoch, so that older ones are refused. Returns it."""
        with self._lock:
            self.epoch = int(self._value("SELECT epoch FROM lease"))
            with self.transaction():
                now = time.time()
                self._run(
                    "UPDATE lease SET epoch = epoch + 1, host = ?, boot_id = ?, pid = ?, start_time = ?,"
                    " beat = ?, since = ?",
                    host, boot_id, pid, start_time, now, now,
                )  # fmt: skip
            self.epoch += 1
        return self.epoch

    def beat(self) -> None:
        """Say that the runner is alive; refused when another took over. Panels are not woken by it."""
        with self._lock:
            if self._depth == 0:
                try:
                    changed = self._run(
                        "UPDATE lease SET beat = ? WHERE epoch = ?", time.time(), self.epoch
                    ).rowcount
                except sqlite3.OperationalError as error:
                    raise self.said(error) from error
                if not changed:
                    self._refuse_older_epoch()

    def release_lease(self) -> None:
        """Nobody writes any more."""
        with self.transaction():
            self._run(
                "UPDATE lease SET host = NULL, boot_id = NULL, pid = NULL, start_time = NULL, beat = NULL,"
                " since = ?",
                time.time(),
            )
            self._run("UPDATE track SET state = 'stopped', since = ? WHERE state <> 'stopped'", time.time())

    def lease_row(self) -> Row:
        """Who writes: host is None when nobody does."""
        row = self._row("SELECT * FROM lease")
        assert row is not None
        return row

    def save_revision(self, settings: Settings, actor: str) -> int:
        """Keep ``settings`` as the newest revision, if anything changed. Returns its number."""
        class_rule(settings.class2d.accept)
        with self.transaction():
            last = self._row("SELECT number, settings FROM revision ORDER BY number DESC LIMIT 1")
            if last is not None and Settings.model_validate_json(last["settings"]) == settings:
                return int(last["number"])
            number = 1 if last is None else last["number"] + 1
            self._run(
                "INSERT INTO revision VALUES (?, ?, ?, ?, ?)",
                number, time.time(), actor, settings.model_dump_json(), __version__,
            )  # fmt: skip
            if last is not None:
                self.log("settings_saved", f"{actor} saved settings, revision {number}.")
        return number

    def latest_settings(self) -> tuple[int, Settings]:
        """The newest revision and its settings."""
        row = self._row("SELECT number, settings FROM revision ORDER BY number DESC LIMIT 1")
        if row is None:
            raise RuntimeError("this session has no settings: its database was not made by create_session")
        return row["number"], Settings.model_validate_json(row["settings"])

    def applied_settings(self) -> tuple[int, Settings]:
        """The revision in force: the newest when the tracks were last started or restarted.

        Where its radius is left empty, the estimated one stands there.
        """
        applied = self.meta("applied_revision")
        row = self._row("SELECT number, settings FROM revision WHERE number = ?", int(applied or 0))
        number, settings = (
            self.latest_settings()
            if row is None
            else (row["number"], Settings.model_validate_json(row["settings"]))
        )
        return number, self.with_estimate(settings)

    def apply_settings(self) -> tuple[int, Settings]:
        """Put the newest revision in force (Start, Restart); `reset_stages` then makes work of it.

        Where its radius is left empty, the estimated one stands there.
        """
        with self.transaction():
            number, settings = self.latest_settings()
            self.set_meta("applied_revision", str(number))
        return number, self.with_estimate(settings)

    def meta(self, key: str) -> str | None:
        """A word kept under ``key``."""
        value = self._value("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else str(value)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a word under ``key``."""
        with self.transaction():
            self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def set_track(
        self,
        name: str,
        *,
        state: str | None = None,
        wanted: bool | None = None,
        message: str | None = None,
    ) -> None:
        """What a track does (state), whether it shall work (wanted), and what it says."""
        if name not in TRACKS or state not in (None, *TRACK_STATES):
            raise ValueError(
                f"got track {name!r} and state {state!r}, expected one of {', '.join(TRACKS)}"
                f" and one of {', '.join(TRACK_STATES)}"
            )
        before = self.track(name)
        after = {
            "state": before["state"] if state is None else state,
            "wanted": before["wanted"] if wanted is None else ("running" if wanted else "stopped"),
            "message": before["message"] if message is None else message,
        }
        if all(before[key] == value for key, value in after.items()):
            return
        moved = after["state"] != before["state"] or before["since"] is None
        with self.transaction():
            self._run(
                "UPDATE track SET state = ?, wanted = ?, message = ?, since = ? WHERE name = ?",
                *after.values(), time.time() if moved else before["since"], name,
            )  # fmt: skip

    def track(self, name: str) -> Row:
        """Name, wanted, state, since and message of a track."""
        row = self._row("SELECT * FROM track WHERE name = ?", name)
        assert row is not None, f"no track {name}"
        return row

    def begin_command(self, uuid: str, actor: str, name: str, arguments: dict[str, Any]) -> bool:
        """Note a command before it is carried out; False when it was noted before."""
        with self.transaction():
            return bool(
                self._run(
                    "INSERT INTO command(uuid, actor, name, arguments, received) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT(uuid) DO NOTHING",
                    uuid, actor, name, to_json(arguments), time.time(),
                ).rowcount
            )  # fmt: skip

    def acknowledge(self, uuid: str, ok: bool, message: str) -> None:
        """Answer a command."""
        with self.transaction():
            self._run("UPDATE command SET ok = ?, message = ? WHERE uuid = ?", int(ok), message, uuid)

    def add_export(
        self, name: str, path: str, filter: str | None, options: dict[str, Any], *, kind: str = "export"
    ) -> int:
        """Note a job that waits, an export or a report; returns its id."""
        with self.transaction():
            cursor = self._run(
                "INSERT INTO export(name, state, path, filter, options, created, kind)"
                " VALUES (?, 'waiting', ?, ?, ?, ?, ?)",
                name, path, filter, to_json(options), time.time(), kind,
            )  # fmt: skip
            return int(cursor.lastrowid or 0)

    def set_export(
        self, export_id: int, state: str, message: str, path: str | None = None,
        progress: tuple[int | None, int | None] = (None, None),
    ) -> None:  # fmt: skip
        """A job is waiting, running (``progress``: so many of so many), done, failed or cancelled."""
        finished = time.time() if state in ("done", "failed", "cancelled") else None
        with self.transaction():
            self._run(
                "UPDATE export SET state = ?, message = ?, path = COALESCE(?, path), finished = ?,"
                " done = ?, total = ? WHERE id = ?",
                state, message, path, finished, *progress, export_id,
            )  # fmt: skip

    def exports(self, *states: str) -> list[Row]:
        """Exports in these states, oldest first, ``options`` as a dictionary."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        rows = self._rows(f"SELECT * FROM export {where} ORDER BY id", *states)
        return [row | {"options": json.loads(row["options"])} for row in rows]

    def news_since_report(self) -> bool:
        """Whether there are micrographs that no report tells of."""
        last = self._value("SELECT MAX(created) FROM export WHERE kind = 'report' AND state <> 'cancelled'")
        return bool(self._value("SELECT COUNT(*) FROM micrograph WHERE finished > ?", last or 0.0))

    def save_filter(self, name: str, expression: str | None) -> None:
        """Keep a filter of micrographs by name; None deletes it."""
        with self.transaction():
            if expression is None:
                self._run("DELETE FROM filter WHERE name = ?", name)
            else:
                self._run("INSERT OR REPLACE INTO filter VALUES (?, ?)", name, expression)

    def filter(self, name: str) -> str | None:
        """The expression of a named filter."""
        value = self._value("SELECT expression FROM filter WHERE name = ?", name)
        return None if value is None else str(value)
