import bz2
import gzip
import tracemalloc

import numpy as np
import pytest

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import read_mrc, write_mrc

PACK = {"gz": gzip.compress, "bz2": bz2.compress}


@pytest.fixture(params=["gz", "bz2"])
def packed(request, tmp_path, rng):
    """A movie, its frames, and how such files are made."""
    frames = rng.poisson(1.5, (5, 48, 61)).astype(np.uint16)
    plain = tmp_path / "a.mrc"
    write_mrc(plain, frames, pixel_size=1.3)
    path = tmp_path / f"a.mrc.{request.param}"
    path.write_bytes(PACK[request.param](plain.read_bytes()))
    return path, frames, PACK[request.param]


def test_reads_what_was_compressed(packed):
    path, frames, _ = packed
    movie = check_movie(path)
    assert (movie.n_frames, movie.height, movie.width, movie.dtype) == (5, 48, 61, "uint16")
    assert movie.pixel_size == pytest.approx(1.3)
    assert whole(path) is None
    np.testing.assert_array_equal(read_frames(path), frames)
    np.testing.assert_array_equal(read_frames(path, first=2, last=3), frames[2:4])
    np.testing.assert_array_equal(read_mrc(path)[0], frames)


def test_every_truncation_and_zero_tail_is_found(packed, rng):
    path, _, _ = packed
    raw = path.read_bytes()
    for size in [0, 1, 3, 30, *rng.integers(4, len(raw), 30), len(raw) - 1]:
        path.write_bytes(raw[:size])
        assert whole(path) is not None, size
        size = min(size, len(raw) - 4)  # the last bytes may be zero anyway
        path.write_bytes(raw[:size] + bytes(len(raw) - size))
        assert whole(path) is not None, size


def test_a_file_of_several_streams(packed):
    path, frames, pack = packed
    plain = path.with_suffix("").read_bytes()
    path.write_bytes(pack(plain[:3000]) + pack(plain[3000:]))
    assert whole(path) is None
    np.testing.assert_array_equal(read_frames(path), frames)


def test_damage_is_told(packed):
    path, _, _ = packed
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(BadFile, match=r"does not decompress|became shorter"):
        read_frames(path)


def test_a_bomb_is_refused_and_never_unpacked(tmp_path):
    head = bytearray(1024)
    head[:16] = np.array([8000, 8000, 40, 2], "<i4").tobytes()
    head[208:216] = b"MAP \x44\x44\0\0"
    for name, pack in PACK.items():
        path = tmp_path / f"a.mrc.{name}"
        path.write_bytes(pack(bytes(head) + bytes(60_000_000)))
        tracemalloc.start()
        with pytest.raises(BadFile, match="64 times"):
            read_frames(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()


def test_something_else_compressed_is_no_movie(tmp_path):
    for name, pack in PACK.items():
        path = tmp_path / f"a.mrc.{name}"
        path.write_bytes(pack(b"hello " * 1000))
        with pytest.raises(BadFile, match="MRC"):
            check_movie(path)
