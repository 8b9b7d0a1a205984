"""Is this a movie, and is all of it there? Strict and quick, without reading pixels."""

import os
from pathlib import Path

import numpy as np

from nextpyp_nb.formats import eer, ifd, mrc, tiff
from nextpyp_nb.formats.compressed import is_compressed, unfinished
from nextpyp_nb.formats.files import BadFile as BadFile
from nextpyp_nb.records import Movie

_TAIL = 64 * 1024
_ZERO_RUN = 4096


def check_movie(path: str | os.PathLike[str]) -> Movie:
    """Say what the file claims to be after strict checks of its header, or raise BadFile."""
    path = Path(path)
    head = _head(path)
    if head[:4] in ifd.MAGIC:
        return _check_tiff(path)
    return _check_mrc(path, head)


def whole(path: str | os.PathLike[str], expected_frames: int | None = None) -> str | None:
    """None when the movie is complete, else what is missing, in words."""
    path = Path(path)
    try:
        movie = check_movie(path)
        reason = _whole_tiff(path) if _head(path)[:4] in ifd.MAGIC else _whole_mrc(path)
    except BadFile as error:
        return str(error)
    if reason is None and expected_frames is not None and movie.n_frames < expected_frames:
        return f"{movie.n_frames} frames, the session's movies have {expected_frames}"
    return reason


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(mrc.HEADER_BYTES)
    if not head:
        raise BadFile("an empty file")
    return head


def _check_mrc(path: Path, head: bytes) -> Movie:
    try:
        claimed = mrc.read_header(path) if is_compressed(head) else mrc.parse_header(head)
    except BadFile as error:
        if head[208:211] == b"MAP" or not any(head[:64]) or is_compressed(head):
            raise
        raise BadFile(
            f"not a movie: {path.name} begins with {head[:4]!r}, expected TIFF, MRC or EER ({error})"
        ) from None
    if claimed.n_frames > ifd.MAX_FRAMES:
        raise BadFile(f"{claimed.n_frames} frames, expected at most {ifd.MAX_FRAMES}")
    header = mrc.read_header(path)
    return Movie(
        path=path,
        n_frames=header.n_frames,
        height=header.height,
        width=header.width,
        dtype=header.dtype.name,
        pixel_size=header.pixel_size,
    )


def _check_tiff(path: Path) -> Movie:
    with ifd.Tiff(path) as file:
        events = eer.event_pages(file)
        pages = events or file.pages
        first = pages[0]
        dtype = "uint8" if events else tiff.page_dtype(file, first).name
        height, width = (first.height, first.width) if events else tiff.frame_shape(first)
        if events:
            eer.symbol_bits(file, first)
        for n, page in enumerate(pages, 1):
            if (page.height, page.width, page.bits) != (first.height, first.width, first.bits):
                raise BadFile(f"frame {n} differs in size or type from the first")
        _check_expansion(file, len(pages), first, 1 if events else first.bits)
        _check_last_strips(file, pages)
        return Movie(
            path=path,
            n_frames=len(pages),
            height=height,
            width=width,
            dtype=dtype,
            pixel_size=eer.pixel_size(file) if events else tiff.pixel_size(file),
        )


def _check_expansion(file: ifd.Tiff, n: int, page: ifd.Page, bits_per_pixel: int) -> None:
    declared = n * page.height * page.width * bits_per_pixel // 8
    if declared > ifd.MAX_EXPANSION * file.size:
        raise BadFile(
            f"{n} frames of {page.height} x {page.width} px in {file.size} bytes: "
            f"more than {ifd.MAX_EXPANSION} times what such a file can hold"
        )


def _check_last_strips(file: ifd.Tiff, pages: list[ifd.Page]) -> None:
    """Only the outer frames: strip tables of a whole movie can be megabytes."""
    file.strips(pages[0])
    try:
        file.strips(pages[-1])
    except BadFile as error:
        if not str(error).startswith("truncated"):
            raise
        readable = sum(_readable(file, page) for page in pages)
        raise BadFile(f"truncated: {readable} of {len(pages)} frames readable") from None


def _readable(file: ifd.Tiff, page: ifd.Page) -> bool:
    try:
        file.strips(page)
    except BadFile:
        return False
    return True


def _whole_tiff(path: Path) -> str | None:
    with ifd.Tiff(path) as file:
        events = eer.event_pages(file)
        pages = events or file.pages
        readable = sum(_readable(file, page) for page in pages)
        if readable < len(pages):
            return f"truncated: {readable} of {len(pages)} frames readable"
        used = max(page.end for page in file.pages)
        for page in file.pages:
            offsets, counts = file.strips(page)
            used = max(used, int((offsets + counts).max()))
        if file.size - used >= _ZERO_RUN and not any(file.read(file.size - _ZERO_RUN, _ZERO_RUN)):
            return f"{file.size - used} bytes after the last frame, ending in zeros: still being written"
        if pages[0].compression == 1 and not events:
            ends = [_zeros_at_end(file, page) for page in (pages[0], pages[-1])]
            return _zero_tail(ends[0], ends[1])
        tail = _last_bytes(file, pages[-1], 16)
        return None if any(tail) else "the last strip ends in zeros: still being written"


def _last_bytes(file: ifd.Tiff, page: ifd.Page, length: int) -> bytes:
    """The end of the strip that lies last in the file."""
    offsets, counts = file.strips(page)
    last = int(np.argmax(offsets))
    length = min(length, int(counts[last]))
    return file.read(int(offsets[last] + counts[last]) - length, length)


def _zeros_at_end(file: ifd.Tiff, page: ifd.Page) -> int:
    run = _trailing_zeros(_last_bytes(file, page, _TAIL))
    return run if run < _TAIL else _trailing_zeros(_last_bytes(file, page, file.size))


def _whole_mrc(path: Path) -> str | None:
    header = mrc.read_header(path)
    if is_compressed(_head(path)):
        return unfinished(path, header.end)
    size = path.stat().st_size
    if size > header.end:
        return f"{size} bytes, the header declares {header.end}"
    runs = []
    with path.open("rb") as file:
        for frame in (0, header.n_frames - 1):
            end = header.start + (frame + 1) * header.frame_bytes
            length = min(header.frame_bytes, _TAIL)
            file.seek(end - length)
            run = _trailing_zeros(file.read(length))
            if run == length:
                file.seek(end - header.frame_bytes)
                run = _trailing_zeros(file.read(header.frame_bytes))
            runs.append(run if run < header.frame_bytes else -1)
    if runs[1] < 0:
        return "the last frame is all zero: still being written"
    return _zero_tail(runs[0], runs[1])


def _zero_tail(first: int, last: int) -> str | None:
    """Compare with frame 1, whose end may be masked too."""
    if last >= _ZERO_RUN and last > 2 * first:
        return f"the last {last} bytes of the last frame are zero: still being written"
    return None


def _trailing_zeros(raw: bytes) -> int:
    return len(raw) - len(raw.rstrip(b"\0"))
