from functools import partial

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.frames import read_exposure, read_frames, read_image
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.tiff import write_movie_tiff

CODECS = [None, "lzw", "zlib", "zstd"]


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_reads_what_tifffile_writes(tmp_path, frames, compression, dtype, byteorder):
    path = tmp_path / "movie.tif"
    movie = (frames * 3.0).astype(dtype)
    big = byteorder == ">" and dtype == "uint8"
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=big) as writer:
        for frame in movie:
            writer.write(frame, compression=compression, rowsperstrip=11, metadata=None)
    np.testing.assert_array_equal(read_frames(path), movie[:, ::-1])
    assert read_frames(path).dtype == np.dtype(dtype)
    assert whole(path) is None


@pytest.mark.parametrize(("dtype", "predictor"), [("uint16", 2), ("uint8", 2), ("float32", 3)])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_undoes_predictors(tmp_path, rng, dtype, predictor, byteorder):
    movie = rng.normal(100, 20, (2, 20, 31)).astype(dtype)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, movie, compression="zlib", predictor=predictor, byteorder=byteorder)
    np.testing.assert_array_equal(read_frames(path), movie[:, ::-1])


@pytest.mark.parametrize("compression", CODECS)
def test_tifffile_reads_what_we_write(tmp_path, frames, compression):
    path = tmp_path / "movie.tiff"
    write_movie_tiff(path, frames, compression=compression)
    np.testing.assert_array_equal(tifffile.imread(path)[:, ::-1], frames)
    assert [entry.name for entry in tmp_path.iterdir()] == ["movie.tiff"]


def test_the_marked_pixel_stays_at_low_y(tmp_path):
    page = np.zeros((8, 6), np.uint8)
    page[7, 1] = 9  # bottom row of the picture
    tifffile.imwrite(tmp_path / "a.tif", page)
    assert read_image(tmp_path / "a.tif")[0, 1] == 9


def test_threads_and_spans_change_nothing(tmp_path, frames):
    path = tmp_path / "movie.tif"
    write_movie_tiff(path, frames)
    np.testing.assert_array_equal(read_frames(path, threads=3), frames)
    np.testing.assert_array_equal(read_frames(path, first=1, last=-2), frames[1:4])
    np.testing.assert_array_equal(read_frames(path, first=2, last=2), frames[2:3])
    with pytest.raises(ValueError, match="the movie has 5"):
        read_frames(path, first=0, last=5)


def test_what_the_check_says(tmp_path, frames):
    path = tmp_path / "movie.tif"
    write_movie_tiff(path, frames)
    movie = check_movie(path)
    assert (movie.n_frames, movie.height, movie.width, movie.dtype) == (5, 48, 61, "uint8")
    tifffile.imwrite(path, frames, resolution=(1e8 / 1.3, 1e8 / 1.3), resolutionunit="CENTIMETER")
    assert check_movie(path).pixel_size == pytest.approx(1.3)


def patch(path, code, **values):
    """Give tag 65000 of each page another code and short tags other values: what tifffile will not write."""
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            at = page.tags[65000].offset
            raw[at : at + 2] = code.to_bytes(2, "little")
            for name, value in values.items():
                at = page.tags[name].valueoffset
                raw[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(raw)


def test_refuses_what_is_no_camera_image(tmp_path, frames):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    with pytest.raises(BadFile, match="colour"):
        check_movie(path)
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), extratags=[(65000, 3, 1, 2, True)])
    patch(path, code=266)
    with pytest.raises(BadFile, match="bit-reversed"):
        check_movie(path)
    with tifffile.TiffWriter(path) as writer:
        writer.write(frames[0])
        writer.write(frames[0][:-1])
    with pytest.raises(BadFile, match="frame 2 differs"):
        check_movie(path)


def test_refuses_a_circle_of_pages(tmp_path, frames):
    path = tmp_path / "movie.tif"
    write_movie_tiff(path, frames)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[-1].offset
    raw = bytearray(path.read_bytes())
    end = last + 2 + 12 * int.from_bytes(raw[last : last + 2], "little")
    raw[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(BadFile, match="circle"):
        check_movie(path)


def test_refuses_a_bomb(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((1, 4000, 4000), np.uint8), compression="zlib")
    with pytest.raises(BadFile, match="64 times"):
        read_frames(path)


def test_damage_inside_a_strip_is_told_with_its_frame(tmp_path, frames):
    path = tmp_path / "movie.tif"
    write_movie_tiff(path, frames, compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[3].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[at + 40 : at + 80] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(BadFile, match="frame 4 of 5: a strip does not decode as deflate"):
        read_frames(path)


def test_shared_movie_is_tifffiles(shared):
    path = shared / "movies" / "mov_0002.tiff"
    assert whole(path, expected_frames=16) is None
    np.testing.assert_array_equal(read_frames(path, threads=2), tifffile.imread(path)[:, ::-1])


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_reads_tiles(tmp_path, frames, compression, dtype):
    path = tmp_path / "movie.tif"
    movie = (frames * 3.0).astype(dtype)
    tifffile.imwrite(path, movie, tile=(16, 32), compression=compression, photometric="minisblack")
    np.testing.assert_array_equal(read_frames(path), movie[:, ::-1])
    assert whole(path) is None
    path.write_bytes(path.read_bytes()[:-200])
    assert whole(path) is not None


def write_packed(path, movie, low_first=False, compression=None):
    """Pages of 4-bit pixels, each row filled up to whole bytes."""
    padded = np.pad(movie, ((0, 0), (0, 0), (0, movie.shape[2] % 2))).astype(np.uint8)
    low, high = (padded[:, :, ::2], padded[:, :, 1::2])[:: 1 if low_first else -1]
    tags = [(65000, 3, 1, 2 if low_first else 1, True)]
    with tifffile.TiffWriter(path) as writer:
        for page in low | high << 4:
            writer.write(page, compression=compression, rowsperstrip=7, metadata=None, extratags=tags)
    patch(path, code=266, ImageWidth=movie.shape[2], BitsPerSample=4)


@pytest.mark.parametrize("low_first", [False, True])
@pytest.mark.parametrize("width", [60, 61])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_reads_two_pixels_a_byte(tmp_path, rng, low_first, width, compression):
    movie = rng.integers(0, 16, (3, 20, width))
    path = tmp_path / "movie.tif"
    write_packed(path, movie, low_first, compression)
    claimed = check_movie(path)
    assert (claimed.width, claimed.dtype) == (width, "uint8")
    np.testing.assert_array_equal(read_frames(path), movie[:, ::-1])
    assert whole(path) is None


def test_half_wide_pages_of_super_resolution_cameras(tmp_path, rng):
    path = tmp_path / "movie.tif"
    stored = np.zeros((7420, 3838), np.uint8)
    stored[1000:1100] = rng.integers(0, 256, (100, 3838))
    tifffile.imwrite(path, stored)
    assert (check_movie(path).height, check_movie(path).width) == (7420, 7676)
    image = read_image(path)[::-1]
    assert image.shape == (7420, 7676)
    np.testing.assert_array_equal(image[:, ::2], stored & 15)
    np.testing.assert_array_equal(image[:, 1::2], stored >> 4)


@pytest.mark.parametrize("write", [write_movie_tiff, partial(write_mrc, pixel_size=1.0)])
def test_frames_are_decoded_into_the_array_that_is_given(tmp_path, write):
    frames = np.random.default_rng(9).integers(0, 9, (3, 64, 48), np.uint8)
    write(tmp_path / "movie", frames)
    held = np.empty(frames.shape, np.uint8)
    read = read_exposure(
        tmp_path / "movie", empty=lambda shape, dtype: held.reshape(shape).view(dtype)
    ).frames
    assert np.shares_memory(read, held)
    np.testing.assert_array_equal(read, frames)
