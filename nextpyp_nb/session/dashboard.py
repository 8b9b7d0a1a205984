"""All sessions below a root: make, open, list, copy."""

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
from nextpyp_nb.session.groups import acting, group_id, may, role, seen, user_name
from nextpyp_nb.session.older import bring_up_to_date
from nextpyp_nb.session.places import FOLDERS
from nextpyp_nb.session.reach import news, roots_of, served
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.session import Session, read_marker
from nextpyp_nb.session.status import TrackStatus, read_status
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings, read_site

# Movies whose only copy lies in the session.
MOVED = "SELECT COUNT(*) FROM movie WHERE operation = 'move' AND state IN ('done', 'transferring')"
# The type of sessions; the only one as yet.
SINGLE_PARTICLE = "single particle"
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
    type: str = SINGLE_PARTICLE
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
    if served() and (more := news(Settings(), settings, roots_of(site))):
        raise PermissionError(f"session {name} is not made: {more}, which people of this page may not")
    folder = sessions_root(root) / name
    group = group or site.default_group
    us, account = acting(), user_name()
    if us != account and not may(role(us, account, group, site), "start"):
        raise PermissionError(f"{us} may make sessions of groups in which {us} operates; {group} is none")
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
    folder = sessions_root(root) / name
    if not _hidden(folder) and not (folder / "session.json").exists():
        raise FileNotFoundError(f"no session {name} at {folder.parent}{_near(name, folder.parent)}")
    session = Session(folder)
    if not seen(session.owner, session.group, read_site()):
        session.close()
        raise PermissionError(f"{acting()} is not a member of the group of session {name}")
    return session


def list_sessions(root: Path | None = None) -> list[SessionSummary]:
    """All sessions that we may read, newest first."""
    top = sessions_root(root)
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
    site = read_site()
    ours = [summary for summary in summaries if seen(summary.owner, summary.group, site)]
    return sorted(ours, key=lambda s: s.created, reverse=True)


def copy_session(name: str, new_name: str, root: Path | None = None) -> Session:
    """A new session with the settings and group of another, and nothing else."""
    session = open_session(name, root=root)
    try:
        return create_session(new_name, settings=session.settings, root=root, group=session.group)
    finally:
        session.close()


def check_name(name: str) -> None:
    """Refuse what cannot name a session."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"got session name {name!r}, expected 1 to 64 letters, digits, . _ or -, no sign first"
        )


def _furnish(folder: Path, name: str, settings: Settings, group: str | None) -> None:
    number = None if group is None else group_id(group)
    if number is not None:
        os.chown(folder, -1, number)
    for sub in (*FOLDERS, "inbox"):
        (folder / sub).mkdir()
    if number is not None:
        for sub in (*FOLDERS, "inbox"):
            os.chown(folder / sub, -1, number)
    # Without a POSIX group the folder is its owner's alone. Members cannot take away each other's commands.
    modes = (0o2750, 0o3770) if number is not None else (0o700, 0o700)
    for sub in FOLDERS:
        (folder / sub).chmod(modes[0])
    (folder / "inbox").chmod(modes[1])
    folder.chmod(modes[0])
    path = folder / "session.db"
    path.touch(0o640)
    path.chmod(0o640)
    with Store(path) as store:
        store.save_revision(settings, acting())
    marker = {
        "id": str(uuid.uuid4()), "type": SINGLE_PARTICLE, "name": name, "group": group, "owner": user_name(),
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
        bring_up_to_date(folder, reader)
        status = read_status(reader, marker["name"])
        known = {
            "runner": status.runner, "tracks": status.tracks,
            "micrographs": int(reader.value("SELECT COUNT(*) FROM micrograph")),
            "movies": status.tracks["transfer"].counts["found"],
            "particles": status.tracks["classify"].counts["particles"],
            "moved": int(reader.value(MOVED)),
        }  # fmt: skip
        last = reader.value("SELECT time FROM event ORDER BY id DESC LIMIT 1")
    except Exception:
        pass
    finally:
        reader.close()
    return SessionSummary(
        name=folder.name, group=marker["group"], owner=marker["owner"],
        created=datetime.fromisoformat(marker["created"]), folder=folder,
        type=marker.get("type", SINGLE_PARTICLE),
        last_activity=None if last is None else datetime.fromtimestamp(last, UTC), **known,
    )  # fmt: skip


def sessions_root(root: Path | None) -> Path:
    """Where sessions lie: ``root``, or else the site's place."""
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
