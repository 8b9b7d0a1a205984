"""EER movies: electron events run-length coded, one TIFF page a raw detector frame."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.ifd import EER_COMPRESSIONS, Page, Tiff

_METADATA = 65001
_RUN_BITS, _SUB_BITS_X, _SUB_BITS_Y = 65007, 65008, 65009
_PADDING = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStreams:
    """Coded raw frames, for a decoder on a GPU: raw frame n has ``bits[n]`` from word ``starts[n]`` on.

    ``words`` are uint64, two of padding after each raw frame; ``coding`` is the bits of a run length, of a
    position, and those of x within it (0 to count at whole pixels); ``shape`` (y, x) is the detector's.
    """

    words: NDArray[np.uint64]
    starts: NDArray[np.int64]
    bits: NDArray[np.int64]
    coding: tuple[int, int, int]
    shape: tuple[int, int]


def event_pages(tiff: Tiff) -> list[Page]:
    """The raw frames; a summed preview page that some writers put first is left out."""
    return [page for page in tiff.pages if page.compression in EER_COMPRESSIONS]


def symbol_bits(tiff: Tiff, page: Page) -> tuple[int, int]:
    """Bits of a run length and of a sub-pixel symbol."""
    if page.compression == 65000:
        return 8, 4
    if page.compression == 65001:
        return 7, 4
    run, sub = tiff.value(page, _RUN_BITS, 7), position_bits(tiff, page)
    if not (4 <= run <= 16 and 0 <= min(sub) <= max(sub) <= 4):
        raise BadFile(f"EER with {run}-bit runs and {sub[0]}- and {sub[1]}-bit positions")
    return run, sum(sub)


def position_bits(tiff: Tiff, page: Page) -> tuple[int, int]:
    """Bits of an electron's position within its pixel, in x and y."""
    if page.compression != 65002:
        return 2, 2
    return tiff.value(page, _SUB_BITS_X, 1), tiff.value(page, _SUB_BITS_Y, 1)


def pixel_size(tiff: Tiff) -> float | None:
    """Pixel size in Å from the acquisition metadata; None where they hold none."""
    found = re.search(
        r'name="sensorPixelSize\.width"\s+unit="m"\s*>\s*([0-9.]+[eE]-\d+)\s*<',
        tiff.text(tiff.pages[0], _METADATA),
    )
    size = float(found[1]) * 1e10 if found else 0.0
    return size if 0.05 <= size <= 100 else None


def read_eer(
    path: str | os.PathLike[str], bounds: Sequence[int], *, factor: int = 1, threads: int = 1
) -> tuple[NDArray[Any], int]:
    """Sum raw frames bounds[n]..bounds[n + 1] - 1 to frame n, (f, y, x), and count corrupt raw frames.

    ``factor`` 1 counts electrons at the detector's pixels (4k), 2 at half pixels (8k). Corrupt raw frames
    add nothing.
    """
    with Tiff(path) as tiff:
        pages = event_pages(tiff)
        height, width = pages[0].height, pages[0].width
        _check_positions(tiff, pages[0], factor)
        most = max(stop - start for start, stop in pairwise(bounds))
        # A pixel holds at most one electron of a raw frame.
        shape = (len(bounds) - 1, factor * height, factor * width)
        frames = np.zeros(shape, np.uint8 if most <= 255 else np.uint16)
        dropped = np.zeros(len(frames), np.int64)

        def fraction(n: int) -> None:
            for page in pages[bounds[n] : bounds[n + 1]]:
                if (page.height, page.width) != (height, width):
                    raise BadFile("the raw frames of an EER differ in size")
                dropped[n] += not _add_page(tiff, page, frames[n], factor)

        with ThreadPoolExecutor(max(threads, 1)) as pool:
            list(pool.map(fraction, range(len(frames))))
    return frames, int(dropped.sum())


def read_streams(
    path: str | os.PathLike[str], bounds: Sequence[int], *, factor: int = 1, threads: int = 1
) -> EventStreams:
    """Raw frames bounds[0]..bounds[-1] - 1 as they are coded."""
    with Tiff(path) as tiff:
        pages = event_pages(tiff)[bounds[0] : bounds[-1]]
        first = pages[0]
        _check_positions(tiff, first, factor)
        shape, bits = (first.height, first.width), symbol_bits(tiff, first)
        for page in pages:
            if (page.height, page.width) != shape or symbol_bits(tiff, page) != bits:
                raise BadFile("the raw frames of an EER differ in size or coding")
        strips = [[a.tolist() for a in tiff.strips(page)] for page in pages]
        lengths = np.array([sum(counts) for _, counts in strips], np.int64)
        starts = np.concatenate([[0], np.cumsum(-(-lengths // 8) + 2)])
        words = np.zeros(int(starts[-1]), np.uint64)
        stored = words.view(np.uint8)

        def copy(number: int) -> None:
            at = 8 * int(starts[number])
            for offset, count in zip(*strips[number], strict=True):
                stored[at : at + count] = np.frombuffer(tiff.read(offset, count), np.uint8)
                at += count

        with ThreadPoolExecutor(max(threads, 1)) as pool:
            list(pool.map(copy, range(len(pages))))
        x_bits = position_bits(tiff, first)[0] if factor == 2 else 0
    return EventStreams(
        words=words, starts=starts[:-1], bits=8 * lengths, coding=(*bits, x_bits), shape=shape
    )


def _check_positions(tiff: Tiff, page: Page, factor: int) -> None:
    if factor == 2 and min(position_bits(tiff, page)) < 1:
        raise BadFile("this EER keeps no positions within a pixel: read it at 4k")


def _add_page(tiff: Tiff, page: Page, frame: NDArray[Any], factor: int) -> bool:
    offsets, counts = tiff.strips(page)
    places = zip(offsets.tolist(), counts.tolist(), strict=True)
    strips = [tiff.read(offset, count) for offset, count in places]
    events = np.frombuffer(b"".join([*strips, _PADDING]), np.uint8)
    run_bits, sub_bits = symbol_bits(tiff, page)
    bits = 8 * (len(events) - len(_PADDING))
    x_bits = position_bits(tiff, page)[0] if factor == 2 else 0
    coding = (bits, run_bits, sub_bits, x_bits)
    if _add_events(events, *coding, frame, 1) == page.height * page.width:
        return True
    _add_events(events, *coding, frame, -1)
    return False


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_events(
    events: NDArray[np.uint8],
    bits: int,
    run_bits: int,
    sub_bits: int,
    x_bits: int,
    frame: NDArray[Any],
    step: int,
) -> int:
    """Add ``step`` at each electron; return the pixel where the stream ends (the frame's size when intact).

    Bits run from the lowest up: a run of empty pixels, then a position within the pixel (x below y, each
    with its half pixel as the inverted highest bit) unless the run is full. ``x_bits`` 0 counts at whole
    pixels.
    """
    full = (1 << run_bits) - 1
    word = np.uint64(0)
    held = 0
    byte = 0
    used = 0
    pixel = np.int64(0)
    last = len(events)
    counts = frame.reshape(-1)
    double = frame.shape[1]
    width = double // 2
    size = counts.size if x_bits == 0 else counts.size // 4
    while used + run_bits <= bits:
        while held <= 56 and byte < last:
            word |= np.uint64(events[byte]) << np.uint64(held)
            byte += 1
            held += 8
        run = np.int64(word & np.uint64(full))
        word >>= np.uint64(run_bits)
        held -= run_bits
        used += run_bits
        pixel += run
        if pixel >= size:
            return int(pixel)
        if run == full:
            continue
        if x_bits == 0:
            counts[pixel] += step
        else:
            right = 1 - np.int64((word >> np.uint64(x_bits - 1)) & np.uint64(1))
            up = 1 - np.int64((word >> np.uint64(sub_bits - 1)) & np.uint64(1))
            row = pixel // width
            counts[(2 * row + up) * double + 2 * (pixel - row * width) + right] += step
        pixel += 1
        word >>= np.uint64(sub_bits)
        held -= sub_bits
        used += sub_bits
    return int(pixel)
