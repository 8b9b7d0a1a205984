"""The transfer track over whole pretend sessions: side files, manifest, limits, states with reasons."""

import dataclasses
import os
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest

from nextpyp_nb.bench.faults.pretend import pretend_session, run, small_movie, write_movies
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.copying import Throttle, digest_of, transfer_file
from nextpyp_nb.tracks.finding import Offline, list_names, look_at
from nextpyp_nb.tracks.manifest import Manifest, read_manifest


def states(session):
    return session.movies.set_index("name")["state"].to_dict()


def test_the_manifest_holds_every_copy_and_another_program_agrees(tmp_path):
    write_movies(tmp_path / "camera", 7, folders=2)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    assert run(session) == 0
    listed = read_manifest(session.folder / "manifest.xxh128")
    assert listed == {f"raw/{p.name}": digest_of(p) for p in (session.folder / "raw").glob("*.tiff")}
    assert len(listed) == 7
    if shutil.which("xxh128sum"):
        subprocess.run(["xxh128sum", "-c", "--quiet", "manifest.xxh128"], cwd=session.folder, check=True)


def test_a_torn_or_lost_manifest_is_made_good_from_the_rows(tmp_path):
    write_movies(tmp_path / "camera", 3)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    run(session)
    path = session.folder / "manifest.xxh128"
    whole = path.read_text()
    for damaged in (whole[:-9], "", None):
        path.unlink()
        if damaged is not None:
            path.write_text(damaged)
        run(session)
        assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())


def test_side_files_come_along_under_the_movies_name(tmp_path):
    camera = tmp_path / "camera"
    write_movies(camera, 4, folders=2)
    for folder in ("grid0", "grid1"):
        for number in range(2):
            (camera / folder / f"mov_{number:05d}.jpg").write_bytes(f"{folder}{number}".encode())
    (camera / "grid0" / "lost.jpg").write_bytes(b"of no movie")
    session = pretend_session(tmp_path / "sessions", camera, transfer__side_files=".jpg")
    assert run(session) == 0
    for row in session.movies.itertuples():
        grid, number = row.source.split("/")[-2], int(row.source[-10:-5])
        assert (session.folder / "raw" / f"{row.name}.jpg").read_bytes() == f"{grid}{number}".encode()
    assert len(list((session.folder / "raw").glob("*.jpg"))) == 4
    assert len(list(camera.rglob("*.jpg"))) == 5


def test_all_other_files_come_along_on_request_and_none_is_overwritten(tmp_path):
    camera = tmp_path / "camera"
    write_movies(camera, 1)
    (camera / "Atlas" / "deep").mkdir(parents=True)
    (camera / "Atlas" / "deep" / "atlas.mrc.txt").write_text("atlas")
    (camera / "session.dm").write_text("dm")
    session = pretend_session(tmp_path / "sessions", camera, transfer__all_files=True)
    run(session)
    other = session.folder / "raw" / "other"
    assert (other / "Atlas" / "deep" / "atlas.mrc.txt").read_text() == "atlas"
    assert (other / "session.dm").read_text() == "dm"
    (camera / "session.dm").write_text("changed")
    run(session)
    assert (other / "session.dm").read_text() == "dm"
    assert any("session.dm" in event.text for event in session.events() if event.code == "side_file")


def test_a_link_beside_the_movies_brings_no_other_file_along(tmp_path):
    camera, secret = tmp_path / "camera", tmp_path / "private" / "id_rsa"
    write_movies(camera, 1)
    secret.parent.mkdir()
    secret.write_text("secret")
    for name in ("notes.txt", "mov_00000.jpg"):
        (camera / "grid0" / name).symlink_to(secret)
    (camera / "grid0" / "here.txt").write_text("here")
    (camera / "grid0" / "also.txt").symlink_to("here.txt")
    session = pretend_session(
        tmp_path / "sessions", camera, transfer__all_files=True, transfer__side_files=".jpg"
    )
    run(session)
    brought = {p.name: p.read_text() for p in (session.folder / "raw").rglob("*") if p.suffix == ".txt"}
    assert brought == {"here.txt": "here", "also.txt": "here"}
    assert not list((session.folder / "raw").rglob("*.jpg"))
    told = [event.text for event in session.events() if event.code == "side_file"]
    assert len(told) == 2
    assert all("may not be taken from" in text for text in told)


@pytest.mark.parametrize(
    ("operation", "compress"), [("copy", "none"), ("copy", "lzw"), ("move", "none"), ("link", "none")]
)
def test_a_data_root_holds_what_is_named_below_it(tmp_path, monkeypatch, operation, compress):
    """A place that was allowed and became a link later; one root may lead to another."""
    (tmp_path / "site.toml").write_text(f'data_roots = ["{tmp_path}/data", "{tmp_path}/more"]\n')
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(tmp_path / "site.toml"))
    for place in ("private", "more", "data/own"):
        write_movies(tmp_path / place, 1)
    (tmp_path / "data" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "data" / "in").symlink_to(tmp_path / "more")
    session = pretend_session(
        tmp_path / "sessions", tmp_path / "data", transfer__operation=operation, transfer__compress=compress
    )
    run(session)
    rows = {row.source.split("/data/")[1].split("/")[0]: row for row in session.movies.itertuples()}
    assert {place: row.state for place, row in rows.items()} == {
        "own": "done", "in": "done", "out": "failed",
    }  # fmt: skip
    assert "may not be taken from" in rows["out"].reason
    assert (tmp_path / "private" / "grid0" / "mov_00000.tiff").exists()


def test_a_link_that_is_put_there_after_the_look_is_seen(tmp_path):
    """Between the first look and the reading the name may become another file's."""
    ((source, _),) = write_movies(tmp_path / "data", 1).items()
    found, elsewhere = look_at(str(source)), tmp_path / "elsewhere"
    elsewhere.write_bytes(b"private")

    class Meanwhile(type(tmp_path)):
        """Opened a second time, it is a link."""

        opened = 0

        def open(self, *arguments, **options):
            Meanwhile.opened += 1
            if Meanwhile.opened == 2:
                source.unlink()
                source.symlink_to(elsewhere)
            return super().open(*arguments, **options)

    found = dataclasses.replace(found, source=Meanwhile(source))
    with pytest.raises(PermissionError, match="may not be taken from"):
        transfer_file(found, tmp_path / "raw" / "m.tiff", "copy", roots=[tmp_path / "data"])
    assert list((tmp_path / "raw").iterdir()) == []


def test_compressed_on_the_way_the_whole_session_goes_on(tmp_path):
    camera = tmp_path / "camera"
    camera.mkdir()
    movie = np.random.default_rng(1).poisson(2, (3, 40, 48)).astype(np.int16) + np.int16(1)
    write_mrc(camera / "a.mrc", movie, pixel_size=1.3)
    session = pretend_session(
        tmp_path / "sessions", camera, raw_data__location=f"{camera}/*.mrc", transfer__compress="zstd"
    )
    assert run(session) == 0
    np.testing.assert_array_equal(read_frames(session.folder / "raw" / "a.tiff"), movie)
    # The other size of the copy is no change at the source.
    assert run(session) == 0
    assert states(session) == {"a": "done"}
    assert not [event for event in session.events() if event.code == "changed"]


def test_all_copies_together_keep_below_the_limit():
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    throttle = Throttle(10e6, clock=lambda: now[0], sleep=sleep)
    for _ in range(50):
        throttle.take(4_000_000)
    assert now[0] == pytest.approx(49 * 0.4)
    now[0] += 100
    throttle.take(4_000_000)
    assert len(slept) == 49
    free = Throttle(0.0, sleep=sleep)
    free.take(1 << 40)
    assert len(slept) == 49


def test_several_places_and_one_that_is_missing(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write_movies(one, 2)
    location = f"{one}/**/*.tiff; {two}/**/*.tiff"
    listing = list_names(location)
    assert len(listing.movies) == 2
    assert "waiting for it to appear" in next(iter(listing.away.values()))
    session = pretend_session(tmp_path / "sessions", one, raw_data__location=location)
    assert run(session) == 0
    assert len(session.micrographs) == 2
    write_movies(two, 2)
    assert run(session) == 0
    assert len(session.micrographs) == 4
    with pytest.raises(Offline):
        list_names(f"{tmp_path}/no; {tmp_path}/none")


def test_what_vanishes_is_offline_with_a_reason_and_comes_back(tmp_path):
    camera, away = tmp_path / "camera", tmp_path / "away"
    write_movies(camera, 3)
    cut = camera / "grid0" / "cut.tiff"
    cut.write_bytes(small_movie(9)[:700])
    session = pretend_session(tmp_path / "sessions", camera, transfer__give_up=1)

    def unmount():
        until = time.monotonic() + 60
        while states(session).get("cut") != "stuck" and time.monotonic() < until:
            time.sleep(0.05)
        camera.rename(away)
        while states(session).get("cut") != "offline" and time.monotonic() < until:
            time.sleep(0.05)
        offline.append(session.movies.set_index("name").loc["cut", "reason"])
        cut_again = away / "grid0" / "cut.tiff"
        cut_again.write_bytes(small_movie(9))
        away.rename(camera)

    offline = []
    act = threading.Thread(target=unmount)
    act.start()
    assert run(session, still_coming=act.is_alive) == 0
    act.join()
    assert "waiting for it to appear" in offline[0]
    assert set(states(session).values()) == {"done"}
    assert len(session.micrographs) == 4


def test_linked_movies_wait_while_their_disk_is_away_and_are_not_blamed(tmp_path):
    camera, away = tmp_path / "camera", tmp_path / "away"
    write_movies(camera, 6)
    session = pretend_session(tmp_path / "sessions", camera, transfer__operation="link")
    (session.folder / "cost").write_text("0.4")

    def wait(condition):
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.02)

    def unmount():
        wait(lambda: len(session.micrographs) >= 1)
        camera.rename(away)
        wait(lambda: "out of reach" in session.status().tracks["preprocess"].message)
        said.append(session.status().tracks["preprocess"].message)
        away.rename(camera)

    said = []
    act = threading.Thread(target=unmount)
    act.start()
    assert run(session, still_coming=act.is_alive) == 0
    act.join()
    assert "movies wait until it is back" in said[0]
    assert len(session.micrographs) == 6
    assert not [event for event in session.events() if event.code == "micrograph_retry"]


def test_a_link_whose_source_changed_is_a_conflict_until_it_is_retried(tmp_path):
    ((path, _),) = write_movies(tmp_path / "camera", 1).items()
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera", transfer__operation="link")
    run(session)
    before = session.micrographs["defocus_u"].item()
    path.write_bytes(small_movie(77))
    assert run(session) == 1
    assert states(session) == {"mov_00000": "conflict"}
    assert "changed at the source" in session.failed()["reason"].item()
    assert session.retry().wait(5).ok
    assert run(session) == 0
    assert session.micrographs["defocus_u"].item() != before


def test_a_short_movie_is_taken_after_a_wait_and_says_so(tmp_path):
    camera = tmp_path / "camera"
    camera.mkdir()
    rng = np.random.default_rng(1)
    for number in range(5):
        count = 2 if number == 4 else 6
        movie = rng.poisson(2, (count, 32, 32)).astype(np.uint8) + np.uint8(1)
        write_mrc(camera / f"m{number}.mrc", movie.astype(np.int16), pixel_size=1.3)
        # The newest is checked first; what is usual must be known by the time of the short one.
        os.utime(camera / f"m{number}.mrc", (1e9 - number, 1e9 - number))
    session = pretend_session(tmp_path / "sessions", camera, raw_data__location=f"{camera}/*.mrc")
    assert run(session) == 0
    reasons = session.movies.set_index("name")["reason"].dropna()
    assert list(reasons.index) == ["m4"]
    assert "2 frames, the movies of this session have 6" in reasons["m4"]
    assert [event.movie for event in session.events() if event.code == "short"] == ["m4"]


def test_a_moved_movies_source_goes_last_and_only_when_the_copy_still_reads(tmp_path):
    written = write_movies(tmp_path / "camera", 3)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera", transfer__operation="move")
    assert run(session) == 0
    assert not any(path.exists() for path in written)
    kept = sorted(path.read_bytes() for path in (session.folder / "raw").glob("*.tiff"))
    assert kept == sorted(written.values())


@pytest.mark.parametrize("operation", ["link", "copy", "move"])
def test_a_session_over_its_own_folder_keeps_what_lies_there(tmp_path, operation):
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera", transfer__operation=operation)
    place = session.folder / "raw" / "m.tiff"
    place.write_bytes(small_movie(1))
    session.save_settings(session.settings.updated({"raw_data.location": f"{session.folder}/raw/*.tiff"}))
    assert run(session) == 0
    assert states(session) == {"m": "done"}
    assert len(session.micrographs) == 1
    assert place.read_bytes() == small_movie(1)


def test_a_manifest_line_needs_no_row(tmp_path):
    session = pretend_session(tmp_path / "sessions", tmp_path)
    path = session.folder / "manifest.xxh128"
    path.write_text(f"{'0' * 32}  raw/a.xml\n")
    with Store(session.folder / "session.db") as store:
        Manifest(session.folder, store)
    assert read_manifest(path) == {"raw/a.xml": "0" * 32}
