"""What goes wrong around a session: it is said, and nothing is lost."""

import asyncio
import errno
import os
import shutil
import signal

import psutil
import pytest

from nextpyp_nb.tracks import copying
from nextpyp_nb.tracks.runner import run_session

pytestmark = pytest.mark.timeout(180)


def change(session, **values):
    """Save settings by name, with __ for the dot."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    assert session.save_settings(session.settings.updated(named)).wait(5).ok


def run_while(session, act):
    """Run the session until idle, but not before the coroutine ``act`` is through; its exit code."""

    async def both():
        acting = asyncio.create_task(act())
        code = await asyncio.wait_for(
            run_session(
                session.folder, until_idle=True, signals=False, still_coming=lambda: not acting.done()
            ),
            120,
        )
        await acting
        return code

    return asyncio.run(both())


async def until(condition, seconds=60):
    for _ in range(int(20 * seconds)):
        if found := condition():
            return found
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{condition} did not come true in {seconds} s")


def movie(microscope, number=1):
    return microscope.folder / f"mov_{number:04d}.tiff"


@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
def test_a_folder_that_is_empty_or_missing_fills_later(session, microscope, tmp_path, there):
    folder = tmp_path / "later"
    if there:
        folder.mkdir()
    change(session, raw_data__location=f"{folder}/*.tiff", picking__method="none")

    def said():
        return session.status().tracks["transfer"].message

    async def fill():
        words = f"watching {folder}" if there else "waiting for it to appear"
        await until(lambda: words in said())
        assert session.failed().empty
        folder.mkdir(exist_ok=True)
        shutil.copy(movie(microscope), folder / "a.tiff")
        await until(lambda: list(session.micrographs["name"]) == ["a"])

    assert run_while(session, fill) == 0
    if not there:
        assert any(event.code == "resumed" for event in session.events())


def test_equal_names_in_two_folders_are_two_micrographs(session, microscope, tmp_path):
    for number, grid in ((1, "g1"), (2, "g2")):
        (tmp_path / "camera" / grid).mkdir(parents=True)
        shutil.copy(movie(microscope, number), tmp_path / "camera" / grid / "m.tiff")
    change(session, raw_data__location=f"{tmp_path}/camera/**/*.tiff", transfer__operation="copy")
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False)) == 0
    names = set(session.micrographs["name"])
    assert "m" in names
    assert names <= {"m", "g1_m", "g2_m"}
    assert len(names) == 2
    for row in session.movies.itertuples():
        number = 1 if "/g1/" in row.source else 2
        assert (session.folder / "raw" / f"{row.name}.tiff").read_bytes() == movie(
            microscope, number
        ).read_bytes()
    defocus = session.micrographs["defocus_u"]
    assert abs(defocus.iloc[0] - defocus.iloc[1]) > 100


def test_a_full_disk_pauses_the_transfer_and_then_goes_on(session, microscope, monkeypatch):
    change(session, transfer__operation="copy", picking__method="none")
    full, tried, sync = True, 0, os.fsync

    def fsync(handle):
        nonlocal tried
        if full:
            tried += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(copying.os, "fsync", fsync)

    async def make_room():
        nonlocal full
        transfer = await until(lambda: (t := session.status().tracks["transfer"]).state == "paused" and t, 15)
        assert "the disk is full" in transfer.message
        # Longer than any number of attempts would last.
        await asyncio.sleep(6)
        assert session.status().tracks["transfer"].state == "paused"
        assert not list((session.folder / "raw").glob("*.tiff"))
        assert session.failed().empty
        full = False

    assert run_while(session, make_room) == 0
    assert len(session.micrographs) == 3
    assert tried < 20
    assert sorted(path.name for path in (session.folder / "raw").iterdir()) == [
        f"mov_{number:04d}.tiff" for number in (1, 2, 3)
    ]


def is_movie_worker(process):
    try:
        return "nextpyp_nb.engine.worker" in process.cmdline() and process.nice() == 0
    except psutil.Error:
        return False


def test_a_worker_that_is_killed_costs_its_movie_one_attempt(session):
    def at_work():
        # The average of the first movie is there before its CTF, and two more are to come.
        if any(session.folder.glob("micrographs/*.mrc")):
            children = psutil.Process().children(recursive=True)
            return [p for p in children if is_movie_worker(p)]
        return None

    async def kill():
        (worker,) = await until(at_work)
        os.kill(worker.pid, signal.SIGKILL)

    change(session, resources__workers=1, picking__method="none")
    assert run_while(session, kill) == 0
    assert len(session.micrographs) == len(session.movies) == 3
    retries = [event for event in session.events() if event.code == "micrograph_retry"]
    assert len(retries) == 1
    assert "the worker died: signal 9" in retries[0].text
    assert "tried again" in retries[0].text
    assert session.failed().empty
