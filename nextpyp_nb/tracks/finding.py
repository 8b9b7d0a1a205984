"""Which movies are there, and which of them are whole."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nextpyp_nb.formats.acquisition import side_file
from nextpyp_nb.formats.check import BadFile, check_movie, whole

MOVIE_SUFFIXES = (".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".mrc.gz", ".mrc.bz2")
_MAGIC = re.compile(r"[*?\[]")
_FRACTIONS = re.compile(r"_(fractions|eer)\.[a-z]+$", re.IGNORECASE)
_UNFINISHED = re.compile(r"^\.|\.tmp$|\.part$|downloading")


class Offline(OSError):
    """The folder of the movies is not there (now): nothing is dropped, we wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A movie file as a look at its folder shows it."""

    source: Path
    size: int
    mtime_ns: int
    inode: int

    @property
    def signature(self) -> tuple[int, int]:
        """What must stand still before the movie is taken."""
        return self.size, self.mtime_ns


def watched_folder(location: str) -> Path:
    """The part of ``location`` before its pattern: the folder that must exist."""
    path = Path(location).expanduser()
    parts = path.parts
    fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), None)
    if fixed is not None:
        return Path(*parts[:fixed]) if fixed else Path()
    return path if path.is_dir() or not path.suffix else path.parent


def scan(location: str, leave_out: Collection[Path] = ()) -> list[Found]:
    """All movie files at ``location`` (a folder, or a pattern; ``**`` goes into subfolders)."""
    folder = watched_folder(location)
    if not folder.is_dir():
        raise Offline(f"no folder {folder}; waiting for it to appear")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise Offline(f"no permission to read {folder}; ask its owner for read access")
    path = Path(location).expanduser()
    pattern = str(path / "**" / "*") if path.is_dir() else str(path.parent / _any_case(path.name))
    names = [name for name in glob.iglob(pattern, recursive=True) if _is_movie(name)]
    if path.is_dir() and any(_FRACTIONS.search(name) for name in names):
        names = [name for name in names if _FRACTIONS.search(name)]
    skipped = {str(p) for p in leave_out}
    found = (_look(name) for name in names if name not in skipped)
    return [f for f in found if f is not None]


def _any_case(pattern: str) -> str:
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in pattern)


def _is_movie(name: str) -> bool:
    base = os.path.basename(name)  # noqa: PTH119  strings: a scan sees 60,000 of them
    return base.lower().endswith(MOVIE_SUFFIXES) and not _UNFINISHED.search(base)


def _look(name: str) -> Found | None:
    try:
        seen = os.stat(name)  # noqa: PTH116
    except OSError:
        return None
    return Found(source=Path(name), size=seen.st_size, mtime_ns=seen.st_mtime_ns, inode=seen.st_ino)


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


@dataclass(slots=True)
class _Seen:
    signature: tuple[int, int]
    since: float
    first: float
    looks: int = 1
    reason: str = ""
    checked_at: float = 0.0


@dataclass(slots=True)
class Settling:
    """Decides when a movie is whole: it stands still, and its frames are all there.

    A file that stands still for ``settle`` seconds over two looks is checked; a side file written after
    it, or a later movie in the same folder, shortens the wait to ``quick`` seconds. What is still not
    whole after ``give_up`` seconds is stuck, and goes on being looked at.
    """

    settle: float
    give_up: float
    quick: float = 1.0
    check: Callable[[Path], str | None] = whole
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _frames: Counter[int] = field(default_factory=Counter)

    def look(
        self, found: Iterable[Found], now: float
    ) -> tuple[list[Found], dict[Path, str], dict[Path, str]]:
        """Sort ``found`` into ready movies, waiting ones and stuck ones with the reason."""
        ready, waiting, stuck = [], {}, {}
        listed = list(found)
        newest = _newest_by_folder(listed)
        for movie in listed:
            seen = self._seen.get(movie.source)
            if seen is None or seen.signature != movie.signature:
                first = now if seen is None else seen.first
                self._seen[movie.source] = _Seen(movie.signature, now, first)
                waiting[movie.source] = "being written"
                continue
            seen.looks += 1
            wait = self.quick if _closed(movie, newest) else self.settle
            if now - seen.since < min(wait, self.settle):
                waiting[movie.source] = seen.reason or "settling"
            elif reason := self._still_missing(movie, seen, now):
                (stuck if now - seen.since >= self.give_up else waiting)[movie.source] = reason
            else:
                ready.append(movie)
        return ready, waiting, stuck

    def forget(self, source: Path) -> None:
        """Drop what is remembered of a movie that was taken."""
        self._seen.pop(source, None)

    def _still_missing(self, movie: Found, seen: _Seen, now: float) -> str:
        if seen.reason and now - seen.checked_at < min(5.0, self.settle):
            return seen.reason
        seen.checked_at = now
        try:
            seen.reason = self.check(movie.source) or self._too_short(movie, seen, now)
        except (BadFile, OSError) as error:
            seen.reason = str(error)
        return seen.reason

    def _too_short(self, movie: Found, seen: _Seen, now: float) -> str:
        """Fewer frames than the session's movies usually have: wait a while, then take it."""
        frames = check_movie(movie.source).n_frames
        usual = self._frames.most_common(1)[0] if self._frames else (0, 0)
        if frames < usual[0] and usual[1] >= 3 and now - seen.since < min(6 * self.settle, self.give_up):
            return f"short: {frames} frames, the movies of this session have {usual[0]}"
        self._frames[frames] += 1
        return ""


def _newest_by_folder(found: Iterable[Found]) -> dict[Path, int]:
    newest: dict[Path, int] = {}
    for movie in found:
        folder = movie.source.parent
        newest[folder] = max(newest.get(folder, 0), movie.mtime_ns)
    return newest


def _closed(movie: Found, newest: dict[Path, int]) -> bool:
    """Whether the writer has moved on: a side file lies there, or a later movie of the same folder."""
    if newest[movie.source.parent] > movie.mtime_ns:
        return True
    side = side_file(movie.source)
    return side is not None and side.stat().st_mtime_ns >= movie.mtime_ns
