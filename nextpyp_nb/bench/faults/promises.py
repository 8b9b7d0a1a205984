"""The promises of the transfer (T1 to T10), checked on what lies on disk."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from nextpyp_nb.session import Session
from nextpyp_nb.tracks.copying import PART, digest_of

MOVIE = (".tiff", ".mrc", ".tif")


def broken(session: Session, written: Mapping[Path, bytes], *, moved: bool = False) -> list[str]:
    """What does not hold now, whatever state the session is in; ``written`` is what the camera wrote."""
    return [
        *_sources(session, written, moved), *_files(session, written), *_rows(session), *_database(session)
    ]  # fmt: skip


def unfinished(session: Session, written: Mapping[Path, bytes]) -> list[str]:
    """What a finished session lacks: each source once, done, with its own content and a micrograph."""
    table = session.movies
    problems = []
    states = dict(zip(table["source"], table["state"], strict=True))
    for source, content in written.items():
        if states.get(str(source)) != "done":
            problems.append(f"lost: {source} is {states.get(str(source), 'unknown')}")
            continue
        row = table[table["source"] == str(source)].iloc[0]
        if Path(row["path"]).read_bytes() != content:
            problems.append(f"{row['name']} is not its source {source}")
    if len(table) != len(written):
        problems.append(f"{len(table)} rows for {len(written)} movies")
    if sorted(session.micrographs["name"]) != sorted(table["name"]):
        problems.append(f"{len(session.micrographs)} micrographs of {len(table)} movies")
    left = [path.name for path in (session.folder / "raw").rglob(f".*{PART}")]
    return problems + [f"left over: {name}" for name in left]


def results(session: Session, written: Mapping[Path, bytes]) -> dict[bytes, tuple[object, ...]]:
    """The numbers of each micrograph by its movie's content: names and order do not matter."""
    table = session.micrographs.merge(session.movies[["name", "source"]], on="name")
    return {
        written[Path(row.source)]: (row.defocus_u, row.defocus_angle, row.fit_resolution, row.particles)
        for row in table.itertuples()
    }


def _sources(session: Session, written: Mapping[Path, bytes], moved: bool) -> list[str]:
    problems = []
    for path, content in written.items():
        if path.exists():
            if path.read_bytes() != content:
                problems.append(f"T1: the source {path} was changed")
        elif not moved:
            problems.append(f"T1: the source {path} is gone")
        elif not any(_holds(copy, content) for copy in _movies_in(session)):
            problems.append(f"T6: {path} is deleted and there is no copy")
    return problems


def _files(session: Session, written: Mapping[Path, bytes]) -> list[str]:
    """Under its final name a file is whole, whenever one looks; and each movie is there once."""
    contents = Counter(written.values())
    found: Counter[bytes] = Counter()
    problems = []
    for path in _movies_in(session):
        content = path.read_bytes()
        found[content] += 1
        if content not in contents:
            problems.append(f"T2: {path.name} is not what the camera wrote")
        elif found[content] > contents[content]:
            problems.append(f"T5: {path.name} is there twice")
    return problems


def _rows(session: Session) -> list[str]:
    problems = []
    for row in session.movies[session.movies["state"] == "done"].itertuples():
        path = Path(row.path)
        if not path.is_file():
            problems.append(f"T3: {row.name} is done and {path} is not there")
        elif row.operation != "link" and (row.hash, row.size) != (digest_of(path), path.stat().st_size):
            problems.append(f"T3: {row.name} has another size or hash than its row")
    return problems


def _database(session: Session) -> list[str]:
    with sqlite3.connect(f"file:{session.folder / 'session.db'}?mode=ro", uri=True) as connection:
        (said,) = connection.execute("PRAGMA quick_check").fetchone()
        rows = connection.execute("SELECT source, COUNT(*) FROM movie GROUP BY source HAVING COUNT(*) > 1")
        problems = [f"T5: {source} has {n} rows" for source, n in rows]
    connection.close()
    return problems if said == "ok" else [*problems, f"the database is damaged: {said}"]


def _movies_in(session: Session) -> list[Path]:
    raw = session.folder / "raw"
    return [
        p for p in raw.iterdir() if p.suffix in MOVIE and not p.name.startswith(".") and not p.is_symlink()
    ]


def _holds(path: Path, content: bytes) -> bool:
    return path.stat().st_size == len(content) and path.read_bytes() == content
