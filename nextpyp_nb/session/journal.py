"""What a session did, as lines beside its database: from these and its files a lost database is made anew."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nextpyp_nb.session.database import to_json
from nextpyp_nb.session.groups import user_name
from nextpyp_nb.session.lease import Held, lock_session
from nextpyp_nb.session.particle_size import SizeEstimate
from nextpyp_nb.session.places import place
from nextpyp_nb.session.session import owned
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings

NAME = "journal.jsonl"
DATABASE = ("session.db", "session.db-wal", "session.db-shm", "session.db-journal")


def note(folder: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Append a line: a settings revision, a movie that was taken, the size of particles, or results.

    A disk that takes no line stops nothing: the database has it, and a gap costs work only if that is lost.
    """
    with contextlib.suppress(OSError), (folder / NAME).open("a", encoding="utf-8") as out:
        # A new line first: a line that was cut short spoils no other.
        out.write("\n" + to_json({"kind": kind, **content}))


def rebuild(folder: Path) -> str:
    """Make the database of a session anew from its journal and files; what was there is kept aside.

    Movies whose files are gone are looked for at the source again; micrographs whose files are gone are
    computed again; 2D classification, filters, exports and exclusions start over. Returns a sentence.
    """
    owned(folder, "rebuild")
    lock = lock_session(folder)
    if lock is None:
        raise Held(folder.name, None, None)
    try:
        lines = list(_lines(folder / NAME))
        settings = [line["settings"] for line in lines if line["kind"] == "settings"]
        if not settings:
            raise ValueError(f"{folder / NAME} holds no settings: this session cannot be made anew from it")
        for name in DATABASE:
            if (folder / name).exists():
                (folder / name).replace(folder / f"lost-{name}")
        with Store(folder / "session.db") as store:
            for one in settings:
                store.save_revision(Settings.model_validate(one), user_name())
            store.apply_settings()
            return _restore(store, folder, lines)
    except sqlite3.Error as error:
        raise OSError(f"the database of {folder.name} cannot be written: {error}") from error
    finally:
        os.close(lock)


def _restore(store: Store, folder: Path, lines: list[dict[str, Any]]) -> str:
    movies = {line["name"]: line for line in lines if line["kind"] == "movie"}
    results = {line["name"]: line for line in lines if line["kind"] == "micrograph"}
    sizes = [line["estimate"] for line in lines if line["kind"] == "size"]
    kept = {name: line for name, line in movies.items() if _there(line)}
    redone = 0
    with store.transaction():
        for found in sizes[-1:]:
            store.keep_size_estimate(SizeEstimate(**found))
        for name, movie in kept.items():
            (number,) = store.add_movies([{"name": name, "source": movie["source"]}])
            told = ("path", "size", "hash", "mtime_ns", "inode", "source_size", "operation", "note")
            store.movie_done(number, **{key: movie[key] for key in told})
            result = results.get(name)
            if result is not None and place(folder, "average", name).is_file():
                store.restore_micrograph(number, result["keys"], result["revision"], result["record"])
            else:
                redone += 1
        again = f", {redone:,} to process" if redone else ""
        text = f"The database was made anew: {len(kept):,} of {len(movies):,} movies{again}."
        store.log("rebuilt", text, level="warning")
    return text


def _there(movie: Mapping[str, Any]) -> bool:
    path = Path(movie["path"])
    if movie["operation"] == "link":
        return path.is_symlink()
    return path.is_file() and path.stat().st_size == movie["size"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines; one that a kill cut short is left out."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: this session cannot be made anew")
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                yield json.loads(text)
            except ValueError:
                continue
