"""Movies that become compressed TIFF on their way in: lossless, and read back before they count."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from nextpyp_nb.formats import ifd, tiff
from nextpyp_nb.formats.check import check_movie
from nextpyp_nb.formats.compressed import is_compressed
from nextpyp_nb.formats.frames import holds_events, read_frames
from nextpyp_nb.settings.raw_data import is_remote
from nextpyp_nb.settings.transfer import Transfer
from nextpyp_nb.tracks.copying import (
    UNLIMITED,
    Conflict,
    Throttle,
    Transferred,
    check_source,
    digest_of,
    part_of,
    publish,
    transfer_file,
    unchanged,
)
from nextpyp_nb.tracks.finding import Found, look_at, movie_suffix
from nextpyp_nb.tracks.remote import fetch_movie, place_fetched

# Frames held at once.
BLOCK = 4


def transfer_movie(
    found: Found, raw: Path, name: str, chosen: Transfer, throttle: Throttle = UNLIMITED,
    roots: Collection[Path] | None = None,
) -> Transferred:  # fmt: skip
    """Bring a movie into the folder ``raw`` as ``name`` with its ending, compressed where asked for.

    ``roots`` are the folders below which it must really lie, if given.
    """
    if is_remote(str(found.source)):
        return _fetch(found, raw, name, chosen, throttle)
    if chosen.operation != "link" and chosen.compress != "none" and compressible(found.source):
        check_source(found, roots)
        raw.mkdir(parents=True, exist_ok=True)
        return _compress(found, raw / f"{name}.tiff", chosen.compress, throttle)
    place = raw / f"{name}{movie_suffix(found.source)}"
    return transfer_file(found, place, chosen.operation, throttle, roots)


def _fetch(found: Found, raw: Path, name: str, chosen: Transfer, throttle: Throttle) -> Transferred:
    raw.mkdir(parents=True, exist_ok=True)
    destination = raw / f"{name}{movie_suffix(found.source)}"
    with part_of(destination) as staged:
        fetch_movie(found, staged, throttle)
        if chosen.compress != "none" and compressible(staged):
            here = look_at(str(staged))
            assert here is not None
            return _compress(here, raw / f"{name}.tiff", chosen.compress, UNLIMITED)
        return place_fetched(found, staged, destination)


def compressible(path: Path) -> bool:
    """Whether a movie holds whole numbers that are not compressed yet: MRC, or a plain TIFF."""
    with path.open("rb") as file:
        head = file.read(4)
    if is_compressed(head):
        return False
    if head in ifd.MAGIC:
        if holds_events(path):
            return False
        with ifd.Tiff(path) as container:
            if any(tiff.COMPRESSIONS.get(page.compression) != "none" for page in container.pages):
                return False
    return np.dtype(check_movie(path).dtype).kind in "ui"


def _compress(found: Found, destination: Path, codec: str, throttle: Throttle) -> Transferred:
    if destination.exists():
        _adopt(found, destination)
    else:
        with part_of(destination) as part:
            _write(found, part, codec, throttle)
            publish(part, destination)
    return Transferred(path=destination, size=destination.stat().st_size, digest=digest_of(destination))


def _write(found: Found, part: Path, codec: str, throttle: Throttle) -> None:
    movie = check_movie(found.source)
    digests: list[str] = []

    def frames() -> Iterator[NDArray[Any]]:
        for frame in _frames(found.source, movie.n_frames):
            throttle.take(frame.nbytes)
            digests.append(xxhash.xxh3_128_hexdigest(np.ascontiguousarray(frame).data))
            yield frame

    size = movie.n_frames * movie.height * movie.width * np.dtype(movie.dtype).itemsize
    tiff.write_pages(part, frames(), compression=codec, pixel_size=movie.pixel_size, big=size > 2 << 30)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    unchanged(found, "was read; it will be compressed again")
    again = check_movie(part)
    if (again.n_frames, again.dtype) != (movie.n_frames, movie.dtype) or digests != _digests(
        part, movie.n_frames
    ):
        raise OSError(f"{found.source.name} does not read back as compressed; it will be compressed again")


def _adopt(found: Found, destination: Path) -> None:
    """What lies there already is taken when it holds the same pixels."""
    movie, there = check_movie(found.source), check_movie(destination)
    same = (movie.n_frames, movie.dtype) == (there.n_frames, there.dtype)
    if not same or _digests(found.source, movie.n_frames) != _digests(destination, movie.n_frames):
        raise Conflict(f"{destination.name} is there already with other content; both are kept")
    unchanged(found, "was read; it will be looked at again")


def _digests(path: Path, n: int) -> list[str]:
    return [xxhash.xxh3_128_hexdigest(np.ascontiguousarray(frame).data) for frame in _frames(path, n)]


def _frames(path: Path, n: int) -> Iterator[NDArray[Any]]:
    for first in range(0, n, BLOCK):
        yield from read_frames(path, first=first, last=min(first + BLOCK, n) - 1)
