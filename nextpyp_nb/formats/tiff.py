"""TIFF movies and images; pages run top-down, arrays y up, so every page is flipped."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile, published
from nextpyp_nb.formats.ifd import (
    FILL_ORDER,
    PREDICTOR,
    RESOLUTION_UNIT,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_WIDTH,
    X_RESOLUTION,
    Page,
    Tiff,
)

COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 50000: "zstd", 34926: "zstd"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}


def page_dtype(tiff: Tiff, page: Page) -> np.dtype[Any]:
    """Dtype of a page in the machine's byte order, or BadFile where it is no camera image."""
    kind = _KINDS.get(tiff.value(page, SAMPLE_FORMAT, 1), "?")
    name = f"{kind}{page.bits // 8}"
    if page.bits % 8 or name not in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4"):
        raise BadFile(f"TIFF pixels of {page.bits} bits, expected 8 or 16 bits or 32-bit float")
    if tiff.value(page, SAMPLES, 1) != 1:
        raise BadFile(f"a colour TIFF ({tiff.value(page, SAMPLES, 1)} samples a pixel), expected grey")
    if page.compression not in COMPRESSIONS:
        raise BadFile(f"TIFF compression {page.compression}, expected none, LZW, deflate or zstd")
    if TILE_WIDTH in page.tags or tiff.value(page, FILL_ORDER, 1) != 1:
        raise BadFile("a tiled or bit-reversed TIFF, expected strips")
    return np.dtype(name)


def pixel_size(tiff: Tiff) -> float | None:
    """Pixel size in Å from the resolution tags; None where they say nothing credible."""
    page = tiff.pages[0]
    per_unit = tiff.ratio(page, X_RESOLUTION)
    angstrom = _ANGSTROM_PER_UNIT.get(tiff.value(page, RESOLUTION_UNIT, 2))
    if angstrom is None or not per_unit > 0:
        return None
    size = angstrom / per_unit
    return size if 0.05 <= size <= 100 else None


def read_tiff(path: str | os.PathLike[str], first: int, stop: int, threads: int = 1) -> NDArray[Any]:
    """Read pages first..stop-1 as (f, y, x), y up, frames in parallel."""
    with Tiff(path) as tiff:
        pages = tiff.pages[first:stop]
        dtype = page_dtype(tiff, pages[0])
        height, width = pages[0].height, pages[0].width
        frames = np.empty((len(pages), height, width), dtype)

        def decode(n: int) -> None:
            page = pages[n]
            if (page.height, page.width) != (height, width) or page_dtype(tiff, page) != dtype:
                raise BadFile(f"frame {first + n + 1} differs in size or type from the first")
            try:
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
    offsets, counts = tiff.strips(page)
    height, width = out.shape
    rows = min(max(tiff.value(page, ROWS_PER_STRIP, height), 1), height)
    predictor = tiff.value(page, PREDICTOR, 1)
    if len(offsets) != -(-height // rows):
        raise BadFile(f"{len(offsets)} strips of {rows} rows do not make {height} rows")
    begin, end = int(offsets.min()), int((offsets + counts).max())
    # One large read where the strips lie together; network disks dislike many small ones.
    together = tiff.read(begin, end - begin) if end - begin <= 2 * int(counts.sum()) else None
    for n, (offset, count) in enumerate(zip(offsets.tolist(), counts.tolist(), strict=True)):
        raw = together[offset - begin : offset - begin + count] if together else tiff.read(offset, count)
        top, bottom = n * rows, min((n + 1) * rows, height)
        strip = _decode_strip(raw, page.compression, (bottom - top, width), out.dtype, predictor, tiff.order)
        out[height - bottom : height - top] = strip[::-1]


def _decode_strip(
    raw: bytes,
    compression: int,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    predictor: int,
    order: Literal["<", ">"],
) -> NDArray[Any]:
    wanted = shape[0] * shape[1] * dtype.itemsize
    try:
        flat = _decompress(raw, compression, wanted)
    except (RuntimeError, ValueError) as error:
        raise BadFile(f"a strip does not decode as {COMPRESSIONS[compression]} ({error})") from None
    if len(flat) != wanted:
        raise BadFile(f"a strip decodes to {len(flat)} bytes, expected {wanted}")
    if predictor == 3:
        stored = np.asarray(flat).view(dtype.newbyteorder(">")).reshape(shape)
        floats = imagecodecs.floatpred_decode(stored, axis=-1)
        return np.asarray(floats).astype(dtype)
    strip = np.asarray(flat).view(dtype.newbyteorder(order)).reshape(shape).astype(dtype, copy=False)
    if predictor == 2:
        return np.cumsum(strip, axis=1, dtype=dtype)
    if predictor != 1:
        raise BadFile(f"TIFF predictor {predictor}, expected 1, 2 or 3")
    return strip


def _decompress(raw: bytes, compression: int, wanted: int) -> NDArray[np.uint8]:
    if compression == 1:
        return np.frombuffer(raw, np.uint8)[:wanted]
    out: Any = np.empty(wanted, np.uint8)
    if COMPRESSIONS[compression] == "LZW":
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
    big = frames.nbytes > 2 << 30
    with published(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=big) as writer:
        for frame in frames:
            writer.write(
                np.ascontiguousarray(frame[::-1]),
                compression=compression,
                photometric="minisblack",
                metadata=None,
                rowsperstrip=frame.shape[0],
            )
