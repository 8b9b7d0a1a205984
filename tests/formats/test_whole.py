"""Every unfinished file must be told from a finished one."""

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.tiff import write_movie_tiff


@pytest.fixture(params=["mrc", "tiff", "lzw", "strips"])
def movie(request, tmp_path, rng):
    path = tmp_path / "movie"
    frames = rng.poisson(1.0, (6, 128, 160)).astype(np.uint8)
    if request.param == "mrc":
        write_mrc(path, frames, pixel_size=1)
    elif request.param == "strips":
        tifffile.imwrite(path, frames, compression="zlib", rowsperstrip=16, metadata=None)
    else:
        write_movie_tiff(path, frames, None if request.param == "tiff" else "lzw")
    assert whole(path) is None
    return path


def test_every_truncation_is_found(movie, rng):
    raw = movie.read_bytes()
    for size in [0, 1, 4, 7, 8, 100, *rng.integers(8, len(raw), 60), len(raw) - 1]:
        movie.write_bytes(raw[:size])
        assert whole(movie) is not None, size


def test_every_zero_tail_is_found(movie, rng):
    raw = movie.read_bytes()
    for size in [0, 4, 8, *rng.integers(8, len(raw) - 8192, 60)]:
        movie.write_bytes(raw[:size] + bytes(len(raw) - size))
        assert whole(movie) is not None, size


def test_space_kept_behind_the_last_frame_is_found(movie):
    movie.write_bytes(movie.read_bytes() + bytes(100_000))
    assert "bytes" in whole(movie)


def test_missing_frames_are_told(movie):
    assert whole(movie, expected_frames=6) is None
    assert whole(movie, expected_frames=40) == "6 frames, the session's movies have 40"


def test_says_how_many_frames_are_there(tmp_path, rng):
    path = tmp_path / "a.mrc"
    write_mrc(path, rng.poisson(1.0, (40, 16, 16)).astype(np.uint8), pixel_size=1)
    path.write_bytes(path.read_bytes()[: 1024 + 37 * 256 + 3])
    with pytest.raises(BadFile, match="truncated: 37 of 40 frames readable"):
        check_movie(path)


def test_a_masked_edge_is_no_zero_tail(tmp_path, rng):
    frames = rng.poisson(1.0, (3, 200, 300)).astype(np.uint8)
    frames[:, -30:] = 0
    write_mrc(tmp_path / "a.mrc", frames, pixel_size=1)
    assert whole(tmp_path / "a.mrc") is None
    write_movie_tiff(tmp_path / "a.tif", frames[:, ::-1], None)
    assert whole(tmp_path / "a.tif") is None


@pytest.mark.parametrize("kind", ["mrc", "lzw", "big"])
def test_mutated_headers_are_read_or_refused(tmp_path, rng, kind):
    frames = rng.poisson(1.0, (3, 24, 32)).astype(np.uint8)
    path = tmp_path / "movie"
    if kind == "mrc":
        write_mrc(path, frames, pixel_size=1)
    else:
        tifffile.imwrite(path, frames, compression="lzw", bigtiff=kind == "big", photometric="minisblack")
    raw = path.read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        mutant = bytearray(raw)
        for at in rng.integers(0, 1024 if kind == "mrc" else len(raw), rng.integers(1, 6)):
            mutant[at] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        path.write_bytes(mutant)
        try:
            whole(path)
            assert read_frames(path).nbytes <= 64 * len(raw)
            outcomes["read"] += 1
        except BadFile:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
