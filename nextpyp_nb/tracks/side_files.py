"""Files that come along with the movies: by ending, or everything else in the folder. Their sources stay."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from nextpyp_nb.formats.acquisition import movie_stem
from nextpyp_nb.session.reach import confined
from nextpyp_nb.settings import read_site
from nextpyp_nb.settings.raw_data import is_remote, places
from nextpyp_nb.tracks.copying import Conflict, Throttle, transfer_file
from nextpyp_nb.tracks.finding import Found, Listing, is_whole_name, look_at, watched_folder
from nextpyp_nb.tracks.track import Live, is_full

OTHER = "other"
AT_ONCE = 200


class SideFiles:
    """Brings side files beside their movie in ``raw``, and all other files into ``raw/other``.

    A file is taken when it stood still for the settle time; what lies there with the same size and time
    has been taken before.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._data_roots = read_site().data_roots
        self.begin_anew()

    def begin_anew(self) -> None:
        """Look with the settings as they are now."""
        self._taken: set[str] = set()
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._said: set[str] = set()

    def bring(self, listing: Listing, throttle: Throttle) -> bool:
        """Bring what arrived; whether something did, or stands still since too short a time."""
        active = 0
        for source, destination in self._wanted(listing):
            if source in self._taken or active >= AT_ONCE:
                continue
            found = look_at(source)
            if found is None:
                continue
            active += 1
            if self._stands_still(found):
                self._bring(found, destination, throttle)
        return active > 0

    def _places(self) -> list[Path]:
        """Where side files lie; a link of the microscope's folder must not bring along any file of ours."""
        location = self._live.settings.raw_data.location
        return [watched_folder(place).resolve() for place in places(location) if not is_remote(place)]

    def _wanted(self, listing: Listing) -> Iterator[tuple[str, Path]]:
        chosen, raw = self._live.settings.transfer, self._live.folder / "raw"
        endings = tuple(e.lower() for e in chosen.side_files.replace(",", " ").split())
        if endings:
            yield from self._beside(listing, endings, raw)
        if chosen.all_files:
            movies = set(listing.movies)
            for place in places(self._live.settings.raw_data.location):
                if is_remote(place):
                    continue
                top = watched_folder(place)
                for name in _below(top):
                    if name not in movies:
                        yield name, raw / OTHER / Path(name).relative_to(top)

    def _beside(self, listing: Listing, endings: tuple[str, ...], raw: Path) -> Iterator[tuple[str, Path]]:
        stems = {}
        for movie in listing.movies:
            folder, _, base = movie.rpartition("/")
            stems[folder, movie_stem(base).lower()] = movie
        for name in listing.others:
            folder, _, base = name.rpartition("/")
            ending = next((e for e in endings if base.lower().endswith(e)), None)
            if ending is None or name in self._taken:
                continue
            bare = base[: len(base) - len(ending)]
            movie = stems.get((folder, bare.lower())) or stems.get((folder, movie_stem(bare).lower()))
            known = movie and self._live.store.movie_of(movie)
            if known:
                yield name, raw / f"{known['name']}{base[len(bare) :]}"

    def _stands_still(self, found: Found) -> bool:
        name, now = str(found.source), time.monotonic()
        signature, since = self._seen.get(name, (None, now))
        if signature != found.signature:
            self._seen[name] = (found.signature, now)
            return False
        return now - since >= self._live.settings.transfer.settle

    def _bring(self, found: Found, destination: Path, throttle: Throttle) -> None:
        name = str(found.source)
        operation = "link" if self._live.settings.transfer.operation == "link" else "copy"
        try:
            there = look_at(str(destination))
            if there is None or there.signature != found.signature:
                roots = confined(name, self._data_roots) or [found.source.parent.resolve(), *self._places()]
                done = transfer_file(found, destination, operation, throttle, roots)
                if operation == "copy":
                    os.utime(done.path, ns=(found.mtime_ns, found.mtime_ns))
            self._taken.add(name)
            self._seen.pop(name, None)
        except OSError as error:
            if is_full(error):
                raise
            text = f"side file {found.source.name}: {error}"
            if text not in self._said:
                self._said.add(text)
                self._live.store.log("side_file", text, track="transfer", level="warning")
            if isinstance(error, Conflict | PermissionError):
                self._taken.add(name)


def _below(top: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (f"{folder}/{name}" for name in names if is_whole_name(name))
