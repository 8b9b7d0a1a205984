"""Read a movie or an image of any format; the reader is chosen by magic bytes after the strict check."""

import logging
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nextpyp_nb.formats import eer, ifd, mrc, tiff
from nextpyp_nb.formats.check import BadFile, check_movie

_log = logging.getLogger(__name__)


def read_frames(
    path: str | os.PathLike[str], *, first: int = 0, last: int = -1, threads: int = 1, eer_frames: int = 40
) -> NDArray[Any]:
    """Read frames first..last (inclusive, negative from the end) as (f, y, x), y up.

    For EER these are fractions of ``eer_frames`` raw frames each.
    """
    if eer_frames < 1:
        raise ValueError(f"{eer_frames} raw frames a fraction, expected 1 or more")
    movie = check_movie(path)
    with Path(path).open("rb") as file:
        container: bool = file.read(4) in ifd.MAGIC
    try:
        if not container:
            start, stop = _span(first, last, movie.n_frames)
            return mrc.read_frames_mrc(path, mrc.read_header(path), start, stop)
        if _holds_events(path):
            group = min(eer_frames, movie.n_frames)
            start, stop = _span(first, last, movie.n_frames // group)
            return _read_events(path, start, stop, group, threads)
        start, stop = _span(first, last, movie.n_frames)
        return tiff.read_tiff(path, start, stop, threads)
    except MemoryError:
        size = f"{movie.n_frames} frames of {movie.height} x {movie.width} px"
        raise BadFile(f"{size} do not fit into memory") from None


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one image as (y, x), y up."""
    movie = check_movie(path)
    if movie.n_frames != 1:
        raise ValueError(f"{Path(path).name} holds {movie.n_frames} images, expected one")
    image: NDArray[Any] = read_frames(path)[0]
    return image


def _holds_events(path: str | os.PathLike[str]) -> bool:
    with ifd.Tiff(path) as file:
        return bool(eer.event_pages(file))


def _read_events(
    path: str | os.PathLike[str], first: int, stop: int, group: int, threads: int
) -> NDArray[Any]:
    frames, dropped = eer.read_eer(path, first, stop, group, threads)
    raw = len(frames) * group
    if dropped * 2 > raw:
        raise BadFile(f"{dropped} of {raw} raw EER frames are corrupt")
    if dropped:
        _log.warning("%s: %d of %d raw frames are corrupt and were left out", path, dropped, raw)
    return frames


def _span(first: int, last: int, n: int) -> tuple[int, int]:
    start, end = (first + n if first < 0 else first), (last + n if last < 0 else last)
    if not 0 <= start <= end < n:
        raise ValueError(f"frames {first} to {last} asked for, the movie has {n}")
    return start, end + 1
