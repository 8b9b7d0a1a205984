"""Every kind of file that a camera or a person hands in ends as the same micrograph."""

import asyncio
import bz2
import gzip
import shutil

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.session import create_session
from nextpyp_nb.session.places import Places
from nextpyp_nb.tracks.finding import scan, unique_name
from nextpyp_nb.tracks.motion_stage import correct_movie
from nextpyp_nb.tracks.process_movie import process_movie
from nextpyp_nb.tracks.runner import run_session


@pytest.fixture
def movie(microscope):
    return sorted(microscope.gain_path.parent.rglob("*.tiff"))[0]


def process(folder, path, settings, first="motion"):
    name = path.name.partition(".")[0]
    for part in ("micrographs", "previews", "motion", "ctf", "picks"):
        (folder / part).mkdir(exist_ok=True)
    payload = {"folder": str(folder), "name": name, "path": str(path), "first_stage": first}
    payload |= {"settings": settings.model_dump(), "threads": 1, "device": None}
    row = process_movie(payload, lambda report: None)
    return row, Places(folder, name)


def run(tmp_path, settings, **changed):
    session = create_session("t", settings=settings.updated(changed), root=tmp_path / "more")
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False)) == 0
    return session


def test_a_compressed_mrc_gives_the_micrograph_of_its_tiff(tmp_path, movie, settings):
    folder = tmp_path / "packed"
    folder.mkdir()
    write_mrc(tmp_path / "m.mrc", read_frames(movie), pixel_size=1.3)
    plain = (tmp_path / "m.mrc").read_bytes()
    (folder / "a.mrc.bz2").write_bytes(bz2.compress(plain))
    (folder / "b.MRC.gz").write_bytes(gzip.compress(plain, 1))
    assert sorted(unique_name(found.source, ()) for found in scan(str(folder))) == ["a", "b"]
    # In the same session, because sums differ in the last bit with the number of threads.
    shutil.copy(movie, folder / "c.tiff")
    session = run(tmp_path, settings, **{"raw_data.location": str(folder)})
    expected = read_mrc(session.file("average", "c"))[0]
    names = sorted(path.name for path in (session.folder / "raw").iterdir())
    assert names == ["a.mrc.bz2", "b.MRC.gz", "c.tiff"]
    assert sorted(session.micrographs["name"]) == ["a", "b", "c"]
    for name in "ab":
        np.testing.assert_array_equal(read_mrc(session.file("average", name))[0], expected)


@pytest.mark.parametrize("half", [True, False])
def test_averages_have_16_or_32_bits_and_halves_add_up(tmp_path, movie, settings, half):
    chosen = settings.updated({"motion.half_precision": half, "motion.halves": True, "raw_data.binning": 2})
    places = Places(tmp_path, "m")
    for kind in ("average", "preview", "motion"):
        places(kind).parent.mkdir()
    row = correct_movie(movie, places, chosen, {"threads": 1})
    images = {kind: read_mrc(places(kind))[0] for kind in ("average", "weighted", "even", "odd")}
    assert {image.dtype.str for image in images.values()} == {"<f2" if half else "<f4"}
    assert {image.shape for image in images.values()} == {(row["height"], row["width"])}
    whole = np.asarray(images["even"], np.float32) + images["odd"]
    np.testing.assert_allclose(
        whole, images["average"], atol=4e-3 * images["average"].max() if half else 1e-4
    )


def test_the_ctf_is_fitted_to_further_sums_too_where_they_lie(tmp_path, movie, settings):
    row, places = process(tmp_path, movie, settings)
    same, _ = process(tmp_path, movie, settings, "ctf")
    assert same["defocus_u"] == row["defocus_u"]
    places("rest").unlink()
    alone, _ = process(tmp_path, movie, settings, "ctf")
    assert alone["defocus_error"] > 1.1 * same["defocus_error"]


def test_micrographs_without_frames_go_the_whole_way(tmp_path, movie, settings):
    row, places = process(tmp_path, movie, settings)
    # Such an image has no further sums.
    places("rest").unlink()
    row |= process(tmp_path, movie, settings, "ctf")[0]
    average = np.asarray(read_mrc(places("average"))[0], np.float32)
    folder = tmp_path / "images"
    folder.mkdir()
    write_mrc(folder / "a.mrc", 30_000 * (average - average.mean()), pixel_size=1.3)
    tifffile.imwrite(folder / "b.tif", np.rint(5000 * average).astype(np.uint16)[::-1])
    session = run(
        tmp_path, settings,
        **{"raw_data.location": str(folder), "raw_data.no_frames": True, "gain.reference": ""},
    )  # fmt: skip
    table = session.micrographs.set_index("name")
    assert set(table.index) == {"a", "b"}
    assert (table["n_frames"] == 1).all()
    assert (table["total_motion"] == 0).all()
    assert table["mean_dose"].isna().all()
    for name in table.index:
        assert table["defocus_u"][name] == pytest.approx(row["defocus_u"], abs=20)
        taken, kept = (np.load(p)["centres"] for p in (session.file("picks", name), places("picks")))
        near = np.linalg.norm(taken[:, None] - kept[None], axis=2).min(0) < 10
        assert near.mean() > 0.7
    assert np.corrcoef(read_mrc(session.file("average", "a"))[0].ravel(), average.ravel())[0, 1] > 0.9999


def test_one_image_of_counts_is_not_aligned(tmp_path, movie, settings):
    image = read_frames(movie).sum(0, dtype=np.uint16)
    write_mrc(tmp_path / "one.mrc", image, pixel_size=1.3)
    row, _ = process(tmp_path, tmp_path / "one.mrc", settings)
    assert (row["n_frames"], row["total_motion"]) == (1, 0)
    assert row["mean_dose"] == pytest.approx(image.mean(), rel=0.1)


def test_a_movie_is_no_micrograph_and_a_flat_image_neither(tmp_path, movie, settings):
    images = settings.updated({"raw_data.no_frames": True, "gain.reference": ""})
    with pytest.raises(ValueError, match="8 frames, expected one image"):
        process(tmp_path, movie, images)
    write_mrc(tmp_path / "flat.mrc", np.full((64, 64), 3.0), pixel_size=1.3)
    with pytest.raises(ValueError, match="the same everywhere"):
        process(tmp_path, tmp_path / "flat.mrc", images)


def test_the_gain_tells_that_bytes_hold_two_pixels(tmp_path, movie, settings):
    frames = read_frames(movie)
    low, high = np.minimum(frames[:, :, ::2], 15), np.minimum(frames[:, :, 1::2], 15)
    tifffile.imwrite(tmp_path / "packed.tif", (low | high << 4)[:, ::-1], photometric="minisblack")
    write_mrc(tmp_path / "plain.mrc", np.minimum(frames, 15), pixel_size=1.3)
    packed, plain = (process(tmp_path, tmp_path / name, settings)[1] for name in ("packed.tif", "plain.mrc"))
    np.testing.assert_array_equal(read_mrc(packed("average"))[0], read_mrc(plain("average"))[0])
