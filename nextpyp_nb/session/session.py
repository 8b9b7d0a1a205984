"""A session as people hold it: read its state, command its runner."""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from nextpyp_nb.session import commands, tables
from nextpyp_nb.session.classes2d import Classes2d
from nextpyp_nb.session.columns import Columns
from nextpyp_nb.session.events import Event, moment
from nextpyp_nb.session.filters import apply_filter
from nextpyp_nb.session.groups import acting, group_readable, may, refusal, role, user_name
from nextpyp_nb.session.inbox import Command, Receipt, collect, drop
from nextpyp_nb.session.launch import launch_runner
from nextpyp_nb.session.lease import Held, acquire, runner_state
from nextpyp_nb.session.manual_picks import merged_picks
from nextpyp_nb.session.older import bring_up_to_date
from nextpyp_nb.session.particle_size import EstimatedSize
from nextpyp_nb.session.places import place
from nextpyp_nb.session.quality_limits import Alarms
from nextpyp_nb.session.reach import overreach, roots_of, served
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.status import SessionStatus, read_status
from nextpyp_nb.session.store import Store
from nextpyp_nb.session.traffic import Flow
from nextpyp_nb.session.tryouts import TryOut, find_tryout, list_tryouts, tryout_folder
from nextpyp_nb.settings import Settings, read_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Settings as they were saved once."""

    number: int
    time: datetime
    actor: str
    settings: Settings


class Session(Classes2d, Columns, EstimatedSize, Flow):
    """The session at ``folder``: a read-only view, and commands to its runner."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        marker = read_marker(self.folder)
        self.name: str = marker["name"]
        self.id: str = marker["id"]
        self.owner: str = marker["owner"]
        self.group: str | None = marker["group"]
        self.created = datetime.fromisoformat(marker["created"])
        self._reader = Reader(self.folder / "session.db")
        bring_up_to_date(self.folder, self._reader)
        self._kept: dict[str, tuple[int, Any]] = {}
        self._alarms = Alarms()
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"Session({self.name!r} at {self.folder})"

    @property
    def revision(self) -> int:
        """The newest settings revision; `status` names the one in force."""
        return int(self._reader.value("SELECT MAX(number) FROM revision"))

    @property
    def settings(self) -> Settings:
        """The newest settings."""
        return self.settings_of(self.revision)

    def settings_of(self, revision: int) -> Settings:
        """The settings of a revision."""
        text = self._reader.value("SELECT settings FROM revision WHERE number = ?", revision)
        if text is None:
            raise ValueError(f"got revision {revision}, expected 1 to {self.revision}")
        return Settings.model_validate_json(text)

    def revisions(self) -> list[Revision]:
        """All settings that were saved, oldest first."""
        return [
            Revision(
                number=row["number"], time=datetime.fromtimestamp(row["time"]).astimezone(),
                actor=row["actor"],
                settings=Settings.model_validate_json(row["settings"]),
            )
            for row in self._reader.rows("SELECT * FROM revision ORDER BY number")
        ]  # fmt: skip

    def version(self) -> int:
        """Differs after every change of content or of the runner's life; cheap."""
        lease = self._reader.row("SELECT * FROM lease")
        assert lease is not None
        return 4 * self._reader.changes() + ("running", "stopped", "stale").index(runner_state(lease))

    def status(self) -> SessionStatus:
        """What the session is doing now."""
        return read_status(self._reader, self.name)

    @property
    def movies(self) -> pd.DataFrame:
        """All movies found."""
        return self._table("movies")

    @property
    def micrographs(self) -> pd.DataFrame:
        """One row a pre-processed movie."""
        return self._table("micrographs")

    def latest(self, count: int) -> pd.DataFrame:
        """The last ``count`` rows of `micrographs`, for who must not hold all of a long session."""
        return tables.latest_micrographs(self._reader, count)

    @property
    def exports(self) -> pd.DataFrame:
        """Exports with their state and path."""
        return self._table("exports")

    @property
    def filters(self) -> dict[str, str]:
        """Named filters: name → expression."""
        return {
            row["name"]: row["expression"] for row in self._reader.rows("SELECT * FROM filter ORDER BY name")
        }

    @property
    def alarms(self) -> pd.DataFrame:
        """Which figures of which micrographs are out of their limits: a row each, a column a figure."""
        return self._alarms.of(self._kept_table("micrographs"))

    def failed(self) -> pd.DataFrame:
        """What failed or is stuck: movie, stage, reason, attempts."""
        return self._table("failed")

    def filtered(self, expression: str) -> pd.DataFrame:
        """Micrographs that pass an expression or a named filter, and are not excluded."""
        return apply_filter(self.micrographs, self.filters.get(expression, expression))

    def micrograph(self, name: str) -> dict[str, Any]:
        """The row of one micrograph."""
        table = self.micrographs
        rows = table[table["name"] == name]
        if rows.empty:
            raise KeyError(f"no micrograph {name!r} in session {self.name} (yet)")
        return {str(key): value for key, value in rows.iloc[0].to_dict().items()}

    def particles(self) -> pd.DataFrame:
        """All picks: movie, y, x (px), score, and their class in the last round (0: not classified)."""
        parts = []
        for name in self.micrographs["name"]:
            picks = merged_picks(self.folder, name)
            if picks is not None:
                y, x = picks.centres.T
                parts.append(
                    pd.DataFrame({"movie": name, "y": y, "x": x, "score": picks.scores, "pick": picks.number})
                )
        columns = ["movie", "y", "x", "score", "pick"]
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
        return self._with_classes(table)

    def events(
        self, since: int = 0, track: str | None = None, limit: int = 200, newest_first: bool = True,
        movie: str | None = None,
    ) -> list[Event]:  # fmt: skip
        """Events after the one numbered ``since``; the newest ``limit`` of them, or the oldest."""
        rows = self._reader.rows(
            "SELECT * FROM event WHERE id > ? AND (? IS NULL OR track = ?) AND (? IS NULL OR movie = ?)"
            f" ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT ?",
            since, track, track, movie, movie, limit,
        )  # fmt: skip
        return [Event(**(row | {"time": moment(row["time"])})) for row in rows]

    def file(self, kind: str, name: str | int) -> Path:
        """A movie's file (average, weighted, preview, thumb, motion, ctf, picks, particles) or a round's."""
        return place(self.folder, kind, name)

    def role(self, user: str | None = None) -> str:
        """What a user (we) may do here: none, reader, operator, admin or owner."""
        return role(user or acting(), self.owner, self.group, read_site())

    def start(self, track: str | None = None, *, actor: str | None = None) -> Receipt:
        """Start a track (all); the runner is launched when there is none."""
        return self._command("start", {"track": track}, actor, launch=True)

    def stop(self, track: str | None = None, *, actor: str | None = None) -> Receipt:
        """Finish what is in flight, take no more."""
        return self._command("stop", {"track": track}, actor)

    def restart(self, track: str | None = None, *, actor: str | None = None) -> Receipt:
        """Apply the saved settings, do again what they change, retry what failed."""
        return self._command("restart", {"track": track}, actor, launch=True)

    def clear(self, track: str, *, actor: str | None = None) -> Receipt:
        """Drop a track's results and all that follow from them; never a transferred movie."""
        return self._command("clear", {"track": track}, actor)

    def cancel(self, *, actor: str | None = None) -> Receipt:
        """Stop everything now; results so far stay."""
        return self._command("cancel", {}, actor)

    def save_settings(self, settings: Settings, *, actor: str | None = None) -> Receipt:
        """Keep settings as a new revision; `restart` applies them."""
        return self._command("save_settings", {"settings": settings.model_dump()}, actor)

    def retry(
        self, movie: str | None = None, stage: str | None = None, *, actor: str | None = None
    ) -> Receipt:
        """Try failed movies (or one) again; ``stage`` transfer or preprocess, both when None."""
        return self._command("retry", {"movie": movie, "stage": stage}, actor)

    def ignore(self, movie: str, *, actor: str | None = None) -> Receipt:
        """Take a failing movie off the list."""
        return self._command("ignore", {"movie": movie}, actor)

    def exclude(self, movie: str | list[str], excluded: bool = True, *, actor: str | None = None) -> Receipt:
        """Leave a micrograph (or several) out of classification and export, or take it back."""
        return self._command("exclude", {"movie": movie, "excluded": excluded}, actor)

    def add_pick(self, movie: str, y: float, x: float, *, actor: str | None = None) -> Receipt:
        """Add a particle by hand at (y, x) px; it stays when the micrograph is picked again."""
        return self._command("add_pick", {"movie": movie, "y": float(y), "x": float(x)}, actor)

    def remove_pick(self, movie: str, y: float, x: float, *, actor: str | None = None) -> Receipt:
        """Take away the picks within half a radius of (y, x) px, now and when it is picked again."""
        return self._command("remove_pick", {"movie": movie, "y": float(y), "x": float(x)}, actor)

    def try_out(self, name: str, changes: Mapping[str, Any], *, actor: str | None = None) -> Receipt:
        """Process one micrograph with some settings changed, beside the results of the session.

        ``changes`` are as for `Settings.updated`, over the newest settings; without a runner one is started.
        The receipt's ``uuid`` is the try-out's number; its answer comes as soon as the try-out waits for a
        worker, and `tryout` tells what becomes of it. Raises `SettingsError` for settings that cannot be.
        """
        before = self.settings
        wanted = {key: new for key, (_, new) in before.changes(before.updated(changes)).items()}
        return self._command("try_out", {"micrograph": name, "changes": wanted}, actor, launch=True)

    def tryout(self, number: str) -> TryOut:
        """A try-out by its number; raises KeyError when it expired."""
        tryout_folder(self.folder, number)
        return find_tryout(self._reader, self.folder, number)

    def tryouts(self, name: str | None = None) -> list[TryOut]:
        """The try-outs (of one micrograph) that a runner took and that have not expired, newest first."""
        return [t for t in list_tryouts(self.folder) if name in (None, t.micrograph)]

    def promote(self, number: str, *, actor: str | None = None) -> Receipt:
        """Save what a try-out changed as a new revision of the settings; `restart` applies it."""
        found = self.tryout(number)
        if found.state != "done":
            raise ValueError(f"try-out {number} is {found.state}, expected one that is done")
        return self.save_settings(self.settings.updated(found.changes), actor=actor)

    def save_filter(self, name: str, expression: str | None, *, actor: str | None = None) -> Receipt:
        """Keep a filter under a name; None deletes it."""
        return self._command("save_filter", {"name": name, "expression": expression}, actor)

    def export(
        self, out: Path | str | None = None, *, filter: str | None = None, actor: str | None = None,
        **options: Any,
    ) -> Receipt:  # fmt: skip
        """Write STAR files for RELION to ``out`` (a new folder in exports/ when not given)."""
        arguments = {"out": None if out is None else str(out), "filter": filter, "options": options}
        return self._command("export", arguments, actor, launch=True)

    def report(self, out: Path | str | None = None, *, actor: str | None = None) -> Receipt:
        """Write a report as HTML to the folder ``out`` (a new one in reports/ when not given)."""
        return self._command("report", {"out": None if out is None else str(out)}, actor, launch=True)

    def cancel_export(self, number: int, *, actor: str | None = None) -> Receipt:
        """End the export or report of this number."""
        return self._command("cancel_export", {"export": int(number)}, actor)

    def close(self) -> None:
        """Close the connections to the database."""
        self._reader.close()

    def _command(
        self, name: str, arguments: dict[str, Any], actor: str | None, *, launch: bool = False
    ) -> Receipt:
        us = acting()
        what = self.role(us)
        if not may(what, name):
            raise PermissionError(refusal(us, what, name))
        roots = roots_of(read_site())
        if served() and (more := overreach(name, arguments, self.settings, self.folder, roots)):
            raise PermissionError(f"{name} refused: {more}, which people of this page may not")
        lease = self._reader.row("SELECT * FROM lease")
        assert lease is not None
        dead = runner_state(lease) != "running"
        mine = os.access(self.folder, os.W_OK) and os.access(self.folder / "session.db", os.W_OK)
        if dead and launch and not mine:
            raise PermissionError(
                f"nothing runs in session {self.name}, and only its owner {self.owner} may start a runner"
            )
        receipt = drop(self.folder, name, arguments, actor or us, relaunch=launch and mine and not dead)
        if dead and launch:
            # A try-out must not set the tracks going.
            launch_runner(self.folder, resume=name != "try_out")
        elif dead and mine:
            self._carry_out()
        return receipt

    def _carry_out(self) -> None:
        """Without a runner, be the runner for the moment that the waiting commands take."""
        store = Store(self.folder / "session.db")
        try:
            with group_readable(), acquire(store, patience=0.0):
                for command in collect(
                    store, self.folder, owner=self.owner, group=self.group, site=read_site()
                ):
                    if commands.apply(store, command) is None:
                        store.acknowledge(command.uuid, *self._without_runner(store, command))
        except Held:
            # A runner came up meanwhile; it takes the command.
            pass
        finally:
            store.close()

    def _without_runner(self, store: Store, command: Command) -> tuple[bool, str]:
        if command.name == "clear":
            return True, commands.clear(store, self.folder, command.arguments["track"])
        if command.name in ("stop", "cancel"):
            return True, "Nothing runs."
        return False, "Nothing runs; start the session first."

    def _table(self, name: str) -> pd.DataFrame:
        return self._kept_table(name).copy()

    def _kept_table(self, name: str) -> pd.DataFrame:
        changes = self._reader.changes()
        with self._guard:
            kept = self._kept.get(name)
        if kept is None or kept[0] != changes:
            read = getattr(tables, name)
            kept = (changes, read(self._reader, kept) if name == "micrographs" else read(self._reader))
            with self._guard:
                self._kept[name] = kept
        frame: pd.DataFrame = kept[1]
        return frame


def read_marker(folder: Path) -> dict[str, Any]:
    """The marker of a session's folder: id, name, group, owner, created, version."""
    path = folder / "session.json"
    try:
        marker = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} is not a session: it has no session.json") from None
    except PermissionError:
        raise PermissionError(f"{user_name()} may not read session {folder.name}; ask its owner") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(marker, dict) or not {"id", "name", "group", "owner", "created"} <= marker.keys():
        raise ValueError(f"{path} is not the marker of a session")
    return marker


def owned(folder: Path, doing: str) -> None:
    """PermissionError unless we may write the session at ``folder``, as only its owner (and root) may."""
    owner = read_marker(folder)["owner"]
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"{user_name()} may not {doing} session {folder.name}; only its owner {owner} may"
        )
