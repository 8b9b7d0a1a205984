"""Which movies are there: names first, a look at the files only where it is needed."""

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nextpyp_nb.formats.acquisition import side_names
from nextpyp_nb.settings.raw_data import is_remote, places

MOVIE_SUFFIXES = (".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".mrc.gz", ".mrc.bz2")
_NOTES = (".xml", ".mdoc")
_MAGIC = re.compile(r"[*?\[]")
# How EPU and Leginon name movies beside the averages that they leave in the same folders.
_FRACTIONS = re.compile(r"(_fractions|_eer|\.frames)\.[a-z]+$", re.IGNORECASE)
# Hidden, temporary, or the name under which rsync and downloads write.
_UNFINISHED = re.compile(r"^\.|\.tmp$|\.part$|downloading")


class Offline(OSError):
    """The folder of the movies is not there (now): nothing is dropped, we wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A movie file as a look at its folder shows it, with the XML or mdoc beside it."""

    source: Path
    size: int
    mtime_ns: int
    inode: int
    side: Path | None = None

    @property
    def signature(self) -> tuple[int, int]:
        """What must stand still before the movie is taken."""
        return self.size, self.mtime_ns


@dataclass(slots=True)
class Listing:
    """The names at the microscope's place.

    ``sides`` maps movies to their XML or mdoc; ``others`` are all other names; ``away`` says of each
    place that cannot be read why. ``seen`` holds what the listing of another machine tells of its files.
    """

    movies: list[str] = field(default_factory=list)
    sides: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Found] = field(default_factory=dict)

    def look(self, names: Iterable[str]) -> list[Found]:
        """Size and time of the files with these names; those that vanished are left out."""
        found = (self.seen.get(name) or look_at(name, self.sides.get(name)) for name in names)
        return [movie for movie in found if movie is not None]


def watched_folder(location: str) -> Path:
    """The part of the (first) pattern before its wildcards: the folder that must exist."""
    path = Path((places(location) or [""])[0]).expanduser()
    parts = path.parts
    fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), None)
    if fixed is not None:
        return Path(*parts[:fixed]) if fixed else Path()
    return path if path.is_dir() or not path.suffix else path.parent


def list_names(
    location: str,
    leave_out: Collection[Path] = (),
    notes: str = "",
    remote: Callable[[str, Listing], None] | None = None,
) -> Listing:
    """All movies at ``location`` (folders, or patterns; ``**`` goes into subfolders), by name alone.

    ``notes`` is where XML and mdoc files lie when not beside the movies; ``remote`` lists a place on
    another machine. One place that cannot be read leaves the others; `Offline` when none can.
    """
    listing = Listing()
    skipped = {str(path) for path in leave_out}
    elsewhere = _notes_at(notes) if notes else {}
    asked = places(location)
    for place in asked:
        try:
            if remote is not None and is_remote(place):
                remote(place, listing)
            else:
                _list_place(place, listing, skipped, elsewhere)
        except OSError as error:
            listing.away[place] = str(error)
    if listing.away and len(listing.away) == len(asked):
        raise Offline("; ".join(dict.fromkeys(listing.away.values())))
    return listing


def scan(location: str, leave_out: Collection[Path] = ()) -> list[Found]:
    """All movie files at ``location`` with their size and time."""
    listing = list_names(location, leave_out)
    return listing.look(listing.movies)


def look_at(name: str, side: str | None = None) -> Found | None:
    """One file's size and time; None when it is not there."""
    try:
        seen = os.stat(name)  # noqa: PTH116  strings: a scan sees 60,000 of them
    except OSError:
        return None
    return Found(
        source=Path(name), size=seen.st_size, mtime_ns=seen.st_mtime_ns, inode=seen.st_ino,
        side=None if side is None else Path(side),
    )  # fmt: skip


def is_movie(name: str) -> bool:
    """Whether a base name is a movie's, and not that of one still being written."""
    return name.lower().endswith(MOVIE_SUFFIXES) and not _UNFINISHED.search(name)


def is_whole_name(name: str) -> bool:
    """Whether a base name is that of a finished file."""
    return not _UNFINISHED.search(name)


def side_of(movie: str, notes: Mapping[str, str]) -> str | None:
    """The XML or mdoc of a movie among ``notes``, paths by lower-case base name."""
    if not notes:
        return None
    return next((notes[name.lower()] for name in side_names(movie) if name.lower() in notes), None)


def _list_place(place: str, listing: Listing, skipped: set[str], elsewhere: dict[str, str]) -> None:
    folder = watched_folder(place)
    if not folder.is_dir():
        raise Offline(f"no folder {folder}; waiting for it to appear")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise Offline(f"no permission to read {folder}; ask its owner for read access")
    path = Path(place).expanduser()
    whole = path.is_dir()
    parent, pattern = (f"{glob.escape(str(path))}/**", "*") if whole else (str(path.parent), path.name)
    wanted = re.compile(fnmatch.translate(pattern.lower()))
    movies: list[str] = []
    for name in glob.iglob(f"{parent}/", recursive=True):
        names = _names_in(name)
        mine = [n for n in names if is_movie(n) and wanted.match(n.lower())]
        notes = {n.lower(): name + n for n in names if n.lower().endswith(_NOTES)}
        for movie in mine:
            full = name + movie
            if full in skipped:
                continue
            movies.append(full)
            side = side_of(movie, notes) or side_of(movie, elsewhere)
            if side is not None:
                listing.sides[full] = side
        taken = set(mine)
        listing.others += [name + n for n in names if n not in taken and is_whole_name(n)]
    if whole and any(_FRACTIONS.search(name) for name in movies):
        movies = [name for name in movies if _FRACTIONS.search(name)]
    known = set(listing.movies)
    listing.movies += [name for name in movies if name not in known]


def _names_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.is_dir()]
    except OSError:
        # One folder that cannot be read leaves the others; it is asked again at the next look.
        return []


def _notes_at(location: str) -> dict[str, str]:
    """The XML and mdoc files of a folder (and below) or pattern, by lower-case base name."""
    path = Path(location).expanduser()
    pattern = str(path / "**" / "*") if path.is_dir() else str(path)
    names = glob.iglob(pattern, recursive=True)
    return {
        os.path.basename(name).lower(): name  # noqa: PTH119
        for name in names
        if name.lower().endswith(_NOTES)
    }


def movie_suffix(source: Path) -> str:
    """The ending of a movie's name, such as .tif or .mrc.gz."""
    packed = source.suffix.lower() in (".gz", ".bz2")
    return "".join(source.suffixes[-2:]) if packed else source.suffix


def unique_name(source: Path, taken: Collection[str]) -> str:
    """The movie's name in the session: its stem, made unique with its folder where stems repeat."""
    bare = source.name.removesuffix(movie_suffix(source))
    stem = re.sub(r"[^A-Za-z0-9._+-]", "_", bare).lstrip(".") or "movie"
    folder = re.sub(r"[^A-Za-z0-9._+-]", "_", source.parent.name)
    if stem not in taken:
        return stem
    name, count = f"{folder}_{stem}", 2
    while name in taken:
        name, count = f"{folder}_{stem}_{count}", count + 1
    return name
