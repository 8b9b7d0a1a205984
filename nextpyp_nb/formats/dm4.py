"""The largest image of a DigitalMicrograph 4 file; only what a gain reference needs."""

import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.ifd import MAX_SIDE

_GROUP, _VALUE = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_TYPES = {
    2: "i2",
    3: "i4",
    4: "u2",
    5: "u4",
    6: "f4",
    7: "f8",
    8: "u1",
    9: "i1",
    10: "i1",
    11: "i8",
    12: "u8",
}
_MAX_TAGS, _MAX_DEPTH = 200_000, 32


def read_dm4(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the image of largest size as (y, x), rows as stored: top-down."""
    with Path(path).open("rb") as file:
        tags = _Tags(file)
        images = [group for group in tags.images.values() if {"at", "x", "y"} <= group.keys()]
        if not images:
            raise BadFile(f"no image in {Path(path).name}")
        image = max(images, key=lambda group: int(group["x"]) * int(group["y"]))
        x, y, dtype = int(image["x"]), int(image["y"]), np.dtype(image["dtype"])
        if not (0 < x <= MAX_SIDE and 0 < y <= MAX_SIDE) or image["count"] < x * y:
            raise BadFile(f"an image of {y} x {x} px with {image['count']} values")
        file.seek(image["at"])
        pixels = np.frombuffer(file.read(x * y * dtype.itemsize), dtype)
    return pixels.reshape(y, x).astype(dtype.newbyteorder("="), copy=False)


class _Tags:
    """Walks the tag tree and keeps where each ImageData group has its pixels and size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._left = _MAX_TAGS
        self.images: dict[str, dict[str, Any]] = {}
        version = self._number(4)
        if version != 4:
            raise BadFile(f"DigitalMicrograph version {version}, expected 4")
        self._number(8)
        self._order: Literal["<", ">"] = "<" if self._number(4) == 1 else ">"
        self._group(())

    def _read(self, count: int) -> bytes:
        raw = self._file.read(count) if 0 <= count <= self._size else b""
        if len(raw) != count:
            raise BadFile("truncated: the file ends within its tags")
        return raw

    def _number(self, count: int) -> int:
        return int.from_bytes(self._read(count), "big")

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise BadFile(f"more than {_MAX_TAGS} tags and numbers that describe them")

    def _group(self, where: tuple[str, ...]) -> None:
        if len(where) > _MAX_DEPTH:
            raise BadFile("tags nested too deep")
        self._read(2)
        for n in range(self._number(8)):
            self._spend(1)
            kind = self._number(1)
            name = self._read(self._number(2)).decode("latin-1") or str(n)
            end = self._number(8) + self._file.tell()
            if end > self._size:
                raise BadFile("truncated: a tag ends beyond the end of the file")
            if kind == _GROUP:
                self._group((*where, name))
            elif kind == _VALUE:
                self._value((*where, name))
            else:
                raise BadFile(f"a tag of kind {kind}, expected a group or a value")
            self._file.seek(end)

    def _value(self, where: tuple[str, ...]) -> None:
        if self._read(4) != b"%%%%":
            raise BadFile("a tag value without its mark")
        length = self._number(8)
        if not 0 < length <= 1024:
            raise BadFile(f"a tag described by {length} numbers")
        self._spend(length)
        form = [self._number(8) for _ in range(length)]
        if "ImageData" not in where[:-1]:
            return
        image = self.images.setdefault("/".join(where[: where.index("ImageData")]), {})
        if where[-1] == "Data" and form[0] == _ARRAY and len(form) == 3 and form[1] in _TYPES:
            dtype = np.dtype(_TYPES[form[1]]).newbyteorder(self._order)
            at = self._file.tell()
            if at + form[2] * dtype.itemsize > self._size:
                raise BadFile("truncated: the image ends beyond the end of the file")
            image.update(at=at, count=form[2], dtype=dtype)
        elif where[-2] == "Dimensions" and where[-1] in ("0", "1") and form[0] in _TYPES:
            dtype = np.dtype(_TYPES[form[0]]).newbyteorder(self._order)
            image["x" if where[-1] == "0" else "y"] = np.frombuffer(self._read(dtype.itemsize), dtype)[0]
