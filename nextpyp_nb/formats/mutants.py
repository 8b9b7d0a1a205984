"""Damaged files of every format: each must be read or refused with a reason, quickly and in little memory."""

import bz2
import gzip
import resource
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from nextpyp_nb.formats.acquisition import read_acquisition
from nextpyp_nb.formats.check import whole
from nextpyp_nb.formats.defects import read_defects
from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.fractions import read_fractions
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.gain import read_gain
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.star_text import read_star, write_star
from nextpyp_nb.formats.tiff import write_movie_tiff

Reader = Callable[[Path], Any]
SHAPE = (4, 48, 64)
_TAGS = (256, 257, 258, 259, 273, 279)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutants:
    """How many damaged files of each format were read and refused; ``failures`` are neither."""

    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0


def read_mutants(folder: Path, count: int, seed: int = 0) -> Mutants:
    """Damage files of every format ``count`` times in all, in ``folder``, and try to read each.

    ``slowest`` is the longest CPU time of one file in s, ``memory`` the growth of the process in bytes.
    """
    rng = np.random.default_rng(seed)
    samples = make_samples(folder, rng)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    for n in range(count):
        name = list(samples)[n % len(samples)]
        content, reader = samples[name]
        path = folder / f"mutant{Path(name).suffix}"
        path.write_bytes(mutated(content, rng))
        begin = time.process_time()
        try:
            reader(path)
            read[name] += 1
        except BadFile as error:
            refused[name] += 1
            if not str(error):
                failures.append(f"{name} {n}: refused without a reason")
        except Exception as error:  # whatever it is, it is what we look for
            failures.append(f"{name} {n}: {error!r}")
        slowest = max(slowest, time.process_time() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Mutants(read=read, refused=refused, failures=failures, slowest=slowest, memory=1024 * grown)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A copy with one kind of damage: odd bytes (in the head or anywhere), cut, a hole, a piece moved."""
    raw = bytearray(content)
    kind, size = int(rng.integers(6)), len(raw)
    at, length = int(rng.integers(size)), int(rng.integers(1, 64))
    if kind <= 2:
        end = (size, min(size, 256), min(size, 1100))[kind]
        for place in rng.integers(0, end, int(rng.integers(1, 6))):
            raw[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
    elif kind == 3:
        del raw[at:]
    elif kind == 4:
        raw[at : at + length] = bytes(len(raw[at : at + length]))
    else:
        raw[at:at] = raw[at : at + length]
    return bytes(raw)


def make_samples(folder: Path, rng: np.random.Generator) -> dict[str, tuple[bytes, Reader]]:
    """A small whole file of each format, with its reader."""
    counts = rng.poisson(1.5, SHAPE).astype(np.uint8)
    made: dict[str, tuple[bytes, Reader]] = {}
    for dtype in ("int8", "int16", "uint16", "float16", "float32"):
        write_mrc(folder / "s", counts.astype(dtype), pixel_size=1.3)
        made[f"{dtype}.mrc"] = (folder / "s").read_bytes(), _movie
    packed = bytearray(made["int8.mrc"][0])
    packed[:4], packed[12:16] = struct.pack("<i", 2 * SHAPE[2]), struct.pack("<i", 101)
    made["4bit.mrc"] = bytes(packed), _movie
    made["gzip.gz"] = gzip.compress(made["int16.mrc"][0]), _movie
    made["bzip2.bz2"] = bz2.compress(made["int16.mrc"][0]), _movie
    for coding in (None, "lzw", "zlib", "zstd"):
        write_movie_tiff(folder / "s", counts, compression=coding)
        made[f"{coding}.tif"] = (folder / "s").read_bytes(), _movie
    forms: dict[str, dict[str, Any]] = {
        "tiled.tif": {"tile": (16, 32), "compression": "lzw"},
        "big.tif": {"bigtiff": True, "rowsperstrip": 9, "predictor": True, "compression": "zlib"},
    }
    for name, options in forms.items():
        tifffile.imwrite(folder / "s", counts.astype(np.uint16), photometric="minisblack", **options)
        made[name] = (folder / "s").read_bytes(), _movie
    made["movie.eer"] = _eer(counts > 4), _eer_movie
    made["gain.dm4"] = _dm4(counts[0].astype(np.float32) + 1), _gain
    write_movie_tiff(folder / "s", counts[0].astype(np.float32) + 1)
    made["eer.gain"] = (folder / "s").read_bytes(), _gain
    return made | _texts(folder)


def _texts(folder: Path) -> dict[str, tuple[bytes, Reader]]:
    write_star(folder / "s", {"general": {"rlnImageSizeX": 64, "rlnVoltage": 300.0}})
    epu = b"<Image><pixelSize><x><numericValue>8e-11</numericValue></x></pixelSize></Image>"
    mdoc = b"PixelSpacing = 1.06\n[FrameSet = 0]\nExposureDose = 50.5\nDateTime = 05-Mar-24  09:07:01\n"
    serialem = b"CameraSizeX 64\nCameraSizeY 48\nBadPixels 3 4 5 6\nPartialBadColumn 7 2 1 20\n"
    return {
        "general.star": ((folder / "s").read_bytes(), read_star),
        "epu.xml": (epu, read_acquisition),
        "serialem.mdoc": (mdoc, read_acquisition),
        "boxes.txt": (b"# bad\n4 1 1 2\n6 4 9 9\n", _defects),
        "serialem.txt": (serialem, _defects),
        "fractions.txt": (b"20 5 0.1\n60 30 0.05\n", lambda path: read_fractions(path, 90)),
    }


def _movie(path: Path) -> None:
    whole(path)
    _bounded(path, read_frames(path))


def _eer_movie(path: Path) -> None:
    whole(path)
    _bounded(path, read_frames(path, eer_frames=2, eer_reduce=2))


def _gain(path: Path) -> None:
    _bounded(path, read_gain(path))


def _defects(path: Path) -> None:
    read_defects(path, SHAPE[1:])


def _bounded(path: Path, array: NDArray[Any]) -> None:
    if array.nbytes > 4096 * path.stat().st_size:
        raise MemoryError(f"{array.nbytes} bytes from a file of {path.stat().st_size}")


def _eer(frames: NDArray[np.bool_]) -> bytes:
    """Frames in 7-bit runs and 4-bit positions, a TIFF page each."""
    out = bytearray(struct.pack("<2sHI", b"II", 42, 0))
    link = 4
    for frame in frames:
        stream, bits, before = 0, 0, -1
        for pixel in [*np.flatnonzero(frame).tolist(), frame.size]:
            full, rest = divmod(pixel - before - 1, 127)
            stream |= ((1 << 7 * full) - 1 | rest << 7 * full) << bits
            bits += 7 * full + 11
            before = pixel
        payload, at = stream.to_bytes(-(-bits // 8), "little"), len(out)
        out += payload
        out[link : link + 4] = struct.pack("<I", len(out))
        values = (frame.shape[1], frame.shape[0], 8, 65001, at, len(payload))
        out += struct.pack("<H", len(values))
        out += b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in zip(_TAGS, values, strict=True))
        link = len(out)
        out += bytes(4)
    return bytes(out)


def _dm4(image: NDArray[np.float32]) -> bytes:
    """An image in the tag tree of DigitalMicrograph 4."""

    def entry(kind: int, name: bytes, body: bytes) -> bytes:
        return struct.pack(">BH", kind, len(name)) + name + struct.pack(">Q", len(body)) + body

    def group(name: bytes, *entries: bytes) -> bytes:
        return entry(20, name, b"\0\0" + struct.pack(">Q", len(entries)) + b"".join(entries))

    def value(name: bytes, form: list[int], raw: bytes) -> bytes:
        return entry(21, name, b"%%%%" + struct.pack(f">Q{len(form)}Q", len(form), *form) + raw)

    sides = [value(b"", [5], struct.pack("<I", side)) for side in image.shape[::-1]]
    pixels = value(b"Data", [20, 6, image.size], image.astype("<f4").tobytes())
    tree = group(b"ImageList", group(b"", group(b"ImageData", pixels, group(b"Dimensions", *sides))))
    root = b"\1\0" + struct.pack(">Q", 1) + tree
    return struct.pack(">IQI", 4, len(root), 1) + root + bytes(8)
