"""Every ten minutes: whether the movies add up to what lies on disk (promise T5 of the transfer)."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from nextpyp_nb.session.status import SUMS
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.finding import is_movie, movie_suffix
from nextpyp_nb.tracks.intake import NOT_TAKEN
from nextpyp_nb.tracks.track import Live

PERIOD = 600.0
NAMED = 3


class SelfCheck:
    """Looks at the session as it lies on disk; what does not add up is an alert until it does again."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._told = live.store.meta(SUMS) or ""

    async def run(self) -> None:
        """Look for the life of the runner."""
        while True:
            await asyncio.sleep(PERIOD)
            # A full disk may take neither the word nor the log: the next look says it.
            with contextlib.suppress(OSError, sqlite3.Error):
                await asyncio.to_thread(self.look)

    def look(self) -> str:
        """Look once; what does not add up, in a sentence, is written down when it is another than before."""
        endings = self._live.settings.transfer.side_files.lower().replace(",", " ").split()
        found = "; ".join(sums(self._live.store, self._live.folder, endings))
        if found != self._told:
            store = self._live.store
            with store.transaction():
                store.set_meta(SUMS, found)
                level, text = ("warning", found) if found else ("info", "movies and files add up again")
                store.log("self_check", text, track="transfer", level=level)
            self._told = found
        return found


def sums(store: Store, folder: Path, side_files: Sequence[str] = ()) -> list[str]:
    """What the movies of a session and its files in raw/ say against each other; empty when they agree.

    Movies on their way and what lies in the way of a conflict count neither as missing nor as strange, nor
    do files with the endings ``side_files``.
    """
    # Files first: what is taken meanwhile has a row then, and lies there.
    lying = _movies_in(folder / "raw", side_files)
    under_way = {row["name"] for row in store.movies(*NOT_TAKEN)}
    done = {row["path"]: row["size"] if row["operation"] != "link" else None for row in store.taken()}
    wrong = {
        "missing": [path for path in done if path not in lying and not os.path.lexists(path)],
        "of another size": [
            path for path, size in done.items() if None not in (size, lying.get(path)) and lying[path] != size
        ],
        "of no movie": [
            path
            for path in lying.keys() - done.keys()
            if (name := Path(path)).name.removesuffix(movie_suffix(name)) not in under_way
        ],
    }
    return [
        f"{len(paths):,} file{'s' * (len(paths) != 1)} in raw {what}:"
        f" {', '.join(sorted(Path(path).name for path in paths)[:NAMED])}"
        for what, paths in wrong.items()
        if paths
    ]


def _movies_in(raw: Path, side_files: Sequence[str]) -> dict[str, int | None]:
    """Size of each movie that lies in ``raw`` by its path, None for links."""
    found: dict[str, int | None] = {}
    with os.scandir(raw) as entries:
        for entry in entries:
            if not is_movie(entry.name) or entry.name.lower().endswith(tuple(side_files)):
                continue
            with contextlib.suppress(FileNotFoundError):
                seen = entry.stat(follow_symlinks=False)
                found[entry.path] = seen.st_size if S_ISREG(seen.st_mode) else None
    return found
