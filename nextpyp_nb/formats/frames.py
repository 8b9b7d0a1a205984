"""Read a movie or an image of any format; the reader is chosen by magic bytes after the strict check."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats import eer, ifd, mrc, tiff
from nextpyp_nb.formats.check import BadFile, check_movie
from nextpyp_nb.formats.fractions import Fractions, equal_fractions, frame_doses
from nextpyp_nb.records import Movie

_log = logging.getLogger(__name__)

Decoder = Callable[[eer.EventStreams, Sequence[int]], tuple[Any, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Frames ``first`` on of a movie (f, y, x), y up; ``fractions`` are all of an EER's."""

    frames: NDArray[Any]
    n_stored: int
    fractions: Fractions | None = None
    corrupt: int = 0
    first: int = 0

    def doses(self, exposure: float) -> NDArray[np.float64]:
        """Dose of each frame of the file, e⁻/Å², of an ``exposure`` of so much over all of it."""
        fractions = self.fractions or equal_fractions(self.n_stored, 1)
        return frame_doses(fractions, self.n_stored, exposure)


def read_frames(
    path: str | os.PathLike[str],
    *,
    first: int = 0,
    last: int = -1,
    threads: int = 1,
    eer_frames: int = 40,
    eer_reduce: int = 1,
) -> NDArray[Any]:
    """Read frames first..last (inclusive, negative from the end) as (f, y, x), y up.

    For EER these are fractions of ``eer_frames`` raw frames each, at 4k or, with ``eer_reduce`` 2, at 8k.
    """
    movie = check_movie(path)
    try:
        if holds_events(path):
            groups = equal_fractions(movie.n_frames, eer_frames)
            start, stop = _span(first, last, len(groups))
            bounds = groups.bounds[start : stop + 1]
            return _read_events(path, bounds, eer_reduce, threads)[0]
        start, stop = _span(first, last, movie.n_frames)
        return _read_span(path, start, stop, threads)
    except MemoryError:
        raise _too_large(movie) from None


def read_exposure(
    path: str | os.PathLike[str],
    *,
    first: int = 0,
    last: int = -1,
    threads: int = 1,
    fractions: Fractions | None = None,
    eer_reduce: int = 1,
    decoder: Decoder | None = None,
    empty: Callable[..., NDArray[Any]] = np.empty,
) -> Exposure:
    """Read frames first..last of a movie; those of an EER are ``fractions``, by default of 40 raw frames.

    The others are neither decoded nor held. A file of one image is read whole, whatever the range.
    A ``decoder`` makes them elsewhere (on a GPU) of the coded streams, and counts corrupt raw frames.
    ``empty`` (shape, dtype) makes the array that other frames are decoded into.
    """
    movie = check_movie(path)
    try:
        if not holds_events(path):
            start, stop = (0, 1) if movie.n_frames == 1 else _span(first, last, movie.n_frames)
            frames = _read_span(path, start, stop, threads, empty)
            return Exposure(frames=frames, n_stored=movie.n_frames, first=start)
        groups = fractions or equal_fractions(movie.n_frames, 40)
        start, stop = _span(first, last, len(groups))
        bounds = groups.bounds[start : stop + 1]
        frames, dropped = _read_events(path, bounds, eer_reduce, threads, decoder)
        return Exposure(
            frames=frames, n_stored=movie.n_frames, fractions=groups, corrupt=dropped, first=start
        )
    except MemoryError:
        raise _too_large(movie) from None


def holds_events(path: str | os.PathLike[str]) -> bool:
    """Whether this is an EER."""
    with Path(path).open("rb") as file:
        if file.read(4) not in ifd.MAGIC:
            return False
    with ifd.Tiff(path) as container:
        return bool(eer.event_pages(container))


def _read_span(
    path: str | os.PathLike[str],
    start: int,
    stop: int,
    threads: int,
    empty: Callable[..., NDArray[Any]] = np.empty,
) -> NDArray[Any]:
    with Path(path).open("rb") as file:
        container: bool = file.read(4) in ifd.MAGIC
    if container:
        return tiff.read_tiff(path, start, stop, threads, empty)
    return mrc.read_frames_mrc(path, mrc.read_header(path), start, stop, threads, empty)


def _too_large(movie: Movie) -> BadFile:
    return BadFile(f"{movie.n_frames} frames of {movie.height} x {movie.width} px do not fit into memory")


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one image as (y, x), y up."""
    movie = check_movie(path)
    if movie.n_frames != 1:
        raise ValueError(f"{Path(path).name} holds {movie.n_frames} images, expected one")
    image: NDArray[Any] = read_frames(path)[0]
    return image


def _read_events(
    path: str | os.PathLike[str],
    bounds: Sequence[int],
    factor: int,
    threads: int,
    decoder: Decoder | None = None,
) -> tuple[NDArray[Any], int]:
    if factor not in (1, 2):
        raise ValueError(f"EER at {factor} times the detector's pixels, expected 1 (4k) or 2 (8k)")
    if decoder is None:
        frames, dropped = eer.read_eer(path, bounds, factor=factor, threads=threads)
    else:
        frames, dropped = decoder(eer.read_streams(path, bounds, factor=factor, threads=threads), bounds)
    raw = bounds[-1] - bounds[0]
    if dropped * 2 > raw:
        raise BadFile(f"{dropped} of {raw} raw EER frames are corrupt")
    if dropped:
        _log.warning("%s: %d of %d raw frames are corrupt and were left out", path, dropped, raw)
    return frames, dropped


def _span(first: int, last: int, n: int) -> tuple[int, int]:
    start, end = (first + n if first < 0 else first), (last + n if last < 0 else last)
    if not 0 <= start <= end < n:
        raise ValueError(f"frames {first} to {last} asked for, the movie has {n}")
    return start, end + 1
