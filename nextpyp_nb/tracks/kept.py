"""Results of the stages by their keys: going back to earlier settings computes nothing again."""

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nextpyp_nb.session.json_file import write_json
from nextpyp_nb.session.places import Places

# What each stage leaves behind, by its kind.
MADE = {
    "motion": ("average", "weighted", "even", "odd", "rest", "preview", "thumb", "motion", "trajectory"),
    "ctf": ("ctf",),
    "picking": ("picks",),
}
FOLDER = "kept"
# So many earlier results of a stage and micrograph are kept.
EARLIER = 3
# Motion is large: its results are kept while this share of the disk is free.
FREE = 0.25
_RECORD = "record.json"

Record = dict[str, Any]


class Kept:
    """The results of one micrograph under the keys that are wanted now, and under earlier ones.

    ``results/<name>.json`` says under which key each stage's files were made; a stage that is done again is
    taken out of it first, so that it never speaks of files of a stage that was cut short. Earlier results
    lie in ``kept/<stage>/<key>/<name>/``, as second names of the files where the disk can do that.
    Without ``keys`` (a try-out) everything is computed.
    """

    def __init__(self, places: Places, keys: Mapping[str, str] | None) -> None:
        self._places, self._keys = places, keys
        self._here: dict[str, Any] = {} if keys is None else _read(places("results")) or {}

    def through(self, stage: str, compute: Callable[[], Record]) -> Record:
        """The record of ``stage``: as its files lie here, as it was kept, or computed."""
        if self._keys is None:
            return compute()
        key, here = self._keys[stage], self._here.get(stage)
        if here is not None and here["key"] == key and self._complete(here):
            return dict(here["record"])
        if here is not None:
            self._keep(stage, here)
            del self._here[stage]
            write_json(self._places("results"), self._here)
        record = self._take_back(stage, key)
        if record is None:
            record = compute()
        files = [kind for kind in MADE[stage] if self._places(kind).is_file()]
        self._here[stage] = {"key": key, "record": record, "files": files}
        write_json(self._places("results"), self._here)
        return dict(record)

    def _complete(self, here: Mapping[str, Any]) -> bool:
        return all(self._places(kind).is_file() for kind in here["files"])

    def _keep(self, stage: str, here: Mapping[str, Any]) -> None:
        """Second names for the files of a stage that is done again now; with the record they count."""
        if not self._complete(here) or (stage == "motion" and not _room(self._places.folder)):
            return
        folder = self._folder(stage, here["key"])
        # A disk that takes no more costs the way back, not the way on.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            for kind in here["files"]:
                share(self._places(kind), folder / self._places(kind).name)
            write_json(folder / _RECORD, here)
            self._drop_oldest(stage)

    def _take_back(self, stage: str, key: str) -> Record | None:
        folder = self._folder(stage, key)
        kept = _read(folder / _RECORD)
        if kept is None or not all((folder / self._places(kind).name).is_file() for kind in kept["files"]):
            return None
        for kind in MADE[stage]:
            path = self._places(kind)
            if kind in kept["files"]:
                path.parent.mkdir(exist_ok=True)
                share(folder / path.name, path)
            else:
                path.unlink(missing_ok=True)
        return dict(kept["record"])

    def _folder(self, stage: str, key: str) -> Path:
        return self._places.folder / FOLDER / stage / key / self._places.name

    def _drop_oldest(self, stage: str) -> None:
        mine = (self._places.folder / FOLDER / stage).glob(f"*/{glob.escape(self._places.name)}/{_RECORD}")
        dated = sorted((record.stat().st_mtime_ns, record.parent) for record in mine)
        for _, folder in dated[:-EARLIER]:
            shutil.rmtree(folder)


def share(source: Path, target: Path) -> None:
    """Put the content of ``source``, if it is there, at ``target``, whole.

    Files are never written in place, so that a second name is a copy.
    """
    part = target.with_name(f".{target.name}.shared")
    part.unlink(missing_ok=True)
    try:
        try:
            os.link(source, part)
        except FileNotFoundError:
            return
        except OSError:
            shutil.copyfile(source, part)
        part.replace(target)
    finally:
        # Two names of one file: a rename between them leaves both.
        part.unlink(missing_ok=True)


def _room(folder: Path) -> bool:
    usage = shutil.disk_usage(folder)
    return usage.free >= FREE * usage.total


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
