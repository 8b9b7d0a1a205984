"""Compression on the way loses nothing, and what does not read back is not believed."""

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.tiff import write_movie_tiff, write_pages
from nextpyp_nb.settings.transfer import Transfer
from nextpyp_nb.tracks import compressing
from nextpyp_nb.tracks.compressing import compressible, transfer_movie
from nextpyp_nb.tracks.copying import Changed, Conflict, digest_of
from nextpyp_nb.tracks.finding import look_at

CODECS = ["lzw", "zstd"]


def frames(dtype, rng, n=7):
    low = -3 if np.dtype(dtype).kind == "i" else 0
    return rng.integers(low, 90, (n, 33, 50)).astype(dtype)


def bring(path, folder, codec, operation="copy", name="m"):
    return transfer_movie(look_at(str(path)), folder, name, Transfer(compress=codec, operation=operation))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2"])
@pytest.mark.parametrize("kind", ["mrc", "tiff"])
def test_every_pixel_survives_in_its_place(tmp_path, codec, dtype, kind):
    movie, source = frames(dtype, np.random.default_rng(1)), tmp_path / f"m.{kind}"
    if kind == "mrc":
        write_mrc(source, movie, pixel_size=0.83)
    else:
        write_movie_tiff(source, movie, compression=None)
    done = bring(source, tmp_path / "raw", codec)
    assert (done.path.name, done.digest) == ("m.tiff", digest_of(done.path))
    np.testing.assert_array_equal(read_frames(done.path), movie)
    assert read_frames(done.path).dtype == movie.dtype
    with tifffile.TiffFile(done.path) as written:
        # As cameras write them: the first row of a page is the last of the image.
        np.testing.assert_array_equal(written.pages[0].asarray(), movie[0, ::-1])
        assert written.pages[0].compression.name.lower() == codec
    assert source.exists()


def test_the_pixel_size_goes_along(tmp_path):
    write_mrc(tmp_path / "m.mrc", frames("i2", np.random.default_rng(1)), pixel_size=0.83)
    done = bring(tmp_path / "m.mrc", tmp_path / "raw", "lzw")
    assert compressing.check_movie(done.path).pixel_size == pytest.approx(0.83, rel=1e-5)


def test_what_would_gain_nothing_is_copied_as_it_is(tmp_path):
    rng = np.random.default_rng(1)
    write_mrc(tmp_path / "float.mrc", rng.normal(size=(3, 20, 20)).astype(np.float32), pixel_size=1)
    write_movie_tiff(tmp_path / "packed.tiff", frames("u1", rng), compression="lzw")
    for name in ("float.mrc", "packed.tiff"):
        source = tmp_path / name
        assert not compressible(source)
        done = bring(source, tmp_path / "raw", "zstd", name=source.stem)
        assert done.path.name == name
        assert done.path.read_bytes() == source.read_bytes()


def test_a_second_time_the_same_pixels_are_adopted_and_others_a_conflict(tmp_path):
    rng = np.random.default_rng(1)
    write_mrc(tmp_path / "m.mrc", frames("i2", rng), pixel_size=1)
    first = bring(tmp_path / "m.mrc", tmp_path / "raw", "lzw")
    assert bring(tmp_path / "m.mrc", tmp_path / "raw", "lzw") == first
    write_mrc(tmp_path / "m.mrc", frames("i2", rng), pixel_size=1)
    with pytest.raises(Conflict):
        bring(tmp_path / "m.mrc", tmp_path / "raw", "lzw")
    assert digest_of(first.path) == first.digest


def test_a_damaged_copy_is_not_published(tmp_path, monkeypatch):
    write_mrc(tmp_path / "m.mrc", frames("i2", np.random.default_rng(1)), pixel_size=1)

    def flipped(path, frames, **options):
        damaged = [frame.copy() for frame in frames]
        damaged[-1][-1, -1] ^= 1
        write_pages(path, damaged, **options)

    monkeypatch.setattr(compressing.tiff, "write_pages", flipped)
    with pytest.raises(OSError, match="does not read back"):
        bring(tmp_path / "m.mrc", tmp_path / "raw", "lzw", "move")
    assert list((tmp_path / "raw").iterdir()) == []
    assert (tmp_path / "m.mrc").exists()


def test_a_source_that_grows_meanwhile_is_not_published(tmp_path):
    source = tmp_path / "m.mrc"
    write_mrc(source, frames("i2", np.random.default_rng(1)), pixel_size=1)
    found = look_at(str(source))
    with source.open("ab") as more:
        more.write(b"late")
    with pytest.raises(Changed):
        transfer_movie(found, tmp_path / "raw", "m", Transfer(compress="lzw", operation="copy"))
    assert list((tmp_path / "raw").iterdir()) == []


def test_nextpyps_word_for_compression_is_known():
    assert Transfer(compress="tif").compress == "lzw"
