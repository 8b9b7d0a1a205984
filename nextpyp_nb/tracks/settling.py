"""Which of the movies that are there are whole."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.settings.raw_data import is_remote
from nextpyp_nb.tracks.finding import Found

# Seconds of header checks in one look: with thousands of movies the first ones set off meanwhile.
CHECKING = 3.0


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
    whole after ``give_up`` seconds is stuck, and goes on being looked at. Movies of fewer frames than
    usual are taken after a longer wait; `short` says so.
    """

    settle: float
    give_up: float
    quick: float = 1.0
    check: Callable[[Path], str | None] = whole
    short: dict[Path, str] = field(default_factory=dict)
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _frames: Counter[int] = field(default_factory=Counter)

    def look(
        self, found: Iterable[Found], now: float
    ) -> tuple[list[Found], dict[Path, str], dict[Path, str]]:
        """Sort ``found`` into ready movies, waiting ones and stuck ones with the reason."""
        ready, waiting, stuck = [], {}, {}
        listed = sorted(found, key=lambda movie: -movie.mtime_ns)
        newest = _newest_by_folder(listed)
        checking = time.monotonic() + CHECKING
        for movie in listed:
            seen = self._seen.get(movie.source)
            if seen is None or seen.signature != movie.signature:
                first = now if seen is None else seen.first
                self._seen[movie.source] = _Seen(movie.signature, now, first)
                waiting[movie.source] = "being written"
                continue
            seen.looks += 1
            wait = self.quick if _closed(movie, newest) else self.settle
            if now - seen.since < min(wait, self.settle) or time.monotonic() > checking:
                waiting[movie.source] = seen.reason or "settling"
            elif reason := self._still_missing(movie, seen, now):
                (stuck if now - seen.since >= self.give_up else waiting)[movie.source] = reason
            else:
                ready.append(movie)
        return ready, waiting, stuck

    def forget(self, source: Path) -> None:
        """Drop what is remembered of a movie that was taken."""
        self._seen.pop(source, None)
        self.short.pop(source, None)

    def _still_missing(self, movie: Found, seen: _Seen, now: float) -> str:
        if seen.reason and now - seen.checked_at < min(5.0, self.settle):
            return seen.reason
        seen.checked_at = now
        if is_remote(str(movie.source)):
            # It is checked once it is here, before it gets its name.
            return ""
        try:
            seen.reason = self.check(movie.source) or self._too_short(movie, seen, now)
        except (BadFile, OSError) as error:
            seen.reason = str(error)
        return seen.reason

    def _too_short(self, movie: Found, seen: _Seen, now: float) -> str:
        """Fewer frames than the session's movies usually have: wait a while, then take it."""
        frames = check_movie(movie.source).n_frames
        usual = self._frames.most_common(1)[0] if self._frames else (0, 0)
        if frames < usual[0] and usual[1] >= 3:
            reason = f"short: {frames} frames, the movies of this session have {usual[0]}"
            if now - seen.since < min(6 * self.settle, self.give_up):
                return reason
            self.short[movie.source] = reason
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
    try:
        return movie.side is not None and movie.side.stat().st_mtime_ns >= movie.mtime_ns
    except OSError:
        return False
