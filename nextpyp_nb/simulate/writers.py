"""How cameras, copiers and accidents put a file on disk, one step at a time.

Each writer is a generator: it does a piece of the work and yields, so that a caller sleeps, looks at
the folder or walks away between the steps.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

# Steps for which `paused` stands still.
PAUSE = 40

Writer = Callable[[Path, bytes, int], Iterator[None]]


def tiff_bytes(frames: Iterable[NDArray[np.uint8]]) -> bytes:
    """A counting movie as LZW TIFF, one strip a frame, the last row first as cameras store it."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as tiff:
        for frame in frames:
            tiff.write(
                frame[::-1],
                compression="lzw",
                photometric="minisblack",
                rowsperstrip=frame.shape[0],
                metadata=None,
                software=False,
            )
    return stream.getvalue()


def appended(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Grow the file under its own name, as a camera does."""
    with path.open("wb") as stream:
        for chunk in _split(content, chunks):
            stream.write(chunk)
            stream.flush()
            yield


def preallocated(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Take the full size at once, all zero, then fill it from the front."""
    with path.open("wb") as stream:
        stream.truncate(len(content))
        yield
        for chunk in _split(content, chunks):
            stream.write(chunk)
            stream.flush()
            yield


def renamed(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Grow ``<name>.part`` and rename it when whole."""
    temporary = path.with_name(path.name + ".part")
    yield from appended(temporary, content, chunks)
    temporary.rename(path)
    yield


def truncated(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Stop for good after seven tenths of the file."""
    yield from appended(path, content[: len(content) * 7 // 10], chunks)


def zero_tail(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Stop for good after seven tenths; the rest of the full size stays zero."""
    whole = len(content) * 7 // 10
    yield from preallocated(path, content[:whole] + bytes(len(content) - whole), chunks)


def paused(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Grow the file, stand still in the middle for a while, and go on."""
    for n, _ in enumerate(appended(path, content, chunks)):
        yield
        if n == chunks // 2:
            for _ in range(PAUSE):
                yield


def out_of_order(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Take the full size at once and fill it from the back, as parallel copiers may."""
    pieces = list(_split(content, chunks))
    size = len(pieces[0])
    with path.open("wb") as stream:
        stream.truncate(len(content))
        for n in reversed(range(len(pieces))):
            stream.seek(n * size)
            stream.write(pieces[n])
            stream.flush()
            yield


def rsynced(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Grow ``.<name>.AbC123``, rename it when whole, and give it an old time, as rsync -t does."""
    temporary = path.with_name(f".{path.name}.AbC123")
    yield from appended(temporary, content, chunks)
    os.utime(temporary, (1e9, 1e9))
    temporary.rename(path)
    yield


def rewritten(path: Path, content: bytes, chunks: int = 8) -> Iterator[None]:
    """Write it half, begin again, and write it whole."""
    yield from appended(path, content[: len(content) // 2], chunks // 2)
    yield from appended(path, content, chunks)


WRITERS: dict[str, Writer] = {
    "appended": appended,
    "preallocated": preallocated,
    "renamed": renamed,
    "truncated": truncated,
    "zero_tail": zero_tail,
    "paused": paused,
    "out_of_order": out_of_order,
    "rsynced": rsynced,
    "rewritten": rewritten,
}


def _split(content: bytes, chunks: int) -> Iterator[bytes]:
    size = max(1, -(-len(content) // chunks))
    for start in range(0, len(content), size):
        yield content[start : start + size]
