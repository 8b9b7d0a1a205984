"""A whole session without a page: what runs, what fails, what survives."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.formats.motion_star import read_motion_star
from nextpyp_nb.formats.star import read_star
from nextpyp_nb.session import open_session
from nextpyp_nb.simulate.score import score
from nextpyp_nb.tracks.export import export_plan, export_session
from nextpyp_nb.tracks.runner import _show, run_session

PROGRAM = (sys.executable, "-m", "nextpyp_nb")


def run(session, **options):
    return asyncio.run(run_session(session.folder, until_idle=True, signals=False, **options))


def nextpyp(*arguments, **options):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, **options)


class Kept:
    """A progress that keeps what it was told."""

    def __enter__(self):
        self.told = []

    def __exit__(self, *exception):
        pass

    def show(self, status):
        self.told.append(status)


def test_the_last_thing_shown_is_how_the_run_ended():
    """Also where it ends while someone still looks how it stands."""
    kept, states = Kept(), iter(["running", "over"])

    def status():
        found = next(states)
        time.sleep(0.3)
        return found

    async def whole():
        ended = asyncio.Event()
        watcher = asyncio.create_task(_show(SimpleNamespace(status=status), kept, ended))
        await asyncio.sleep(0.1)
        ended.set()
        await watcher

    asyncio.run(whole())
    assert kept.told == ["running", "over"]


def outputs(session):
    return {name: session.file("average", name).stat().st_mtime_ns for name in session.micrographs["name"]}


def test_movies_become_micrographs_close_to_the_truth(session, microscope, tmp_path):
    assert run(session) == 0
    table = session.micrographs
    assert len(table) == 3
    assert session.status().runner == "stopped"
    told = (session.folder / "metrics.prom").read_text()
    assert 'nextpyp_runner_up{session="s"} 0.0' in told
    assert 'nextpyp_track_items{session="s",state="done",track="preprocess"} 3.0' in told
    plan = export_plan(session, tmp_path / "out", stack=True)
    done = export_session(plan, lambda report: None)
    assert done["micrographs"] == 3
    motions = {n: read_motion_star(tmp_path / "out" / "motion" / f"{n}.star") for n in table["name"]}
    picks = {n: np.load(session.file("picks", n))["centres"] for n in table["name"]}
    found = score(microscope.truth_folder, table, motions, picks)
    assert found["motion_global_median_px"] < 0.35
    assert found["defocus_median_A"] < 100
    assert found["f1"] > 0.8
    particles = read_star(tmp_path / "out" / "particles.star")
    assert len(particles["particles"]) == done["particles"] > 10
    assert (tmp_path / "out" / particles["particles"]["rlnImageName"].iloc[0].split("@")[1]).is_file()


def test_a_second_run_does_nothing_again_and_changed_settings_redo_only_their_stages(session):
    run(session)
    before, first = outputs(session), session.settings
    rows = session.micrographs[["name", "defocus_u", "particles", "total_motion", "dose_evenness"]]
    run(session)
    assert outputs(session) == before
    session.save_settings(session.settings.updated({"ctf.max_resolution": 4.0})).wait(5)
    ctf_before = {n: session.file("ctf", n).stat().st_mtime_ns for n in before}
    run(session)
    assert outputs(session) == before
    assert all(session.file("ctf", n).stat().st_mtime_ns > t for n, t in ctf_before.items())
    session.save_settings(first).wait(5)
    run(session)
    assert {n: session.file("ctf", n).stat().st_mtime_ns for n in before} == ctf_before
    pd.testing.assert_frame_equal(session.micrographs[rows.columns], rows)


def test_a_filter_decides_what_is_classified_and_a_senseless_one_pauses(session):
    session.save_settings(session.settings.updated({"class2d.filter": "fit_resolution>=0"})).wait(5)
    run(session)
    everything = int(session.micrographs["particles"].sum())
    assert f"{everything} so far" in session.status().tracks["classify"].message
    session.save_settings(session.settings.updated({"class2d.filter": "fit_resolution<=0.5"})).wait(5)
    run(session)
    assert "0 so far" in session.status().tracks["classify"].message
    session.save_settings(session.settings.updated({"class2d.filter": "colour<=3"})).wait(5)
    assert run(session) != 0
    assert "no column 'colour'" in session.status().tracks["classify"].message


def test_a_bad_movie_is_a_row_with_a_reason_and_the_others_go_on(session, microscope, tmp_path):
    good = next(microscope.gain_path.parent.rglob("*.tiff"))
    folder = tmp_path / "mixed"
    folder.mkdir()
    content = good.read_bytes()
    (folder / "good.tiff").write_bytes(content)
    (folder / "cut.tiff").write_bytes(content[: len(content) // 2])
    (folder / "zero.tiff").write_bytes(bytes(100_000))
    session.save_settings(session.settings.updated({"raw_data.location": f"{folder}/*.tiff"})).wait(5)
    assert run(session) == 1
    assert list(session.micrographs["name"]) == ["good"]
    failed = session.failed().set_index("movie")["reason"]
    assert set(failed.index) == {"cut", "zero"}
    assert "truncated" in failed["cut"] or "readable" in failed["cut"]


def test_a_gain_of_the_wrong_size_says_so(session, tmp_path):
    from nextpyp_nb.formats.mrc import write_mrc

    write_mrc(tmp_path / "gain.mrc", np.ones((100, 100), np.float32), pixel_size=1.3)
    wrong = session.settings.updated({"gain.reference": str(tmp_path / "gain.mrc")})
    session.save_settings(wrong).wait(5)
    assert run(session) == 1
    assert "100 x 100" in session.failed()["reason"].iloc[0]


def test_a_missing_folder_is_said_and_ends_an_idle_run(session, tmp_path, capsys):
    gone = session.settings.updated({"raw_data.location": f"{tmp_path}/none/*.tiff"})
    session.save_settings(gone).wait(5)
    assert run(session) == 1
    assert "waiting for it to appear" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_goes_on_and_counts_nothing_twice(session):
    random = np.random.default_rng(5)
    for _ in range(4):
        process = subprocess.Popen(
            [*PROGRAM, "run", "s", "--root", str(session.folder.parent), "--until-idle"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(random.uniform(1.5, 6))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run(session) == 0
    assert sorted(session.micrographs["name"]) == sorted(session.movies["name"])
    assert len(session.movies) == 3
    assert not list(session.folder.rglob("*.part"))


@pytest.mark.timeout(300)
def test_detached_commands_steer_the_session(session):
    name = ("s", "--root", session.folder.parent)
    try:
        assert nextpyp("start", *name).returncode == 0
        pid = session.status().pid
        assert pid != os.getpid()
        assert nextpyp("start", *name).returncode == 0
        assert session.status().pid == pid
        until = time.monotonic() + 120
        while len(session.micrographs) < 3 and time.monotonic() < until:
            time.sleep(0.3)
        assert len(session.micrographs) == 3
        assert "preprocess" in nextpyp("status", *name, "--json").stdout
        cleared = nextpyp("clear", *name, "--track", "preprocess")
        assert "3 micrographs cleared" in cleared.stdout
        assert len(session.movies) == 3
        until = time.monotonic() + 120
        while len(session.micrographs) < 3 and time.monotonic() < until:
            time.sleep(0.3)
        assert len(session.micrographs) == 3
    finally:
        assert nextpyp("cancel", *name).returncode == 0
    until = time.monotonic() + 20
    while open_session("s", root=session.folder.parent).status().runner == "running":
        assert time.monotonic() < until
        time.sleep(0.2)
