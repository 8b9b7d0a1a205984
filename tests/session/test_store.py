"""One transaction moves a movie one step; whatever dies, nothing is lost, doubled or mixed up."""

import json
import sqlite3
import threading
import time

import pytest

from nextpyp_nb.session.schema import MIGRATIONS, migrate
from nextpyp_nb.session.stages import classify_key
from nextpyp_nb.session.store import Fenced, Reader, Store


def test_a_movie_is_added_once_by_its_source(store):
    movie = {"name": "a", "source": "/camera/a.tiff"}
    first = store.add_movies([movie, {"name": "b", "source": "/camera/b.tiff"}])
    assert store.add_movies([movie | {"name": "c"}]) == []
    assert [(row["id"], row["source"], row["state"]) for row in store.movies()] == [
        (first[0], "/camera/a.tiff", "found"), (first[1], "/camera/b.tiff", "found")
    ]  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError):
        store.add_movies([{"name": "new", "source": "/new"}, {"name": "a", "source": "/elsewhere/a.tiff"}])
    assert store.movie_names() == {"a", "b"}


def test_a_transferred_movie_is_ready_and_stays_done(store):
    (movie,) = store.add_movies([{"name": "a", "source": "/camera/a.tiff"}])
    store.movie_settling({movie: "37 of 40 frames"})
    assert store.movie("a")["reason"] == "37 of 40 frames"
    store.movie_transferring(movie, "move")
    store.movie_done(movie, path="raw/a.tiff", size=5, hash="h", operation="move")
    store.movie_failed(movie, "source gone", state="offline")
    row = store.movie(movie)
    assert (row["state"], row["operation"], row["attempts"]) == ("done", "move", 1)
    assert store.task_counts() == {"ready": 1}
    assert store.clear_transfer() == 0


def test_an_unchanged_look_at_the_folder_writes_nothing(store, session):
    (movie,) = store.add_movies([{"name": "a", "source": "/camera/a.tiff"}])
    store.movie_settling({movie: "being written"})
    before = session.version()
    store.movie_settling({movie: "being written"})
    assert session.version() == before


def test_newest_first_but_the_oldest_is_not_forgotten(store, arrive, process):
    arrive(8)
    names = [task.name for task in process()]
    assert names[:3] == ["m007", "m006", "m005"]
    assert names[3] == "m000"
    assert sorted(names) == [f"m{i:03d}" for i in range(8)]


def test_attempts_count_before_execution(store, arrive, settings):
    arrive(1)
    (task,) = store.claim_tasks(1, "w", 1, settings)
    assert task.attempts == 1
    assert store.claim_tasks(1, "w", 1, settings) == []
    store.release_running()
    (again,) = store.claim_tasks(1, "w", 1, settings)
    assert again.attempts == 2


def test_a_cancelled_task_is_not_blamed(store, arrive, settings):
    arrive(1)
    tasks = store.claim_tasks(1, "w", 1, settings)
    store.release_tasks(tasks)
    (again,) = store.claim_tasks(1, "w", 1, settings)
    assert again.attempts == 1


def test_failures_by_kind(store, arrive, settings, monkeypatch):
    arrive(1)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def fail(kind):
        (task,) = store.claim_tasks(1, "w", 1, settings)
        return store.task_failed(task, kind, f"{kind} trouble", ValueError("x"))

    assert [fail("deterministic"), fail("deterministic")] == ["ready", "failed"]
    assert store.retry() == 1
    states = []
    for _ in range(6):
        states.append(fail("transient"))
        assert store.claim_tasks(1, "w", 1, settings) == []
        now[0] += 1 + (store.next_retry() or 0)
    assert states == ["ready"] * 5 + ["failed"]
    assert store.retry("m000") == 1
    assert [fail("killed"), fail("killed")] == ["ready", "quarantined"]
    store.ignore("m000")
    assert store.retry() == 0
    assert store.retry("m000") == 1


def test_a_killer_runs_alone(store, arrive, settings, monkeypatch):
    arrive(3)
    first, second = store.claim_tasks(2, "w", 1, settings)
    store.task_failed(first, "killed", "signal 9")
    (third,) = store.claim_tasks(5, "w", 1, settings)
    assert third.name == "m000"
    store.commit_micrograph(third, {"particles": 0})
    assert store.claim_tasks(5, "w", 1, settings) == []
    store.commit_micrograph(second, {"particles": 0})
    (alone,) = store.claim_tasks(5, "w", 1, settings)
    assert (alone.name, alone.alone) == (first.name, True)
    arrive(1, first=10)
    assert store.claim_tasks(5, "w", 1, settings) == []
    store.commit_micrograph(alone, {"particles": 0})
    assert [t.name for t in store.claim_tasks(5, "w", 1, settings)] == ["m010"]


def test_a_movie_that_takes_the_runner_down_is_put_aside_at_last(store, arrive, settings):
    arrive(1)
    for _ in range(10):
        store.claim_tasks(1, "w", 1, settings)
        store.release_running()
        if store.task_counts() == {"quarantined": 1}:
            break
    assert store.task_counts() == {"quarantined": 1}


def test_what_is_committed_is_whole(store, session, arrive, settings):
    arrive(1)
    (task,) = store.claim_tasks(1, "w", 1, settings)
    with pytest.raises(sqlite3.Error):
        store.commit_micrograph(task, {"defocus_u": object(), "particles": 3})
    assert store.task_counts() == {"running": 1}
    assert len(session.micrographs) == 0
    store.commit_micrograph(task, {"particles": 3})
    with pytest.raises(ValueError, match="too late"):
        store.commit_micrograph(task, {"particles": 4})
    assert session.micrographs["particles"].tolist() == [3]
    assert [event.code for event in session.events()] == ["micrograph_done"]


def test_restart_redoes_what_a_setting_touches_and_nothing_else(store, arrive, process, settings):
    arrive(3)
    process()
    finer = settings.updated({"ctf.max_resolution": 2.8})
    assert store.reset_stages(finer) == {"motion": 0, "ctf": 3, "picking": 0, "retried": 0}
    tasks = process(finer, fit_resolution=3.1)
    assert {task.first_stage for task in tasks} == {"ctf"}
    assert store.reset_stages(finer)["ctf"] == 0
    assert store.reset_stages(finer.updated({"resources.workers": 2, "transfer.settle": 3})) == dict.fromkeys(
        ("motion", "ctf", "picking", "retried"), 0
    )


def test_going_back_before_the_work_was_done_recomputes_nothing(store, arrive, process, settings):
    arrive(3)
    process()
    assert store.reset_stages(settings.updated({"microscope.cs": 1.4}))["motion"] == 3
    store.reset_stages(settings)
    assert process() == []
    assert store.task_counts() == {"done": 3}


def test_files_that_an_attempt_wrote_over_are_no_results_of_the_settings_before(
    store, arrive, process, settings
):
    arrive(1)
    process()
    finer = settings.updated({"ctf.max_resolution": 2.8})
    store.reset_stages(finer)
    (task,) = store.claim_tasks(1, "w", 2, finer)
    store.release_tasks([task])
    store.reset_stages(settings)
    assert [task.first_stage for task in process()] == ["ctf"]


def test_clear_drops_results_and_keeps_transferred_movies(store, session, arrive, process):
    arrive(2)
    process()
    assert store.clear_preprocess() == 2
    assert store.task_counts() == {"ready": 2}
    assert len(session.micrographs) == 0
    assert session.movies["state"].tolist() == ["done", "done"]
    assert {task.first_stage for task in process()} == {"motion"}


def test_trouble_pauses_after_ten_in_a_row(store, arrive, settings):
    arrive(40)
    since, said = time.time(), None
    while said is None:
        (task,) = store.claim_tasks(1, "w", 1, settings)
        store.task_failed(task, "deterministic", "the gain does not fit")
        said = store.trouble(since)
    assert said == "ten movies in a row failed; the last one: the gain does not fit"
    assert store.task_counts()["failed"] == 10
    assert store.trouble(time.time() + 1) is None


def test_each_particle_batch_counts_once(store, arrive, process, settings):
    key = classify_key(settings)
    arrive(4)
    process()
    begin = {"ctf_max_resolution": 10.0, "key": key, "seed": 1, "revision": 1}
    one = store.begin_round(**begin)
    arrive(2, first=10)
    process()
    store.commit_round(
        one.number, [{"number": 1, "count": 400, "share": 1.0}], particles=400, resolution=9, path="p"
    )
    pending = store.pending_particles(10.0, key)
    assert (pending.particles, pending.new, pending.last_round) == (600, 200, 1)
    dead = store.begin_round(**begin)
    store.release_running()
    with pytest.raises(ValueError, match="too late"):
        store.commit_round(dead.number, [], particles=600, resolution=None, path="p")
    two = store.begin_round(**begin)
    assert (two.number, two.previous, two.particles) == (3, 1, 600)
    assert two.batches == sorted(two.batches)
    assert two.batches[:4] == one.batches
    assert store.begin_round(**begin | {"max_particles": 150}).batches == two.batches[-2:]


def test_only_good_kept_and_current_micrographs_are_classified(store, arrive, process, settings):
    key = classify_key(settings)
    arrive(1)
    process()
    arrive(1, first=1)
    process(fit_resolution=12.0)
    arrive(1, first=2)
    process(fit_resolution=None, defocus_u=None, ctf_failed="no rings")
    arrive(2, first=3)
    process()
    store.exclude("m003")
    assert store.pending_particles(10.0, key, {"m004", "m003"}).micrographs == 1
    assert store.begin_round(ctf_max_resolution=10.0, key=key, seed=1, revision=1).names == ["m000", "m004"]
    store.reset_stages(settings.updated({"picking.radius": 60}))
    assert store.pending_particles(10.0, key).particles == 0


def test_other_settings_start_classification_over(store, arrive, process, settings):
    arrive(2)
    process()
    key, other = classify_key(settings), classify_key(settings.updated({"class2d.classes": 7}))
    one = store.begin_round(ctf_max_resolution=10.0, key=key, seed=1, revision=1)
    store.commit_round(one.number, [], particles=200, resolution=None, path="p")
    assert store.pending_particles(10.0, key).new == 0
    assert store.pending_particles(10.0, other).new == 200
    assert store.begin_round(ctf_max_resolution=10.0, key=other, seed=1, revision=2).previous is None


def test_settings_are_kept_once_and_applied_when_told(store, settings):
    other = settings.updated({"picking.radius": 60})
    assert [store.save_revision(s, "ada") for s in (settings, other, other)] == [1, 2, 2]
    store.apply_settings()
    third = store.save_revision(settings, "bob")
    assert store.applied_settings() == (2, other)
    assert store.latest_settings() == (third, settings)
    assert store.apply_settings() == (third, settings)


def test_results_of_an_older_epoch_are_refused(store, session, arrive, settings):
    arrive(1)
    (task,) = store.claim_tasks(1, "w", 1, settings)
    with Store(session.folder / "session.db") as newer:
        newer.take_lease(host="elsewhere", boot_id="b", pid=1, start_time=1)
    with pytest.raises(Fenced):
        store.commit_micrograph(task, {"particles": 1})
    with pytest.raises(Fenced):
        store.beat()
    assert len(session.micrographs) == 0
    store.epoch += 1


def test_a_failed_transaction_leaves_nothing(store):
    def half():
        with store.transaction():
            store.add_movies([{"name": "a", "source": "/a"}])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert store.movies() == []


def test_migrations_go_forward_one_by_one_and_refuse_the_future(tmp_path, monkeypatch):
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrate(connection)
    monkeypatch.setattr(
        "nextpyp_nb.session.schema.MIGRATIONS",
        (*MIGRATIONS, "CREATE TABLE extra(a); INSERT INTO extra VALUES (1)"),
    )
    migrate(connection)
    assert connection.execute("SELECT a FROM extra").fetchall() == [(1,)]
    monkeypatch.setattr(
        "nextpyp_nb.session.schema.MIGRATIONS",
        (*MIGRATIONS, "", "CREATE TABLE half(a); CREATE TABLE half(a)"),
    )
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    monkeypatch.setattr("nextpyp_nb.session.schema.MIGRATIONS", MIGRATIONS)
    with pytest.raises(RuntimeError, match="newer"):
        migrate(connection)
    connection.close()


def test_a_reader_cannot_write_and_serves_many_threads(store, session, arrive):
    reader = Reader(session.folder / "session.db")
    with pytest.raises(sqlite3.OperationalError, match=r"readonly|query_only"):
        reader.rows("DELETE FROM movie")
    counts = []

    def look():
        counts.extend(reader.value("SELECT COUNT(*) FROM movie") for _ in range(50))

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    arrive(20)
    for thread in threads:
        thread.join()
    assert len(counts) == 250
    assert set(counts) <= {0, 20}
    reader.close()


def test_a_closed_database_has_a_plain_journal_and_readers_follow(session, tmp_path):
    path = session.folder / "session.db"
    reader = Reader(path)
    before = reader.changes()
    reader.close()
    with Store(path) as store:
        store.log("x", "y")
    assert not path.with_name("session.db-wal").exists()
    assert Reader(path).changes() == before + 1
    assert session.version() > 0
    store = Store(path)
    store.log("x", "y")
    assert session.events()[0].code == "x"
    store.close()
    assert len(session.events()) == 2


def test_commands_are_noted_once(store):
    assert store.begin_command("u", "ada", "stop", {"track": None})
    assert not store.begin_command("u", "ada", "stop", {"track": None})
    assert json.loads(store._value("SELECT arguments FROM command")) == {"track": None}


def test_settings_that_change_while_a_movie_runs_are_seen_when_it_is_done(store, arrive, process, settings):
    arrive(1)
    store.apply_settings()
    (task,) = store.claim_tasks(1, "w", 1, settings)
    finer = settings.updated({"ctf.max_resolution": 2.8})
    store.save_revision(finer, "ada")
    store.apply_settings()
    assert store.reset_stages(finer)["ctf"] == 0
    store.commit_micrograph(task, {"particles": 1})
    assert [t.first_stage for t in process(finer, revision=2)] == ["ctf"]
    assert store.task_counts() == {"done": 1}


def test_claiming_from_a_long_queue_takes_no_more_steps(store, arrive, settings):
    def steps(claims=20):
        seen = []
        store._connection.set_progress_handler(lambda: seen.append(1), 10)
        for _ in range(claims):
            store.claim_tasks(1, "w", 1, settings)
        store._connection.set_progress_handler(None, 0)
        return len(seen)

    arrive(100)
    few = steps()
    with store.transaction():
        arrive(20_000)
    assert few > 0
    assert steps() < 2 * few
