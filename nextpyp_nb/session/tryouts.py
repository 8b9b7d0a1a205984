"""Try-outs: one micrograph processed with other settings, beside the session's results; they expire.

Each has a folder ``tryout/<id>/`` laid out as the session's own, with a ``record.json`` of how it stands.
"""

import json
import re
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nextpyp_nb.session.json_file import write_json
from nextpyp_nb.session.places import place
from nextpyp_nb.session.reader import Reader

KEPT, LIFETIME = 20, 3600.0
FINISHED = ("done", "failed")
RUNNER_ENDED = "the runner ended before it was done; try again"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RECORD = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOut:
    """One micrograph with other settings, as far as it is.

    ``state`` is queued, running (``stage`` says where: motion, ctf or picking), done, or failed with a
    ``reason``. ``changes`` are the settings that differ from revision ``revision``, by "section.field";
    ``stages`` what is done anew; ``row`` the numbers that this gave, named as columns of
    `Session.micrographs`; ``expires`` (s since 1970) when its files go, None while it works.
    """

    id: str
    folder: Path
    micrograph: str
    actor: str
    changes: dict[str, Any]
    state: str
    revision: int | None = None
    stages: tuple[str, ...] = ()
    stage: str = ""
    reason: str = ""
    created: float | None = None
    finished: float | None = None
    row: dict[str, Any]

    @property
    def expires(self) -> float | None:
        """When its files go, s since 1970; None while it works."""
        return None if self.finished is None else self.finished + LIFETIME

    def file(self, kind: str, name: str | None = None) -> Path:
        """A file of the micrograph as this try-out made it: the kinds of `Session.file`."""
        return place(self.folder, kind, name or self.micrograph)

    def entry(self, before: dict[str, Any]) -> dict[str, Any]:
        """``before``, the micrograph's row in the session ({} when it has none), with what this gave."""
        new = before | self.row | {"name": self.micrograph}
        if self.row.get("defocus_u") is not None:
            new["defocus"] = 0.5 * (self.row["defocus_u"] + self.row["defocus_v"])
            new["astigmatism"] = self.row["defocus_u"] - self.row["defocus_v"]
        elif self.row.get("ctf_failed"):
            new |= {"defocus": None, "astigmatism": None}
        if self.finished is not None:
            new["finished"] = pd.Timestamp(self.finished, unit="s", tz="UTC")
        return new


def tryout_folder(folder: Path, number: str) -> Path:
    """Where the try-out ``number`` of the session at ``folder`` lies."""
    if not _ID.fullmatch(number):
        raise ValueError(f"got try-out {number!r}, expected the number that try_out gave")
    return folder / "tryout" / number


def write_record(folder: Path, found: TryOut) -> None:
    """Keep how a try-out stands."""
    names = ("id", "micrograph", "actor", "changes", "revision", "stages", "state", "stage", "reason",
             "created", "finished", "row")  # fmt: skip
    write_json(tryout_folder(folder, found.id) / _RECORD, {name: getattr(found, name) for name in names})


def read_tryout(folder: Path, number: str) -> TryOut | None:
    """A try-out as its record says, None where there is none."""
    where = tryout_folder(folder, number)
    try:
        record = json.loads((where / _RECORD).read_text())
        return TryOut(folder=where, **(record | {"stages": tuple(record["stages"])}))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def list_tryouts(folder: Path) -> list[TryOut]:
    """All try-outs with a record that have not expired, newest first."""
    found = [read_tryout(folder, number) for number in _numbers(folder)]
    living = [t for t in found if t is not None and not _expired(t)]
    return sorted(living, key=lambda t: t.created or 0.0, reverse=True)


def find_tryout(reader: Reader, folder: Path, number: str) -> TryOut:
    """The try-out ``number``, wherever it is on its way; raises KeyError when it expired or never was."""
    # In the order of its way, so that it is not missed while it goes from one to the next.
    asked = _in_inbox(folder, number)
    command = reader.row("SELECT actor, arguments, ok, message FROM command WHERE uuid = ?", number)
    found = read_tryout(folder, number)
    if found is not None and not _expired(found):
        return found
    refused = command is not None and command["ok"] == 0
    if command is not None and not command["ok"]:
        asked = json.loads(command["arguments"])
    if asked is None:
        raise KeyError(f"no try-out {number}: it expired, or was never asked for")
    return TryOut(
        id=number, folder=tryout_folder(folder, number), micrograph=str(asked.get("micrograph")),
        actor=command["actor"] if command else "", changes=asked.get("changes") or {},
        state="failed" if refused else "queued", reason=command["message"] if command and refused else "",
        row={},
    )  # fmt: skip


def fail_tryout(folder: Path, found: TryOut, reason: str) -> None:
    """Say why a try-out came to nothing; what files it made go."""
    for path in found.folder.iterdir():
        if path.name != _RECORD:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    write_record(
        folder, replace(found, state="failed", stage="", reason=reason, finished=time.time(), row={})
    )


def sweep_tryouts(folder: Path, working: Collection[str]) -> None:
    """Delete what expired, the oldest beyond `KEPT`, and debris; end what nobody works on.

    ``working`` are the numbers of those that are in hand.
    """
    ended = []
    for number in _numbers(folder):
        found = read_tryout(folder, number)
        if number in working:
            continue
        if found is None:
            shutil.rmtree(tryout_folder(folder, number), ignore_errors=True)
        elif found.state not in FINISHED:
            fail_tryout(folder, found, RUNNER_ENDED)
        else:
            ended.append(found)
    ended.sort(key=lambda t: t.finished or 0.0, reverse=True)
    for rank, found in enumerate(ended):
        if rank >= KEPT or _expired(found):
            shutil.rmtree(found.folder, ignore_errors=True)


def _numbers(folder: Path) -> list[str]:
    try:
        return [path.name for path in (folder / "tryout").iterdir() if _ID.fullmatch(path.name)]
    except FileNotFoundError:
        return []


def _expired(found: TryOut) -> bool:
    return found.expires is not None and found.expires < time.time()


def _in_inbox(folder: Path, number: str) -> dict[str, Any] | None:
    try:
        asked: dict[str, Any] = json.loads((folder / "inbox" / f"{number}.json").read_text())["arguments"]
    except (OSError, ValueError):
        return None
    return asked
