"""MRC files: images, stacks and movies; row 0 of the file is y = 0."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from nextpyp_nb.formats.compressed import Stream, is_compressed
from nextpyp_nb.formats.files import BadFile, published
from nextpyp_nb.formats.half import to_half
from nextpyp_nb.formats.ifd import MAX_EXPANSION, MAX_FRAMES, MAX_SIDE

HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_PACKED = 101
_FLOAT16_MAX = 65504.0
_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", _PACKED: "u1"}
_MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class MrcHeader:
    """What an MRC header claims: ``dtype`` as stored, frames of (height, width) px from byte ``start``.

    ``stamped`` says that it tells whether bytes have a sign.
    """

    width: int
    height: int
    n_frames: int
    mode: int
    dtype: np.dtype[Any]
    start: int
    pixel_size: float | None
    stamped: bool = True

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; two 4-bit pixels share a byte."""
        return (self.width + 1) // 2 if self.mode == _PACKED else self.width * self.dtype.itemsize

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.row_bytes * self.height

    @property
    def end(self) -> int:
        """Size that the file must have."""
        return self.start + self.n_frames * self.frame_bytes


def parse_header(head: bytes) -> MrcHeader:
    """Read the first 1024 bytes of an MRC strictly, in either byte order."""
    if len(head) < HEADER_BYTES:
        raise BadFile(f"truncated: {len(head)} bytes, an MRC header has {HEADER_BYTES}")
    orders = (">", "<") if head[212] == 0x11 else ("<", ">")
    problem = ""
    for order in orders:
        fields = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order), count=1)[0]
        found = _implausible(fields)
        if not found:
            return _header(fields, order, head)
        problem = problem or found
    raise BadFile(problem)


def _implausible(fields: Any) -> str:
    nx, ny, nz, mode, extra = (int(fields[name]) for name in ("nx", "ny", "nz", "mode", "nsymbt"))
    if mode not in _DTYPES:
        return f"MRC mode {mode}, expected one of {', '.join(map(str, _DTYPES))}"
    if not (0 < nx <= MAX_SIDE and 0 < ny <= MAX_SIDE):
        return f"an MRC of {ny} x {nx} px, expected sides of 1 to {MAX_SIDE}"
    if not 0 < nz <= MAX_FRAMES * 50:
        return f"an MRC with {nz} images"
    if not 0 <= extra < 1 << 30:
        return f"an MRC with an extended header of {extra} bytes"
    return ""


def _header(fields: Any, order: str, head: bytes) -> MrcHeader:
    mode, nx, mx = int(fields["mode"]), int(fields["nx"]), int(fields["mx"])
    stamp, flags = np.frombuffer(head[152:160], order + "i4")
    unsigned = mode == 0 and stamp == _IMOD_STAMP and not flags & 1
    length = float(fields["cella"]["x"])
    pixel_size = length / mx if mx > 0 and np.isfinite(length) and length > 0 else None
    return MrcHeader(
        width=nx,
        height=int(fields["ny"]),
        n_frames=int(fields["nz"]),
        mode=mode,
        dtype=np.dtype("u1" if unsigned else order + _DTYPES[mode]),
        start=HEADER_BYTES + int(fields["nsymbt"]),
        pixel_size=pixel_size,
        stamped=mode != 0 or stamp == _IMOD_STAMP,
    )


def read_header(path: str | os.PathLike[str]) -> MrcHeader:
    """Read the header and check that the file holds all that it declares.

    Of a compressed file only the header is known; that it may hold so much is checked.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if is_compressed(head):
        return _compressed_header(path, size)
    header = parse_header(head)
    if size < header.end:
        whole = max(0, size - header.start) // header.frame_bytes
        raise BadFile(f"truncated: {whole} of {header.n_frames} frames readable")
    return header


def _compressed_header(path: Path, size: int) -> MrcHeader:
    head = np.empty(HEADER_BYTES, np.uint8)
    with Stream(path) as stream:
        header = parse_header(head[: stream.fill(head)].tobytes())
    if header.end > MAX_EXPANSION * size:
        raise BadFile(
            f"{header.end} bytes declared in {size} compressed ones: more than {MAX_EXPANSION} times what "
            "such a file can hold"
        )
    return header


def read_mrc(path: str | os.PathLike[str], *, stack: bool = False) -> tuple[NDArray[Any], float]:
    """Read an MRC as (y, x) or (n, y, x), memory-mapped, with its pixel size in Å (NaN where unknown).

    One image comes back as (y, x) unless ``stack`` asks for (1, y, x).
    """
    header = read_header(path)
    pixel_size = float("nan") if header.pixel_size is None else header.pixel_size
    if header.mode == _PACKED or is_compressed(_first_bytes(path)):
        array = read_frames_mrc(path, header, 0, header.n_frames)
    else:
        shape = (header.n_frames, header.height, header.width)
        array = np.memmap(path, header.dtype, "r", offset=header.start, shape=shape)
    return (array if stack or header.n_frames > 1 else array[0]), pixel_size


def _first_bytes(path: str | os.PathLike[str]) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(4)


def read_frames_mrc(
    path: str | os.PathLike[str],
    header: MrcHeader,
    first: int,
    stop: int,
    threads: int = 1,
    empty: Callable[..., NDArray[Any]] = np.empty,
) -> NDArray[Any]:
    """Read frames first..stop-1 in the machine's byte order, in parallel, into what ``empty`` makes."""
    path, packed = Path(path), header.mode == _PACKED
    frames = empty((stop - first, header.height, header.width), header.dtype)
    at = header.start + first * header.frame_bytes

    def store(n: int, fill: Callable[[memoryview, int], int]) -> None:
        stored = np.empty((header.height, header.row_bytes), np.uint8) if packed else frames[n]
        view = memoryview(stored.reshape(-1).view(np.uint8))
        if fill(view, at + n * header.frame_bytes) < len(view):
            raise BadFile("truncated: the file became shorter while being read")
        if packed:
            frames[n, :, ::2], frames[n, :, 1::2] = stored & 15, (stored >> 4)[:, : header.width // 2]
        elif not frames.dtype.isnative:
            frames[n].byteswap(inplace=True)

    if is_compressed(_first_bytes(path)):
        with Stream(path) as stream:
            if stream.skip(at) < at:
                raise BadFile("truncated: the file became shorter while being read")
            for n in range(len(frames)):
                store(n, lambda view, _: stream.fill(view))
    else:
        with path.open("rb") as file, ThreadPoolExecutor(max(threads, 1)) as pool:
            fill = partial(_fill, file.fileno())
            list(pool.map(lambda n: store(n, fill), range(len(frames))))
    if not header.stamped and _wrapped(frames[0]):
        return frames.view(np.uint8)
    return frames if frames.dtype.isnative else frames.view(frames.dtype.newbyteorder("="))


def _wrapped(frame: NDArray[Any]) -> bool:
    """Whether bytes taken as signed are counts above 127: there are negative ones, but hardly below 0."""
    if frame.min() >= 0:
        return False
    often = np.bincount(frame.view(np.uint8).reshape(-1), minlength=256)
    return int(often[224:].sum()) <= max(int(often[96:128].sum()), frame.size // 1000)


def _fill(descriptor: int, view: memoryview, start: int) -> int:
    """Read the bytes from ``start`` on into ``view``; return how many there were."""
    done = 0
    while done < len(view) and (got := os.preadv(descriptor, [view[done:]], start + done)):
        done += got
    return done


def write_mrc(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    *,
    pixel_size: float,
    float16: bool = False,
    stack: bool | None = None,
) -> None:
    """Write (y, x) or (n, y, x) through a temporary name; ``stack=False`` marks a volume.

    float64 becomes float32 (or float16 on request), bool and small uint8 become int8, other uint8 uint16.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"an MRC holds (y, x) or (n, y, x), got the shape {array.shape}")
    values, low, high, mean = _stored(array, float16)
    nz, ny, nx = values.shape if values.ndim == 3 else (1, *values.shape)
    volume = stack is False and values.ndim == 3
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nx"], header["ny"], header["nz"] = nx, ny, nz
    header["mode"] = _MODES[values.dtype.str[1:]]
    header["mx"], header["my"], header["mz"] = nx, ny, nz if volume else 1
    header["cella"] = (nx * pixel_size, ny * pixel_size, (nz if volume else 1) * pixel_size)
    header["cellb"] = (90, 90, 90)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"] = np.array([low, high]).astype(values.dtype)
    header["dmean"] = mean
    header["rms"] = -1
    header["ispg"], header["nversion"] = int(volume), 20141
    header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
    with published(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        np.ascontiguousarray(values).tofile(file)


def _stored(values: NDArray[Any], float16: bool) -> tuple[NDArray[Any], Any, Any, Any]:
    """Values in a type that an MRC can hold; their least, largest and mean."""
    if float16 and values.dtype == np.float32:
        stored, low, high, mean = to_half(values)
        _check_half(low, high)
        return stored, low, high, mean
    # Of the values as they are: NumPy takes ten times as long over half precision.
    low, high = values.min(), values.max()
    stored = _storable(values, float16, low, high)
    return stored, low, high, values.mean(dtype=None if values.dtype == np.float32 else np.float64)


def _check_half(low: Any, high: Any) -> None:
    if (largest := float(max(-low, high))) > _FLOAT16_MAX:
        raise ValueError(f"values up to {largest:.4g} do not fit into float16 (at most 65504)")


def _storable(values: NDArray[Any], float16: bool, low: Any, high: Any) -> NDArray[Any]:
    """Values, which lie between ``low`` and ``high``, in a type that an MRC can hold."""
    if values.dtype.kind == "f":
        if float16 or values.dtype.itemsize == 2:
            _check_half(low, high)
            return values.astype("<f2", copy=False)
        return values.astype("<f4", copy=False)
    if values.dtype.kind == "b" or (values.dtype == np.uint8 and high < 128):
        return values.astype(np.int8)
    if values.dtype == np.uint8:
        return values.astype("<u2")
    if values.dtype in (np.int8, np.int16, np.uint16):
        return values.astype(values.dtype.newbyteorder("<"), copy=False)
    raise ValueError(f"an MRC cannot hold {values.dtype}, expected float, int8, int16, uint8 or uint16")
