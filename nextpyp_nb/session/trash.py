"""Sessions that go: into the trash, where they wait beside the others, back from there, or for ever."""

import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextpyp_nb.session.dashboard import MOVED, check_name, open_session, sessions_root
from nextpyp_nb.session.database import Row
from nextpyp_nb.session.groups import acting, may, refusal, role, seen, user_name
from nextpyp_nb.session.lease import Held, lock_session, runner_state
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.session import Session, read_marker
from nextpyp_nb.settings import read_site

_ENTRY = re.compile(r"\.deleted-(.+)-[0-9a-f]{8}")
_NOTE = "deleted.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashedSession:
    """A session in the trash; ``whole`` is False for what is left of one whose removal was cut short.

    ``moved`` is the number of movies whose only copy lies in it.
    """

    name: str
    owner: str
    group: str | None
    folder: Path
    deleted: datetime
    by: str
    moved: int
    whole: bool = True


def trash_session(
    name: str, *, confirm: str, root: Path | None = None, raw_count: int | None = None
) -> TrashedSession:
    """Put a session into the trash, as `delete_session` does, but lose nothing yet."""
    return _entry(_set_aside(name, confirm, root, raw_count))


def delete_session(
    name: str, *, confirm: str, root: Path | None = None, raw_count: int | None = None
) -> None:
    """Delete a session and its files for ever; never anything outside its folder.

    ``confirm`` is the name typed again. When movies were moved in, their only copy goes too: ``raw_count``
    must then be their number.
    """
    shutil.rmtree(_set_aside(name, confirm, root, raw_count))


def list_trash(root: Path | None = None) -> list[TrashedSession]:
    """What lies in the trash and may be read, the last that went first."""
    top = sessions_root(root)
    if not top.is_dir():
        return []
    found = []
    for folder in top.iterdir():
        if (
            not _ENTRY.fullmatch(folder.name)
            or folder.is_symlink()
            or not os.access(folder, os.R_OK | os.X_OK)
        ):
            continue
        try:
            found.append(_entry(folder))
        except OSError:
            # It is being removed right now.
            continue
    site = read_site()
    ours = [entry for entry in found if seen(entry.owner, entry.group, site)]
    return sorted(ours, key=lambda entry: entry.deleted, reverse=True)


def restore_session(entry: TrashedSession) -> str:
    """Take a session back out of the trash, under its name; returns it."""
    _ours(entry.owner, entry.group, "restore")
    if not entry.whole:
        raise ValueError(f"what is left of {entry.name} is no session any more: only remove it")
    target = entry.folder.parent / entry.name
    if target.exists():
        raise FileExistsError(
            f"there is another session {entry.name} by now; rename or delete that one first"
        )
    entry.folder.rename(target)
    (target / _NOTE).unlink(missing_ok=True)
    return entry.name


def remove_trashed(entry: TrashedSession, *, raw_count: int | None = None) -> None:
    """Remove what lies in the trash for ever; ``raw_count`` as for `delete_session`."""
    _ours(entry.owner, entry.group, "delete")
    _count_raw(entry.folder, entry.name, raw_count)
    shutil.rmtree(entry.folder)


def _set_aside(name: str, confirm: str, root: Path | None, raw_count: int | None) -> Path:
    """Rename a session that may go, so that nobody sees it any more; returns where it is."""
    check_name(name)
    folder = sessions_root(root) / name
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
        note = {"by": acting(), "time": datetime.now(UTC).isoformat(timespec="seconds")}
        (folder / _NOTE).write_text(json.dumps(note) + "\n")
        trash = folder.parent / f".deleted-{name}-{uuid.uuid4().hex[:8]}"
        folder.rename(trash)
    finally:
        if lock is not None:
            os.close(lock)
    return trash


def _entry(folder: Path) -> TrashedSession:
    found = _ENTRY.fullmatch(folder.name)
    assert found is not None
    known: dict[str, Any] = {}
    try:
        marker = read_marker(folder)
        known = {"owner": marker["owner"], "group": marker["group"]}
    except (OSError, ValueError, KeyError):
        known = {"owner": folder.owner(), "group": None, "whole": False}
    try:
        note = json.loads((folder / _NOTE).read_text())
        deleted, by = datetime.fromisoformat(note["time"]), str(note["by"])
    except (OSError, ValueError, KeyError):
        deleted, by = datetime.fromtimestamp(folder.stat().st_mtime, UTC), known["owner"]
    return TrashedSession(name=found[1], folder=folder, deleted=deleted, by=by, moved=_moved(folder), **known)


def _ours(owner: str, group: str | None, what: str) -> None:
    us = acting()
    ours = role(us, owner, group, read_site())
    # The superuser of the machine may do it anyway.
    if not may(ours, "delete") and (os.getuid() != 0 or us != user_name()):
        raise PermissionError(refusal(us, ours, what))


def _may_go(session: Session, confirm: str) -> None:
    folder, name, site = session.folder, session.name, read_site()
    if confirm != folder.name:
        raise ValueError(f"got {confirm!r}, expected {folder.name}: type the session's name to delete it")
    if name != folder.name:
        raise ValueError(f"the marker in {folder} names session {name}: it was renamed; delete it by hand")
    _ours(session.owner, session.group, "delete")
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
        return int(reader.value(MOVED))
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
