"""TIFF movies and images; pages run top-down, arrays y up, so every page is flipped."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile, published
from nextpyp_nb.formats.ifd import (
    FILL_ORDER,
    PREDICTOR,
    RESOLUTION_UNIT,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_HEIGHT,
    TILE_WIDTH,
    X_RESOLUTION,
    Page,
    Tiff,
)
from nextpyp_nb.formats.lzw import decode_lzw

COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 50000: "zstd", 34926: "zstd"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}
_MOST_BEYOND = 1024  # of a tile beyond its image
# Width and height of the half-wide pages of K2 (7676 x 7420 px) and K3 (11520 x 8184 px), either way round.
_HALVES = {
    (x // 2, y) for sides in ((7676, 7420), (7680, 7424), (11520, 8184)) for x, y in (sides, sides[::-1])
}


def page_dtype(tiff: Tiff, page: Page) -> np.dtype[Any]:
    """Dtype of a page's pixels in the machine's byte order, or BadFile where it is no camera image."""
    kind = _KINDS.get(tiff.value(page, SAMPLE_FORMAT, 1), "?")
    name = "u1" if (kind, page.bits) == ("u", 4) else f"{kind}{page.bits // 8}"
    if page.bits not in (4, 8, 16, 32) or name not in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4"):
        raise BadFile(f"TIFF pixels of {page.bits} bits, expected 4, 8 or 16 bits or 32-bit float")
    if tiff.value(page, SAMPLES, 1) != 1:
        raise BadFile(f"a colour TIFF ({tiff.value(page, SAMPLES, 1)} samples a pixel), expected grey")
    if page.compression not in COMPRESSIONS:
        raise BadFile(f"TIFF compression {page.compression}, expected none, LZW, deflate or zstd")
    if page.bits != 4 and tiff.value(page, FILL_ORDER, 1) != 1:
        raise BadFile("a bit-reversed TIFF, expected the usual order")
    return np.dtype(name)


def frame_shape(page: Page) -> tuple[int, int]:
    """Size (y, x) of a page's image: bytes of SerialEM's half-wide pages hold two pixels each."""
    return page.height, page.width * (2 if holds_halves(page) else 1)


def holds_halves(page: Page) -> bool:
    """Whether these are half-wide pages in which SerialEM packs super-resolution counts, by their size."""
    return page.bits == 8 and (page.width, page.height) in _HALVES


def unpack_halves(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Split each byte into two pixels, the low four bits first: (f, y, x) -> (f, y, 2 x)."""
    pixels = np.empty((*frames.shape[:-1], 2 * frames.shape[-1]), np.uint8)
    np.bitwise_and(frames, 15, out=pixels[..., ::2])
    np.right_shift(frames, 4, out=pixels[..., 1::2])
    return pixels


def pixel_size(tiff: Tiff) -> float | None:
    """Pixel size in Å from the resolution tags; None where they say nothing credible."""
    page = tiff.pages[0]
    per_unit = tiff.ratio(page, X_RESOLUTION)
    angstrom = _ANGSTROM_PER_UNIT.get(tiff.value(page, RESOLUTION_UNIT, 2))
    if angstrom is None or not per_unit > 0:
        return None
    size = angstrom / per_unit
    return size if 0.05 <= size <= 100 else None


def read_tiff(
    path: str | os.PathLike[str],
    first: int,
    stop: int,
    threads: int = 1,
    empty: Callable[..., NDArray[Any]] = np.empty,
) -> NDArray[Any]:
    """Read pages first..stop-1 as (f, y, x), y up, frames in parallel, into what ``empty`` makes."""
    with Tiff(path) as tiff:
        pages = tiff.pages[first:stop]
        dtype, shape = page_dtype(tiff, pages[0]), frame_shape(pages[0])
        frames = empty((len(pages), *shape), dtype)

        def decode(n: int) -> None:
            page = pages[n]
            if frame_shape(page) != shape or page_dtype(tiff, page) != dtype:
                raise BadFile(f"frame {first + n + 1} differs in size or type from the first")
            try:
                if holds_halves(page):
                    stored = np.empty((page.height, page.width), np.uint8)
                    _decode_page(tiff, page, stored)
                    frames[n] = unpack_halves(stored)
                else:
                    _decode_page(tiff, page, frames[n])
            except BadFile as error:
                raise BadFile(f"frame {first + n + 1} of {len(tiff.pages)}: {error}") from None

        if threads <= 1 or len(pages) == 1:
            for n in range(len(pages)):
                decode(n)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(decode, range(len(pages))))
    return frames


def _decode_page(tiff: Tiff, page: Page, out: NDArray[Any]) -> None:
    """Decode strip by strip, or tile by tile; tiles at the right and the bottom reach beyond the image."""
    offsets, counts = tiff.strips(page)
    height, width = out.shape
    tiled = TILE_WIDTH in page.tags
    rows = tiff.value(page, TILE_HEIGHT if tiled else ROWS_PER_STRIP, height)
    columns = tiff.value(page, TILE_WIDTH, width)
    if not tiled:
        rows = min(max(rows, 1), height)
    if not (0 < rows <= height + _MOST_BEYOND and 0 < columns <= width + _MOST_BEYOND):
        raise BadFile(f"tiles of {rows} x {columns} px in an image of {height} x {width} px")
    across = -(-width // columns)
    if len(offsets) != across * -(-height // rows):
        raise BadFile(f"{len(offsets)} pieces of {rows} x {columns} px do not make {height} x {width} px")
    form = _Form(tiff, page, out.dtype)
    begin, end = int(offsets.min()), int((offsets + counts).max())
    # One large read where the strips lie together; network disks dislike many small ones.
    together = tiff.read(begin, end - begin) if end - begin <= 2 * int(counts.sum()) else None
    for n, (offset, count) in enumerate(zip(offsets.tolist(), counts.tolist(), strict=True)):
        raw = together[offset - begin : offset - begin + count] if together else tiff.read(offset, count)
        top, left = n // across * rows, n % across * columns
        bottom, right = min(top + rows, height), min(left + columns, width)
        piece = form.decode(raw, (rows if tiled else bottom - top, columns))
        out[height - bottom : height - top, left:right] = piece[: bottom - top, : right - left][::-1]


class _Form:
    """How the pieces of a page are coded."""

    def __init__(self, tiff: Tiff, page: Page, dtype: np.dtype[Any]) -> None:
        self.compression, self.predictor = page.compression, tiff.value(page, PREDICTOR, 1)
        self.dtype, self.order = dtype, tiff.order
        self.packed = page.bits == 4
        self.low_first = tiff.value(page, FILL_ORDER, 1) == 2

    def decode(self, raw: bytes, shape: tuple[int, int]) -> NDArray[Any]:
        """Pixels (y, x) of one strip or tile, rows as stored."""
        row = (shape[1] + 1) // 2 if self.packed else shape[1] * self.dtype.itemsize
        try:
            flat = _decompress(raw, self.compression, shape[0] * row)
        except (RuntimeError, ValueError) as error:
            name = COMPRESSIONS[self.compression]
            raise BadFile(f"a strip does not decode as {name} ({error})") from None
        if len(flat) != shape[0] * row:
            raise BadFile(f"a strip decodes to {len(flat)} bytes, expected {shape[0] * row}")
        if self.packed:
            bytes_ = np.asarray(flat).reshape(shape[0], row)
            if not self.low_first:
                bytes_ = np.asarray((bytes_ << 4) | (bytes_ >> 4), np.uint8)
            return unpack_halves(bytes_)[:, : shape[1]]
        return self._predicted(np.asarray(flat), shape)

    def _predicted(self, flat: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[Any]:
        if self.predictor == 3:
            stored = flat.view(self.dtype.newbyteorder(">")).reshape(shape)
            floats = imagecodecs.floatpred_decode(stored, axis=-1)
            return np.asarray(floats).astype(self.dtype)
        values = flat.view(self.dtype.newbyteorder(self.order)).reshape(shape)
        values = values.astype(self.dtype, copy=False)
        if self.predictor == 2:
            return np.cumsum(values, axis=1, dtype=self.dtype)
        if self.predictor != 1:
            raise BadFile(f"TIFF predictor {self.predictor}, expected 1, 2 or 3")
        return values


def _decompress(raw: bytes, compression: int, wanted: int) -> NDArray[np.uint8]:
    if compression == 1:
        return np.frombuffer(raw, np.uint8)[:wanted]
    if COMPRESSIONS[compression] == "LZW" and (decoded := decode_lzw(raw, wanted)) is not None:
        return decoded
    out: Any = np.empty(wanted, np.uint8)
    if COMPRESSIONS[compression] == "LZW":  # of the kind before 1992, or damaged, which it explains
        return np.asarray(imagecodecs.lzw_decode(raw, out=out))
    if COMPRESSIONS[compression] == "deflate":
        return np.asarray(imagecodecs.zlib_decode(raw, out=out))
    return np.asarray(imagecodecs.zstd_decode(raw, out=out))


def write_movie_tiff(
    path: str | os.PathLike[str], frames: NDArray[Any], compression: str | None = "lzw"
) -> None:
    """Write (f, y, x) or (y, x), y up, as a TIFF of top-down pages, one strip a page."""
    frames = frames[None] if frames.ndim == 2 else frames
    if frames.ndim != 3:
        raise ValueError(f"a movie is (f, y, x), got the shape {frames.shape}")
    with published(path) as temporary:
        write_pages(temporary, frames, compression=compression, big=frames.nbytes > 2 << 30)


def write_pages(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[Any]],
    *,
    compression: str | None,
    pixel_size: float | None = None,
    big: bool = False,
) -> None:
    """Write frames (y, x), y up, as top-down pages, one at a time; ``pixel_size`` Å, ``big`` for > 4 GB."""
    import tifffile  # takes a third of a second, and reading needs none of it

    resolution: dict[str, Any] = (
        {} if pixel_size is None else {"resolution": (1e8 / pixel_size,) * 2, "resolutionunit": 3}
    )
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for frame in frames:
            writer.write(
                np.ascontiguousarray(frame[::-1]),
                compression=compression,
                photometric="minisblack",
                metadata=None,
                rowsperstrip=frame.shape[0],
                **resolution,
            )
