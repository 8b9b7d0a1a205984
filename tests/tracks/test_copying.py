import os
import subprocess
import sys
from pathlib import Path

import pytest

from nextpyp_nb.tracks import copying
from nextpyp_nb.tracks.copying import Changed, Conflict, digest_of, release, transfer_file
from nextpyp_nb.tracks.finding import Found


def found_at(path):
    seen = path.stat()
    return Found(source=path, size=seen.st_size, mtime_ns=seen.st_mtime_ns, inode=seen.st_ino)


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "source" / "m.tiff"
    path.parent.mkdir()
    path.write_bytes(os.urandom(9_000_000))
    return found_at(path)


def test_a_copy_equals_its_source_and_leaves_nothing_else(movie, tmp_path):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "copy")
    assert done.path.read_bytes() == movie.source.read_bytes()
    assert done.digest == digest_of(movie.source)
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["m.tiff"]


def test_a_second_copy_of_the_same_movie_is_adopted(movie, tmp_path):
    first = transfer_file(movie, tmp_path / "raw" / "m.tiff", "copy")
    assert transfer_file(movie, tmp_path / "raw" / "m.tiff", "copy") == first


@pytest.mark.parametrize("operation", ["copy", "link", "move"])
def test_an_existing_file_is_never_overwritten(movie, tmp_path, operation):
    place = tmp_path / "raw" / "m.tiff"
    place.parent.mkdir()
    place.write_bytes(b"other")
    with pytest.raises(Conflict):
        transfer_file(movie, place, operation)
    assert place.read_bytes() == b"other"
    assert movie.source.exists()


def test_what_appears_while_a_copy_is_made_stays(movie, tmp_path):
    place = tmp_path / "raw" / "m.tiff"

    class Meanwhile(copying.Throttle):
        def take(self, size):
            place.write_bytes(b"someone else was quicker")

    with pytest.raises(Conflict):
        transfer_file(movie, place, "copy", Meanwhile(0.0))
    assert place.read_bytes() == b"someone else was quicker"
    assert [p.name for p in place.parent.iterdir()] == ["m.tiff"]


@pytest.mark.parametrize("operation", ["link", "copy", "move"])
def test_a_movie_in_the_session_itself_is_taken_in_place_and_never_deleted(tmp_path, operation):
    """Also when it was found by another name for the folder."""
    (tmp_path / "session" / "raw").mkdir(parents=True)
    (tmp_path / "other").symlink_to(tmp_path / "session")
    place = tmp_path / "session" / "raw" / "m.tiff"
    place.write_bytes(b"the only copy")
    for name in (place, tmp_path / "other" / "raw" / "m.tiff"):
        found = found_at(name)
        done = transfer_file(found, place, operation)
        assert (done.path, done.size) == (place, 13)
        with pytest.raises(OSError, match="only copy and stays"):
            release(found, place, digest_of(place))
    assert place.read_bytes() == b"the only copy"
    assert not place.is_symlink()


def test_a_link_points_at_the_source(movie, tmp_path):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "link")
    assert done.path.readlink() == movie.source
    assert transfer_file(movie, done.path, "link") == done


def test_a_source_that_changes_is_not_published(movie, tmp_path):
    with movie.source.open("ab") as more:
        more.write(b"late frame")
    with pytest.raises(Changed):
        transfer_file(movie, tmp_path / "raw" / "m.tiff", "copy")
    assert list((tmp_path / "raw").iterdir()) == []


def test_move_deletes_last_and_only_what_is_unchanged(movie, tmp_path):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "move")
    assert movie.source.exists()
    release(movie, done.path, done.digest)
    assert not movie.source.exists()
    assert digest_of(done.path) == done.digest


def test_a_source_that_changed_after_the_move_is_kept(movie, tmp_path):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "move")
    with movie.source.open("ab") as more:
        more.write(b"late frame")
    with pytest.raises(Changed):
        release(movie, done.path, done.digest)
    assert movie.source.exists()


def test_move_keeps_the_source_when_the_copy_was_damaged(movie, tmp_path):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "move")
    with done.path.open("r+b") as copy:
        copy.write(b"damage")
    with pytest.raises(OSError, match="the source is kept"):
        release(movie, done.path, done.digest)
    assert movie.source.exists()


def test_the_copy_is_read_from_the_disk_before_the_source_goes(movie, tmp_path, monkeypatch):
    done = transfer_file(movie, tmp_path / "raw" / "m.tiff", "move")
    forgotten = []

    def forget(handle, start, length, advice):
        name = str(Path(f"/proc/self/fd/{handle}").readlink())
        forgotten.append((name, start, length, advice, movie.source.exists()))

    monkeypatch.setattr(os, "posix_fadvise", forget)
    release(movie, done.path, done.digest)
    assert forgotten == [(str(done.path), 0, 0, os.POSIX_FADV_DONTNEED, True)]
    assert not movie.source.exists()


def test_no_half_copy_under_the_final_name_when_the_disk_fills(movie, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        transfer_file(movie, tmp_path / "raw" / "m.tiff", "copy")
    assert not (tmp_path / "raw" / "m.tiff").exists()


COPYING = """
import sys, threading
from pathlib import Path
import psutil
from nextpyp_nb.tracks import runner
from nextpyp_nb.tracks.copying import digest_of

def work():
    # Alive together, so that each has a heap of its own.
    together.wait()
    for _ in range(3):
        digest_of(Path(sys.argv[1]))
    together.wait()

runner.give_memory_back()
digest_of(Path(sys.argv[1]))
before = psutil.Process().memory_info().rss
together = threading.Barrier(8)
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


def test_threads_that_copied_keep_no_memory_for_it(movie):
    command = [sys.executable, "-c", COPYING, str(movie.source)]
    grown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert float(grown) < 8
