"""What people do with sessions, and what they are told when it cannot be."""

import errno
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session import (
    copy_session,
    create_session,
    delete_session,
    list_sessions,
    list_trash,
    open_session,
    remove_trashed,
    restore_session,
    trash_session,
)
from nextpyp_nb.session.events import changes
from nextpyp_nb.session.lease import Held, acquire
from nextpyp_nb.session.stages import classify_key
from nextpyp_nb.session.store import Store


def test_a_new_session_is_empty_and_says_what_it_is(session, settings, tmp_path):
    assert session.settings == settings
    assert (session.revision, session.status().runner) == (1, "stopped")
    assert (
        len(session.micrographs) == len(session.movies) == len(session.classes) == len(session.failed()) == 0
    )
    assert session.micrographs["name"].dtype == object
    assert abs(session.created - datetime.now(UTC)) < timedelta(seconds=10)
    again = open_session("apof", root=tmp_path / "sessions")
    assert (again.id, again.owner, again.folder) == (session.id, session.owner, session.folder)
    again.close()


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a b", "a/b", "x" * 65, "-a", "a\n"])
def test_names_that_are_no_names_are_refused(name, settings, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        create_session(name, settings=settings, root=tmp_path)
    with pytest.raises(ValueError, match="expected"):
        open_session(name, root=tmp_path)
    with pytest.raises(ValueError, match="expected"):
        delete_session(name, confirm=name, root=tmp_path)


def test_a_taken_name_and_a_missing_session_are_said_in_words(session, settings, tmp_path):
    root = tmp_path / "sessions"
    with pytest.raises(FileExistsError, match="choose another"):
        create_session("apof", settings=settings, root=root)
    with pytest.raises(FileNotFoundError, match="did you mean apof"):
        open_session("apfo", root=root)


def test_a_group_that_this_machine_does_not_know_gives_nobody_rights(settings, tmp_path):
    made = create_session("b", settings=settings, root=tmp_path, group="nobody-such")
    assert made.group == "nobody-such"
    assert made.role("somebody-else") == "none"


def test_a_full_disk_is_said_and_leaves_nothing(settings, tmp_path, monkeypatch):
    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nextpyp_nb.session.dashboard.Store.save_revision", full)
    with pytest.raises(OSError, match="is full; free some space"):
        create_session("apof", settings=settings, root=tmp_path / "sessions")
    assert list((tmp_path / "sessions").iterdir()) == []


def test_micrographs_as_a_table(store, session, arrive, process):
    arrive(3)
    process()
    store.exclude("m001")
    table = session.micrographs
    assert table["name"].tolist() == ["m000", "m001", "m002"]
    assert table["excluded"].tolist() == [False, True, False]
    assert table["defocus"].tolist() == [11750.0] * 3
    assert table["my_metric"].tolist() == [3.5] * 3
    assert table["early_motion"].isna().all()
    assert table["finished"].dt.tz is not None
    assert (table["latency"] >= 0).all()
    assert session.micrograph("m002")["particles"] == 100
    with pytest.raises(KeyError, match="m099"):
        session.micrograph("m099")
    assert session.filtered("fit_resolution<=6")["name"].tolist() == ["m000", "m002"]


def test_the_latest_rows_are_the_end_of_the_table(store, session, arrive, process):
    assert session.latest(5).empty
    arrive(4)
    process()
    pd.testing.assert_frame_equal(session.latest(3), session.micrographs.tail(3).reset_index(drop=True))
    assert len(session.latest(9)) == 4


def test_a_changed_table_does_not_change_the_session(store, session, arrive, process):
    arrive(1)
    process()
    table = session.micrographs
    table["mine"] = 1
    assert "mine" not in session.micrographs


def test_the_acquisition_becomes_columns(store, session, arrive, process):
    (movie,) = arrive(1)
    store.movie_acquisitions({movie: {"beam_shift_x": 0.1, "camera": "", "tilt": None}}, {movie: 3})
    process()
    table = session.micrographs
    assert table["acquired_beam_shift_x"].tolist() == [0.1]
    assert "acquired_camera" not in table
    assert table["optics_group"].tolist() == ["3"]


def test_counts_rate_and_what_is_left(store, session, arrive, process, settings):
    arrive(6)
    store.add_movies([{"name": "late", "source": "/camera/late.tiff"}])
    store.claim_tasks(1, "w", 1, settings)
    store.set_track("preprocess", state="running", wanted=True, message="aligning m005")
    for task in store.claim_tasks(2, "w", 1, settings):
        store.commit_micrograph(task, {"particles": 40})
    tracks = session.status().tracks
    assert tracks["transfer"].counts["waiting"] == 1
    assert tracks["transfer"].counts["done"] == 6
    counts = tracks["preprocess"].counts
    assert (counts["done"], counts["running"], counts["waiting"], counts["failed"]) == (2, 1, 3, 0)
    assert tracks["preprocess"].backlog == 4
    assert tracks["preprocess"].rate_per_hour == pytest.approx(2 * 3600 / 30, rel=0.1)
    assert tracks["preprocess"].eta_s == pytest.approx(4 * 3600 / tracks["preprocess"].rate_per_hour)
    assert tracks["classify"].counts["new"] == 80
    # What was done before a track stopped or began again is no rate of now.
    store.set_track("preprocess", state="stopped", wanted=False)
    assert session.status().tracks["preprocess"].rate_per_hour == 0
    store.set_track("preprocess", state="running", wanted=True)
    assert session.status().tracks["preprocess"].rate_per_hour == 0


def test_classes_and_particles_of_the_last_round(store, session, arrive, process, settings):
    arrive(2)
    process()
    done = store.begin_round(ctf_max_resolution=10, key=classify_key(settings), seed=1, revision=1)
    for name in done.names:
        np.savez(
            session.file("picks", name),
            radius=75.0,
            pixel_size=1.06,
            centres=np.array([[1.0, 2.0], [3.0, 4.0]]),
            scores=np.array([9.0, 8.0]),
        )
    folder = session.file("assignments", done.number).parent
    folder.mkdir()
    np.savez(
        folder / "assignments.npz", names=np.array(done.names), micrograph=np.array([0, 1]),
        pick=np.array([1, 0]), class_number=np.array([2, 1]),
    )  # fmt: skip
    classes = [{"number": n, "count": 1, "share": 0.5, "resolution": 9.0, "score": None} for n in (1, 2)]
    store.commit_round(done.number, classes, particles=2, resolution=9.0, path="class2d/round_0001")
    table = session.particles()
    assert len(table) == 4
    first, second = done.names
    assert table.set_index(["movie", "pick"])["class_number"].to_dict() == {
        (first, 0): 0, (first, 1): 2, (second, 0): 1, (second, 1): 0,
    }  # fmt: skip
    assert session.classes["number"].tolist() == [1, 2]
    assert session.rounds["state"].tolist() == ["done"]


def test_failures_are_listed_and_retried(store, session, arrive, settings):
    (movie,) = store.add_movies([{"name": "bad", "source": "/camera/bad.tiff"}])
    store.movie_failed(movie, "37 of 40 frames readable", state="stuck")
    arrive(1)
    for _ in range(2):
        (task,) = store.claim_tasks(1, "w", 1, settings)
        store.task_failed(task, "deterministic", "NaN in the gain")
    table = session.failed().set_index("movie")
    assert table["reason"].to_dict() == {"bad": "37 of 40 frames readable", "m000": "NaN in the gain"}
    assert table["stage"].to_dict() == {"bad": "transfer", "m000": "preprocess"}
    assert table.loc["m000", "attempts"] == 2


def test_commands_without_a_runner_are_carried_out_at_once(session, settings):
    finer = settings.updated({"ctf.max_resolution": 2.8})
    assert session.save_settings(finer).wait(1).ok
    assert (session.revision, session.settings) == (2, finer)
    assert [r.settings for r in session.revisions()] == [settings, finer]
    assert session.stop().wait(1).message == "Nothing runs."
    assert not session.update_classes().wait(1).ok
    assert session.status().runner == "stopped"


def test_clear_without_a_runner_takes_the_files_and_not_the_movies(session, settings):
    with Store(session.folder / "session.db") as store:
        (movie,) = store.add_movies([{"name": "a", "source": "/camera/a.tiff"}])
        store.movie_done(movie, path="raw/a.tiff", size=1, hash="h", operation="move")
        (task,) = store.claim_tasks(1, "w", 1, settings)
        store.commit_micrograph(task, {"particles": 1})
    for place in (session.file("average", "a"), session.folder / "raw" / "a.tiff"):
        place.write_bytes(b"x")
    outside = session.folder.parent / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (session.folder / "picks" / "link").symlink_to(outside)
    assert session.clear("transfer").wait(1).ok
    assert not session.file("average", "a").exists()
    assert (session.folder / "raw" / "a.tiff").exists()
    assert (outside / "kept").exists()
    assert session.movies["state"].tolist() == ["done"]


def test_start_launches_a_runner_that_outlives_us(session, monkeypatch):
    launched = []
    monkeypatch.setattr(
        "nextpyp_nb.session.session.launch_runner", lambda folder, resume: launched.append((folder, resume))
    )
    session.start("transfer")
    session.restart()
    session.try_out("m", {"picking.radius": 60})
    assert launched == [(session.folder, resume) for resume in (True, True, False)]
    waiting = sorted(json.loads(p.read_text())["name"] for p in (session.folder / "inbox").glob("*.json"))
    assert waiting == ["restart", "start", "try_out"]


def test_changes_wake_who_watches(store, session):
    watch = changes(session, interval=0.001)
    first = next(watch)
    store.log("x", "y")
    assert next(watch) != first


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", ".."])
def test_files_of_movies_stay_in_the_session(session, name):
    with pytest.raises(ValueError, match="expected"):
        session.file("average", name)


def test_list_and_copy(session, settings, tmp_path):
    root = tmp_path / "sessions"
    (root / "not-a-session").mkdir()
    (root / "broken").mkdir()
    (root / "broken" / "session.json").write_text("{")
    (root / "link").symlink_to(session.folder)
    copy = copy_session("apof", "second", root=root)
    assert copy.settings == settings
    assert copy.id != session.id
    assert [s.name for s in list_sessions(root)] in (["second", "apof"], ["apof", "second"])
    assert list_sessions(tmp_path / "nowhere") == []
    copy.close()


def test_delete_removes_this_folder_and_nothing_else(session, tmp_path):
    root = tmp_path / "sessions"
    outside = tmp_path / "camera"
    outside.mkdir()
    (outside / "movie.tiff").touch()
    (session.folder / "raw" / "movie.tiff").symlink_to(outside / "movie.tiff")
    (session.folder / "raw" / "camera").symlink_to(outside)
    with pytest.raises(ValueError, match="type the session's name"):
        delete_session("apof", confirm="apo", root=root)
    with Store(session.folder / "session.db") as store, acquire(store), pytest.raises(Held, match="running"):
        delete_session("apof", confirm="apof", root=root)
    assert session.folder.is_dir()
    delete_session("apof", confirm="apof", root=root)
    assert list(root.iterdir()) == []
    assert (outside / "movie.tiff").exists()


def test_delete_refuses_what_is_no_session_of_that_name(session, tmp_path):
    root = tmp_path / "sessions"
    (root / "link").symlink_to(session.folder)
    with pytest.raises(ValueError, match="is a link"):
        delete_session("link", confirm="link", root=root)
    (root / "photos").mkdir()
    (root / "photos" / "holiday.jpg").touch()
    with pytest.raises(FileNotFoundError, match="no session photos"):
        delete_session("photos", confirm="photos", root=root)
    session.folder.rename(root / "renamed")
    with pytest.raises(ValueError, match="was renamed"):
        delete_session("renamed", confirm="renamed", root=root)
    assert (root / "renamed" / "session.db").exists()
    assert (root / "photos" / "holiday.jpg").exists()


def test_a_session_in_the_trash_comes_back_whole_or_goes_for_ever(session, settings, tmp_path):
    root = tmp_path / "sessions"
    (session.folder / "raw" / "movie.tiff").write_bytes(b"x")
    with pytest.raises(ValueError, match="type the session's name"):
        trash_session("apof", confirm="apo", root=root)
    entry = trash_session("apof", confirm="apof", root=root)
    assert list_sessions(root) == []
    assert list_trash(root) == [entry]
    assert (entry.name, entry.by, entry.whole) == ("apof", entry.owner, True)
    assert restore_session(entry) == "apof"
    assert list_trash(root) == []
    assert [s.name for s in list_sessions(root)] == ["apof"]
    assert (root / "apof" / "raw" / "movie.tiff").read_bytes() == b"x"
    entry = trash_session("apof", confirm="apof", root=root)
    create_session("apof", settings=settings, root=root).close()
    with pytest.raises(FileExistsError, match="another session apof"):
        restore_session(entry)
    remove_trashed(entry)
    assert [path.name for path in root.iterdir()] == ["apof"]


def test_what_a_cut_removal_left_is_in_the_trash_and_can_only_go(session, tmp_path):
    root = tmp_path / "sessions"
    entry = trash_session("apof", confirm="apof", root=root)
    (entry.folder / "session.json").unlink()
    (entry.folder / "session.db").unlink()
    (left,) = list_trash(root)
    assert (left.name, left.whole) == ("apof", False)
    with pytest.raises(ValueError, match="only remove it"):
        restore_session(left)
    remove_trashed(left)
    assert list(root.iterdir()) == []


def test_delete_never_takes_a_data_root(session, tmp_path, site):
    site.write_text(f'data_roots = ["{session.folder / "raw"}"]')
    with pytest.raises(ValueError, match="data root"):
        delete_session("apof", confirm="apof", root=tmp_path / "sessions")


@pytest.mark.parametrize("damaged", [False, True])
def test_moved_movies_go_only_by_their_number(session, tmp_path, damaged):
    """T10: the session holds the only copy."""
    with Store(session.folder / "session.db") as store:
        for n in range(3):
            (movie,) = store.add_movies([{"name": f"m{n}", "source": f"/camera/{n}.tiff"}])
            path = session.folder / "raw" / f"m{n}.tiff"
            path.write_bytes(b"x")
            store.movie_done(movie, path=path, size=1, hash=str(n), operation="move")
    if damaged:
        (session.folder / "session.db").write_bytes(b"no database" * 1000)
    root = tmp_path / "sessions"
    for count in (None, 2, 4):
        with pytest.raises(ValueError, match="only copy of 3 moved movies"):
            delete_session("apof", confirm="apof", root=root, raw_count=count)
    entry = trash_session("apof", confirm="apof", root=root, raw_count=3)
    with pytest.raises(ValueError, match="only copy of 3 moved movies"):
        remove_trashed(entry)
    restore_session(entry)
    delete_session("apof", confirm="apof", root=root, raw_count=3)
    assert not session.folder.exists()


@pytest.mark.timeout(120)
def test_fifty_thousand_movies_stay_quick(session, settings):
    """Status within 0.2 s of CPU time and the table within 2 s."""
    with Store(session.folder / "session.db") as store, store.transaction():
        n, now = 50_000, time.time()
        store._run_many(
            "INSERT INTO movie(id, name, source, state, found, transferred) VALUES (?, ?, ?, 'done', ?, ?)",
            [(i, f"m{i}", f"/c/m{i}", now - n + i, now - n + i) for i in range(1, n + 1)],
        )
        store._run_many(
            "INSERT INTO task(movie_id, state) VALUES (?, 'done')", [(i,) for i in range(1, n + 1)]
        )
        store._run_many(
            "INSERT INTO micrograph(movie_id, revision, version, defocus_u, defocus_v, fit_resolution,"
            " particles, started, finished) VALUES (?, 1, '0', 1e4, 9e3, 4.0, 100, ?, ?)",
            [(i, now - n + i, now - n + i) for i in range(1, n + 1)],
        )
    begin = time.process_time()
    status = session.status()
    middle = time.process_time()
    table = session.micrographs
    end = time.process_time()
    assert status.tracks["preprocess"].counts["done"] == len(table) == n
    assert middle - begin < 0.2
    assert end - middle < 2.0
    assert isinstance(table, pd.DataFrame)
    print(f"status {middle - begin:.3f} s, table {end - middle:.3f} s")


def test_the_marker_says_who_and_what(session):
    marker = json.loads((Path(session.folder) / "session.json").read_text())
    assert marker["name"] == "apof"
    assert marker["owner"] == session.owner
    assert session.folder.stat().st_mode & 0o777 == 0o700


def test_the_table_that_follows_equals_the_table_read_anew(store, session, arrive, process, settings):
    """Whatever happens, the rows fetched one by one make the same table as all of them at once."""
    steps = (
        lambda: arrive(3), process, lambda: store.exclude("m001"), lambda: arrive(2, first=3),
        lambda: process(ctf_failed="no rings", defocus_u=None), lambda: store.ignore("m002"),
        lambda: store.movie_acquisitions({2: {"tilt": 3.5}}, {}), lambda: store.exclude("m001", False),
        lambda: store.reset_stages(settings.updated({"picking.radius": 60})), process,
        store.clear_preprocess, process,
    )  # fmt: skip
    for step in steps:
        step()
        anew = open_session(session.name, root=session.folder.parent)
        followed, read = session.micrographs, anew.micrographs
        anew.close()
        pd.testing.assert_frame_equal(followed[sorted(followed)], read[sorted(read)], check_dtype=False)
    assert len(followed) == 5
