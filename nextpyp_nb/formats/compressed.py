"""MRC movies in .gz or .bz2: decompressed as a stream, straight into the frames."""

import bz2
import gzip
import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
SUFFIXES = (".gz", ".bz2")
_END_OF_BZIP2 = 0x177245385090
_ERRORS = (EOFError, zlib.error, OSError, ValueError)
_PIECE = 1 << 20


def is_compressed(head: bytes) -> bool:
    """Whether a file begins as gzip or bzip2 do."""
    return head.startswith((GZIP, BZIP2))


class Stream:
    """The decompressed bytes of a file, from the first on; reads what is asked and no more."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = Path(path).name
        with Path(path).open("rb") as file:
            head = file.read(4)
        self._file: BinaryIO
        if head.startswith(GZIP):
            self._file = io.BufferedReader(gzip.GzipFile(path), _PIECE)
        else:
            self._file = io.BufferedReader(bz2.BZ2File(path), _PIECE)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fill(self, buffer: NDArray[np.uint8] | memoryview) -> int:
        """Fill as much of ``buffer`` as there is; return the number of bytes."""
        view, done = memoryview(buffer), 0
        try:
            while done < len(view) and (got := self._file.readinto(view[done:])):  # type: ignore[attr-defined]
                done += got
        except _ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise BadFile(f"truncated or damaged: {self.name} does not decompress ({error})") from None
        return done

    def skip(self, count: int) -> int:
        """Pass over ``count`` bytes; return how many there were."""
        piece, done = np.empty(min(_PIECE, count), np.uint8), 0
        while done < count and (got := self.fill(piece[: count - done])):
            done += got
        return done


def unfinished(path: str | os.PathLike[str], size: int) -> str | None:
    """What is missing of a file of ``size`` bytes when decompressed; None where its end marks it as whole."""
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-min(12, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    if head.startswith(BZIP2):
        return None if _ends_as_bzip2(tail) else "truncated: the end of the bzip2 stream is missing"
    if int.from_bytes(tail[-4:], "little") == size % (1 << 32):
        return None
    # Several gzip streams in one file, or an unfinished one: only reading tells.
    with Stream(path) as stream:
        found = stream.skip(size + 1)
    return None if found == size else f"{found} bytes or more when decompressed, the header declares {size}"


def _ends_as_bzip2(tail: bytes) -> bool:
    """The end mark, a checksum of 32 bits and up to 7 bits of filling, not aligned to bytes."""
    bits = int.from_bytes(tail, "big")
    return any(bits >> (32 + filling) & ((1 << 48) - 1) == _END_OF_BZIP2 for filling in range(8))
