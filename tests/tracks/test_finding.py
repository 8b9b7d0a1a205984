import os

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.acquisition import hole_and_shot
from nextpyp_nb.tracks.finding import Offline, scan, unique_name, watched_folder
from nextpyp_nb.tracks.settling import Settling


def write_movie(path, frames=4, side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(1).poisson(2, (frames, side, side)).astype(np.uint8)
    with tifffile.TiffWriter(path) as out:
        for frame in counts:
            out.write(frame, compression="lzw", metadata=None)
    return path


def names(found):
    return sorted(f.source.name for f in found)


def test_patterns_ignore_case_hidden_and_unfinished_files(tmp_path):
    for name in ("a.tiff", "b.TIFF", ".c.tiff", "d.tiff.part", "e.xml"):
        (tmp_path / name).write_bytes(b"x")
    assert names(scan(f"{tmp_path}/*.tiff")) == ["a.tiff", "b.TIFF"]
    assert names(scan(str(tmp_path))) == ["a.tiff", "b.TIFF"]


def test_a_folder_of_an_epu_session_gives_fractions_only(tmp_path):
    for name in ("X_Data_1_2.mrc", "X_Data_1_2_Fractions.mrc", "gain.mrc"):
        (tmp_path / name).write_bytes(b"x")
    assert names(scan(str(tmp_path))) == ["X_Data_1_2_Fractions.mrc"]


def test_a_folder_of_a_leginon_session_gives_frames_only(tmp_path):
    stem = "24mar05a_00001gr_00002sq_v01_00003hl_00004en"
    for name in (f"{stem}.mrc", f"{stem}.frames.mrc", f"{stem}-a.mrc"):
        (tmp_path / name).write_bytes(b"x")
    assert names(scan(str(tmp_path))) == [f"{stem}.frames.mrc"]
    assert hole_and_shot(f"{stem}.frames.mrc") == {"hole": "00002sq_v01_00003hl"}


def test_a_path_that_contains_gain_is_not_skipped_but_the_reference_is(tmp_path):
    again = tmp_path / "gain_test"
    again.mkdir()
    for name in ("m.mrc", "gain.mrc"):
        (again / name).write_bytes(b"x")
    assert names(scan(f"{again}/*.mrc", leave_out={again / "gain.mrc"})) == ["m.mrc"]


def test_a_missing_folder_is_offline_not_empty(tmp_path):
    with pytest.raises(Offline, match="waiting for it to appear"):
        scan(f"{tmp_path}/later/*.tiff")
    assert watched_folder(f"{tmp_path}/a/**/b*.tiff") == tmp_path / "a"


def test_equal_names_in_two_folders_are_both_kept(tmp_path):
    one, two = write_movie(tmp_path / "g1" / "m.tiff"), write_movie(tmp_path / "g2" / "m.tiff")
    found = scan(f"{tmp_path}/**/*.tiff")
    assert {f.source for f in found} == {one, two}
    first = unique_name(one, set())
    assert (first, unique_name(two, {first}), unique_name(two, {first, "g2_m"})) == ("m", "g2_m", "g2_m_2")


def test_a_movie_is_ready_only_when_it_stands_still_and_is_whole(tmp_path):
    path = write_movie(tmp_path / "m.tiff")
    whole_bytes = path.read_bytes()
    path.write_bytes(whole_bytes[: len(whole_bytes) // 2])
    settling = Settling(settle=10, give_up=100)
    ready, waiting, _ = settling.look(scan(str(tmp_path)), now=0)
    assert not ready
    assert waiting[path] == "being written"
    ready, waiting, _ = settling.look(scan(str(tmp_path)), now=20)
    assert not ready
    assert "truncated" in waiting[path] or "readable" in waiting[path]
    path.write_bytes(whole_bytes)
    assert not settling.look(scan(str(tmp_path)), now=21)[0]
    ready, _, _ = settling.look(scan(str(tmp_path)), now=32)
    assert [f.source for f in ready] == [path]


def test_a_movie_that_is_whole_after_each_frame_is_not_taken_while_it_grows(tmp_path):
    settling = Settling(settle=10, give_up=100)
    for look in range(5):
        write_movie(tmp_path / "m.tiff", frames=2 + look)
        assert not settling.look(scan(str(tmp_path)), now=8 * look)[0]
    assert not settling.look(scan(str(tmp_path)), now=41)[0]
    assert settling.look(scan(str(tmp_path)), now=42)[0]


def test_what_never_becomes_whole_is_stuck_with_a_reason(tmp_path):
    path = write_movie(tmp_path / "m.tiff")
    path.write_bytes(path.read_bytes()[:3000])
    settling = Settling(settle=1, give_up=50)
    for now in (0, 2, 60):
        _, _, stuck = settling.look(scan(str(tmp_path)), now=now)
    assert stuck[path]


def test_a_side_file_written_after_the_movie_shortens_the_wait(tmp_path):
    path = write_movie(tmp_path / "X_fractions.tiff")
    settling = Settling(settle=60, give_up=900)
    settling.look(scan(str(tmp_path)), now=0)
    assert not settling.look(scan(str(tmp_path)), now=2)[0]
    side = tmp_path / "X.xml"
    side.write_text("<x/>")
    os.utime(side, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
    assert settling.look(scan(str(tmp_path)), now=4)[0]


def test_movies_from_the_future_are_taken_too(tmp_path):
    path = write_movie(tmp_path / "m.tiff")
    os.utime(path, (4e9, 4e9))
    settling = Settling(settle=5, give_up=900)
    settling.look(scan(str(tmp_path)), now=0)
    assert settling.look(scan(str(tmp_path)), now=6)[0]
