"""TIFF and BigTIFF directories, read strictly: what the pages claim, and where their strips lie."""

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile

MAX_FRAMES = 20_000
MAX_SIDE = 32_768
MAX_EXPANSION = 64
EER_COMPRESSIONS = (65000, 65001, 65002)
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, OFFSETS, SAMPLES = 256, 257, 258, 259, 270, 273, 277
ROWS_PER_STRIP, COUNTS, X_RESOLUTION, RESOLUTION_UNIT, PREDICTOR = 278, 279, 282, 296, 317
FILL_ORDER, SAMPLE_FORMAT = 266, 339
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
_TABLES = (OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS)
# Of tags without a meaning to us nothing is kept: directories may overlap, and a small file claim millions.
_KNOWN = frozenset(
    (WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS, X_RESOLUTION,
     RESOLUTION_UNIT, PREDICTOR, FILL_ORDER, SAMPLE_FORMAT, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS,
     TILE_COUNTS, *range(65001, 65010))
)  # fmt: skip

# Bytes of one value of each TIFF type; others have one.
_SIZE = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBER = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory: where its values lie, or the bytes of a few values ``inside`` it."""

    kind: int
    count: int
    offset: int
    inside: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One directory: the shape and coding of a frame; ``end`` is the byte after its tags."""

    tags: dict[int, Tag]
    width: int
    height: int
    bits: int
    compression: int
    end: int


class Tiff:
    """An open TIFF whose ``pages`` were walked with loop, size and truncation checks."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self._fd = os.open(path, os.O_RDONLY)
        try:
            self.size = os.fstat(self._fd).st_size
            self._head()
            self.pages = self._walk()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, offset: int, count: int) -> bytes:
        """Read exactly ``count`` bytes or raise BadFile."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise BadFile(f"truncated: bytes {offset} to {offset + count} lie outside a file of {self.size}")
        pieces = []
        while count:
            piece = os.pread(self._fd, min(count, 1 << 30), offset)
            if not piece:
                raise BadFile(f"truncated: the file became shorter than {self.size} bytes while being read")
            pieces.append(piece)
            offset, count = offset + len(piece), count - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def values(self, page: Page, tag: int) -> NDArray[np.int64]:
        """All whole-number values of a tag; empty where the page has none."""
        entry = page.tags.get(tag)
        if entry is None:
            return np.zeros(0, np.int64)
        if entry.kind not in _WHOLE_NUMBER:
            raise BadFile(f"TIFF tag {tag} has type {entry.kind}, expected a whole number")
        if entry.count > 4 * MAX_SIDE:
            raise BadFile(f"TIFF tag {tag} claims {entry.count} values")
        dtype = np.dtype(self.order + _WHOLE_NUMBER[entry.kind])
        size = entry.count * dtype.itemsize
        raw = np.frombuffer(entry.inside[:size] or self.read(entry.offset, size), dtype)
        if raw.dtype.kind == "u" and raw.size and raw.max() > np.uint64(1 << 62):
            raise BadFile(f"TIFF tag {tag} points beyond any file")
        return raw.astype(np.int64)

    def value(self, page: Page, tag: int, default: int) -> int:
        """First whole-number value of a tag."""
        values = self.values(page, tag)
        return int(values[0]) if len(values) else default

    def ratio(self, page: Page, tag: int) -> float:
        """A rational tag as a float; NaN where absent."""
        entry = page.tags.get(tag)
        if entry is None or entry.kind != 5:
            return float("nan")
        over, under = np.frombuffer(self.read(entry.offset, 8), self.order + "u4").tolist()
        return over / under if under else float("nan")

    def text(self, page: Page, tag: int) -> str:
        """A tag's bytes as text, at most 1 MB of it; empty where absent."""
        entry = page.tags.get(tag)
        if entry is None or entry.kind not in (1, 2, 7):
            return ""
        return self.read(entry.offset, min(entry.count, 1 << 20)).decode("utf-8", errors="replace")

    def strips(self, page: Page) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets and byte counts of a page's strips (or tiles), inside the file."""
        tags = (TILE_OFFSETS, TILE_COUNTS) if TILE_OFFSETS in page.tags else (OFFSETS, COUNTS)
        offsets, counts = (self.values(page, tag) for tag in tags)
        if len(offsets) == 0 or len(offsets) != len(counts):
            raise BadFile(f"a TIFF page lists {len(offsets)} strip offsets and {len(counts)} byte counts")
        if counts.min() < 0 or offsets.min() < 0:
            raise BadFile("a TIFF page has strips of negative size or place")
        if int((offsets + counts).max()) > self.size:
            raise BadFile("truncated: a strip ends beyond the end of the file")
        return offsets, counts

    def _head(self) -> None:
        head = self.read(0, min(self.size, 16))
        if head[:4] not in MAGIC:
            raise BadFile(f"not a TIFF: the file begins with {head[:4]!r}")
        self.order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
        self.big = 43 in head[2:4]
        if len(head) < (16 if self.big else 8):
            raise BadFile(f"truncated: a TIFF of {self.size} bytes")
        if self.big and self._number(head[4:6]) != 8:
            raise BadFile(f"BigTIFF with {self._number(head[4:6])}-byte offsets, expected 8")
        self._first = self._number(head[8:16] if self.big else head[4:8])

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def _walk(self) -> list[Page]:
        pages: list[Page] = []
        seen: set[int] = set()
        at, listed = self._first, 0
        while at:
            if at in seen:
                raise BadFile(f"the TIFF's chain of pages runs in a circle after {len(pages)} pages")
            if len(pages) >= MAX_FRAMES:
                raise BadFile(f"more than {MAX_FRAMES} pages")
            seen.add(at)
            try:
                page, at = self._page(at)
            except BadFile as error:
                raise BadFile(f"{error} ({len(pages)} frames are readable)") from None
            pages.append(page)
            listed += sum(page.tags[tag].count for tag in _TABLES if tag in page.tags)
            if listed > self.size:
                raise BadFile(f"{len(pages)} pages list {listed} strips in {self.size} bytes")
        if not pages:
            raise BadFile("a TIFF without pages: the writer has not finished it")
        return pages

    def _page(self, at: int) -> tuple[Page, int]:
        wide = 8 if self.big else 2
        entry, field = (20, 8) if self.big else (12, 4)
        count = self._number(self.read(at, wide))
        if not 0 < count <= 512:
            raise BadFile(f"a TIFF page with {count} tags at byte {at}: no page lies here")
        raw = self.read(at + wide, count * entry + field)
        tags = {}
        for n in range(count):
            piece = raw[n * entry : (n + 1) * entry]
            if self._number(piece[:2]) not in _KNOWN:
                continue
            kind, values = self._number(piece[2:4]), self._number(piece[4 : 4 + field])
            last = piece[4 + field :]
            if _SIZE.get(kind, 1) * values <= field:
                place, inside = at + wide + n * entry + 4 + field, last
            else:
                place, inside = self._number(last), b""
            tags[self._number(piece[:2])] = Tag(kind, values, place, inside)
        bare = Page(tags=tags, width=0, height=0, bits=0, compression=0, end=at + wide + len(raw))
        page = Page(
            tags=tags,
            width=self.value(bare, WIDTH, 0),
            height=self.value(bare, HEIGHT, 0),
            bits=self.value(bare, BITS, 1),
            compression=self.value(bare, COMPRESSION, 1),
            end=bare.end,
        )
        if not (0 < page.width <= MAX_SIDE and 0 < page.height <= MAX_SIDE):
            raise BadFile(f"a page of {page.height} x {page.width} px, expected sides of 1 to {MAX_SIDE}")
        return page, self._number(raw[-field:])
