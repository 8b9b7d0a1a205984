"""All sessions below a root: make, open, list, copy, delete."""

import difflib
import errno
import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextpyp_nb import __version__
from nextpyp_nb.session.database import Row
from nextpyp_nb.session.groups import group_id, may, refusal, role, user_name
from nextpyp_nb.session.lease import Held, lock_session, runner_state
from nextpyp_nb.session.places import FOLDERS
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.session import Session, read_marker
from nextpyp_nb.session.status import TrackStatus, read_status
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings, read_site

# Movies whose only copy lies in the session.
_MOVED = "SELECT COUNT(*) FROM movie WHERE operation = 'move' AND state IN ('done', 'transferring')"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A line of the dashboard; ``runner`` is running, stopped, stale or unreadable."""

    name: str
    group: str | None
    owner: str
    created: datetime
    runner: str
    micrographs: int
    movies: int
    last_activity: datetime | None
    folder: Path
    particles: int = 0
    moved: int = 0
    tracks: dict[str, TrackStatus] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Movies and rounds that failed."""
        return sum(track.counts.get("failed", 0) for track in self.tracks.values())

    @property
    def rate_per_hour(self) -> float:
        """Micrographs per hour, of the last ten minutes."""
        return self.tracks["preprocess"].rate_per_hour if self.runner == "running" else 0.0

    @property
    def doing(self) -> str:
        """What it does now: the message of the first track that does something; empty when none does."""
        busy = [track for track in self.tracks.values() if track.state != "stopped"]
        return busy[0].message if busy else ""


def create_session(
    name: str, *, settings: Settings, root: Path | None = None, group: str | None = None
) -> Session:
    """Make a session's folder with its settings; nothing runs yet."""
    check_name(name)
    site = read_site()
    folder = _root(root) / name
    group = group or site.default_group
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise FileExistsError(f"there is a session {name} at {folder.parent}; choose another name") from None
    except PermissionError:
        raise PermissionError(
            f"{user_name()} may not write to {folder.parent}; ask its owner, or give another root"
        ) from None
    except OSError as error:
        raise _said(error, folder) from None
    try:
        _furnish(folder, name, settings, group)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, PermissionError):
            raise _said(error, folder) from error
        raise
    return Session(folder)


def open_session(name: str, *, root: Path | None = None) -> Session:
    """A session by name, to read and to command."""
    check_name(name)
    folder = _root(root) / name
    if not _hidden(folder) and not (folder / "session.json").exists():
        raise FileNotFoundError(f"no session {name} at {folder.parent}{_near(name, folder.parent)}")
    return Session(folder)


def list_sessions(root: Path | None = None) -> list[SessionSummary]:
    """All sessions that we may read, newest first."""
    top = _root(root)
    if not top.is_dir():
        return []
    summaries = []
    for folder in sorted(top.iterdir()):
        if folder.is_symlink() or not _NAME.fullmatch(folder.name) or _hidden(folder):
            continue
        try:
            if (folder / "session.json").is_file():
                summaries.append(_summary(folder))
        except (OSError, ValueError):
            # Not ours to read, or being made or deleted right now.
            continue
    return sorted(summaries, key=lambda s: s.created, reverse=True)


def copy_session(name: str, new_name: str, root: Path | None = None) -> Session:
    """A new session with the settings and group of another, and nothing else."""
    session = open_session(name, root=root)
    try:
        return create_session(new_name, settings=session.settings, root=root, group=session.group)
    finally:
        session.close()


def delete_session(
    name: str, *, confirm: str, root: Path | None = None, raw_count: int | None = None
) -> None:
    """Delete a session and its files for ever; never anything outside its folder.

    ``confirm`` is the name typed again. When movies were moved in, their only copy goes too: ``raw_count``
    must then be their number.
    """
    check_name(name)
    folder = _root(root) / name
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link, not a session; remove the link by hand")
    session = open_session(name, root=root)
    session.close()
    _may_go(session, confirm)
    lock = lock_session(folder)
    try:
        lease = _lease(folder)
        if lock is None or (lease is not None and runner_state(lease) == "running"):
            host, pid = (lease["host"], lease["pid"]) if lease else (None, None)
            raise Held(name, host, pid)
        _count_raw(folder, name, raw_count)
        trash = folder.parent / f".deleted-{name}-{uuid.uuid4().hex[:8]}"
        folder.rename(trash)
    finally:
        if lock is not None:
            os.close(lock)
    shutil.rmtree(trash)


def check_name(name: str) -> None:
    """Refuse what cannot name a session."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"got session name {name!r}, expected 1 to 64 letters, digits, . _ or -, no sign first"
        )


def _may_go(session: Session, confirm: str) -> None:
    folder, name, site = session.folder, session.name, read_site()
    if confirm != folder.name:
        raise ValueError(f"got {confirm!r}, expected {folder.name}: type the session's name to delete it")
    if name != folder.name:
        raise ValueError(f"the marker in {folder} names session {name}: it was renamed; delete it by hand")
    us = user_name()
    what = role(us, session.owner, session.group, site)
    # The superuser of the machine may do it anyway.
    if not may(what, "delete") and os.getuid() != 0:
        raise PermissionError(refusal(us, what, "delete"))
    if folder.is_mount():
        raise ValueError(f"{folder} is a mount point; unmount it first")
    whole = folder.resolve()
    for data in site.data_roots:
        if data.resolve() == whole or whole in data.resolve().parents:
            raise ValueError(f"{folder} holds the data root {data}; it is not deleted")


def _count_raw(folder: Path, name: str, raw_count: int | None) -> None:
    """T10: a session that holds the only copy of movies goes only when their number is typed."""
    moved = _moved(folder)
    if moved and raw_count != moved:
        raise ValueError(
            f"session {name} holds the only copy of {moved:,} moved movies, and deleting it deletes them; "
            f"give their number (--with-raw {moved}) to do so"
        )


def _moved(folder: Path) -> int:
    reader = Reader(folder / "session.db")
    try:
        return int(reader.value(_MOVED))
    except Exception:
        raw = folder / "raw"
        return sum(1 for p in raw.rglob("*") if p.is_file() and not p.is_symlink()) if raw.is_dir() else 0
    finally:
        reader.close()


def _lease(folder: Path) -> Row | None:
    reader = Reader(folder / "session.db")
    try:
        return reader.row("SELECT * FROM lease")
    except Exception:
        return None
    finally:
        reader.close()


def _furnish(folder: Path, name: str, settings: Settings, group: str | None) -> None:
    number = None if group is None else group_id(group)
    if number is not None:
        os.chown(folder, -1, number)
    for sub in (*FOLDERS, "inbox"):
        (folder / sub).mkdir()
    if number is not None:
        for sub in (*FOLDERS, "inbox"):
            os.chown(folder / sub, -1, number)
    # Without a POSIX group the folder is its owner's alone.
    modes = (0o2750, 0o2770) if number is not None else (0o700, 0o700)
    for sub in FOLDERS:
        (folder / sub).chmod(modes[0])
    (folder / "inbox").chmod(modes[1])
    folder.chmod(modes[0])
    path = folder / "session.db"
    path.touch(0o640)
    path.chmod(0o640)
    with Store(path) as store:
        store.save_revision(settings, user_name())
    marker = {
        "id": str(uuid.uuid4()), "name": name, "group": group, "owner": user_name(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__,
    }  # fmt: skip
    part = folder / ".session.json.part"
    part.write_text(json.dumps(marker, indent=1) + "\n")
    part.chmod(0o640)
    part.rename(folder / "session.json")


def _summary(folder: Path) -> SessionSummary:
    marker = read_marker(folder)
    known: dict[str, Any] = {"runner": "unreadable", "micrographs": 0, "movies": 0}
    last = None
    reader = Reader(folder / "session.db")
    try:
        status = read_status(reader, marker["name"])
        known = {
            "runner": status.runner, "tracks": status.tracks,
            "micrographs": int(reader.value("SELECT COUNT(*) FROM micrograph")),
            "movies": status.tracks["transfer"].counts["found"],
            "particles": status.tracks["classify"].counts["particles"],
            "moved": int(reader.value(_MOVED)),
        }  # fmt: skip
        last = reader.value("SELECT time FROM event ORDER BY id DESC LIMIT 1")
    except Exception:
        pass
    finally:
        reader.close()
    return SessionSummary(
        name=folder.name, group=marker["group"], owner=marker["owner"],
        created=datetime.fromisoformat(marker["created"]), folder=folder,
        last_activity=None if last is None else datetime.fromtimestamp(last, UTC), **known,
    )  # fmt: skip


def _root(root: Path | None) -> Path:
    return read_site().sessions_root if root is None else Path(root).expanduser().absolute()


def _hidden(folder: Path) -> bool:
    """Whether the folder is there, but not for us."""
    return folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


def _near(name: str, root: Path) -> str:
    names = [s.name for s in list_sessions(root)]
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(sorted(names)[:10])}" if names else "; there is none yet"


def _said(error: OSError, folder: Path) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(error.errno, f"the disk of {folder.parent} is full; free some space or give --root")
    return OSError(f"cannot make {folder}: {error.strerror or error}")
