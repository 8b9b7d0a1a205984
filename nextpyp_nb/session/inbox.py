"""Commands from panels to the runner: files in inbox/, taken exactly once, answered in the store."""

import contextlib
import json
import os
import re
import stat
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextpyp_nb.session.groups import may, refusal, role, user_name
from nextpyp_nb.session.launch import launch_runner
from nextpyp_nb.session.lease import alive
from nextpyp_nb.session.reach import overreach
from nextpyp_nb.session.store import Reader, Store
from nextpyp_nb.settings import Site

LARGEST = 1 << 20
_FILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What someone wants done."""

    uuid: str
    actor: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The answer to a command."""

    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A command on its way."""

    folder: Path
    uuid: str
    relaunch: bool = False

    def wait(self, timeout: float = 5.0) -> Ack:
        """The answer; when none comes in time, an `Ack` that says so."""
        reader = Reader(self.folder / "session.db")
        until = time.monotonic() + timeout
        relaunch = self.relaunch
        try:
            while True:
                row = reader.row("SELECT ok, message FROM command WHERE uuid = ?", self.uuid)
                if row is not None and row["ok"] is not None:
                    return Ack(ok=bool(row["ok"]), message=row["message"] or "")
                if time.monotonic() >= until:
                    break
                if relaunch and row is None and not alive(reader.rows("SELECT * FROM lease")[0]):
                    # It was on its way out when the command came.
                    launch_runner(self.folder)
                    relaunch = False
                time.sleep(0.05)
        finally:
            reader.close()
        told = (
            "is at work on it" if row is not None else "has not answered yet; the command waits in its inbox"
        )
        return Ack(ok=False, message=f"the session's runner {told}")


def drop(
    folder: Path,
    name: str,
    arguments: Mapping[str, Any],
    actor: str | None = None,
    *,
    relaunch: bool = False,
) -> Receipt:
    """Put a command into the inbox of the session at ``folder``, whole or not at all.

    With ``relaunch`` the receipt starts another runner if the present one ends without taking it.
    """
    command = str(uuid.uuid4())
    content = {"uuid": command, "name": name, "arguments": dict(arguments)}
    if actor is not None:
        content["actor"] = actor
    inbox = folder / "inbox"
    part = inbox / f".{command}.part"
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    except PermissionError:
        raise PermissionError(
            f"{user_name()} may not command session {folder.name}: only members of its group may"
        ) from None
    with os.fdopen(handle, "w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fchmod(stream.fileno(), 0o640)
        os.fsync(stream.fileno())
    part.rename(inbox / f"{command}.json")
    return Receipt(folder, command, relaunch)


def collect(store: Store, folder: Path, *, owner: str, group: str | None, site: Site) -> list[Command]:
    """Take the commands that wait, oldest first; each is noted before its file goes, so none runs twice.

    What its actor may not do is answered and logged here. Files that are no commands go to refused/.
    """
    taken = []
    for path in _waiting(folder / "inbox"):
        try:
            command = _read(path, site)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            _refuse(store, path, str(error))
            continue
        new = store.begin_command(command.uuid, command.actor, command.name, command.arguments)
        path.unlink(missing_ok=True)
        if not new:
            continue
        what = role(command.actor, owner, group, site)
        sentence = "" if may(what, command.name) else refusal(command.actor, what, command.name)
        if what == "operator" and (more := _overreach(store, command, folder, site)):
            sentence = f"{refusal(command.actor, what, command.name)}: {more}"
        if sentence:
            with store.transaction():
                store.acknowledge(command.uuid, False, sentence)
                store.log("command_refused", sentence, level="warning")
        else:
            taken.append(command)
    return taken


def _overreach(store: Store, command: Command, folder: Path, site: Site) -> str:
    settings = store.latest_settings()[1]
    return overreach(command.name, command.arguments, settings, folder, site.data_roots)


def _waiting(inbox: Path) -> list[Path]:
    with os.scandir(inbox) as entries:
        names = [e.name for e in entries if not e.name.startswith(".")]
    dated = []
    for name in names:
        path = inbox / name
        try:
            dated.append((path.lstat().st_mtime_ns, name, path))
        except FileNotFoundError:
            continue
    return [path for _, _, path in sorted(dated)]


def _read(path: Path, site: Site) -> Command:
    if not _FILE.fullmatch(path.name):
        raise ValueError("its name is not that of a command")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        seen = os.fstat(stream.fileno())
        # A second name would let someone borrow the owner of another's file.
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:
            raise ValueError("not a plain file of its own")
        if seen.st_size > LARGEST:
            raise ValueError(f"{seen.st_size} bytes, expected at most {LARGEST}")
        content = _parsed(stream.read(LARGEST + 1))
    if content["uuid"] != path.stem:
        raise ValueError("its number is not that of its file")
    actor = user_name(seen.st_uid)
    if actor in site.service_accounts and isinstance(content.get("actor"), str):
        actor = content["actor"]
    return Command(
        uuid=content["uuid"], actor=actor, name=content["name"], arguments=content["arguments"]
    )  # fmt: skip


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
        # Python reads NaN and 1e999, the journal of commands does not take them.
        json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    kinds = {"uuid": str, "name": str, "arguments": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(k), t) for k, t in kinds.items()):
        raise ValueError("expected uuid, name and arguments")
    return content


def _refuse(store: Store, path: Path, reason: str) -> None:
    """Put a file aside where only the owner can have made the folder: in the inbox a link could lead away."""
    refused = path.parent.parent / "refused"
    refused.mkdir(mode=0o700, exist_ok=True)
    name = f"{time.time_ns()}-{path.name[:100]}"
    try:
        path.rename(refused / name)
    except FileNotFoundError:
        return
    except OSError as error:
        # A folder of someone else stays in its parent; a hidden one is not looked at again.
        reason = f"{reason}; it cannot be moved away: {error.strerror}"
        with contextlib.suppress(OSError):
            path.rename(path.parent / f".refused-{name}")
    store.log("command_refused", f"inbox file {path.name!r} refused: {reason}", level="warning")
