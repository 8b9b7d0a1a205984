"""Marks of classes hold for what the class is, whatever its place; the rule follows the figures."""

import contextlib
import sqlite3

import pytest

from nextpyp_nb.session import Session, list_sessions
from nextpyp_nb.session.commands import apply
from nextpyp_nb.session.inbox import collect
from nextpyp_nb.session.schema import MIGRATIONS
from nextpyp_nb.session.stages import classify_key
from nextpyp_nb.settings import Site


@pytest.fixture
def told(store, session):
    """Give a command and carry it out as the runner does; returns the answer."""

    def told(receipt):
        waiting = collect(store, session.folder, owner=session.owner, group=None, site=Site())
        return apply(store, *waiting)

    return told


@pytest.fixture
def round_of(store, settings):
    """A round done, of classes (identity, count, resolution)."""

    def round_of(*classes, **told):
        begun = store.begin_round(ctf_max_resolution=10.0, key=classify_key(settings), seed=1, revision=1)
        total = sum(count for _, count, _ in classes)
        rows = [
            {"number": n, "identity": i, "count": count, "share": count / total, "resolution": resolution}
            for n, (i, count, resolution) in enumerate(classes, 1)
        ]
        store.commit_round(begun.number, rows, particles=total, resolution=8.0, path="p", **told)
        return begun

    return round_of


def accepted(session):
    table = session.classes.set_index("identity")["accepted"]
    return table.astype(object).where(table.notna(), None).to_dict()


def test_marks_follow_the_identity_through_rounds(store, session, told, round_of):
    round_of((0, 60, 9.0), (1, 30, 9.0), (2, 10, 9.0), new=100, annealed=True)
    assert told(session.accept_classes([0, 2])).ok
    assert told(session.reject_classes([1])).ok
    assert session.status().tracks["classify"].counts["accepted"] == 70
    begun = round_of((1, 80, 9.0), (3, 50, 9.0), (0, 70, 9.0), new=100, churn=0.25, annealed=False)
    assert begun.first_identity == 3
    assert accepted(session) == {1: 0, 3: None, 0: 1}
    assert session.status().tracks["classify"].counts["accepted"] == 70
    assert told(session.unmark_classes([0, 1])).ok
    assert accepted(session) == {1: None, 3: None, 0: None}
    answer = told(session.accept_classes([0, 7]))
    assert not answer.ok
    assert "no class of identity 7" in answer.message
    assert accepted(session)[0] is None


def test_the_rule_holds_at_once_and_marks_stand_above_it(session, told, round_of):
    round_of((0, 60, 9.0), (1, 30, 13.0), (2, 9, 9.0), (3, 1, None))
    assert told(session.set_class_rule("resolution<=12 & share>=0.05")).ok
    assert accepted(session) == {0: 1, 1: 0, 2: 1, 3: 0}
    told(session.reject_classes([0]))
    told(session.accept_classes([3]))
    assert accepted(session) == {0: 0, 1: 0, 2: 1, 3: 1}
    # The figures of the next round decide there.
    round_of((0, 60, 9.0), (1, 30, 11.0), (2, 1, 9.0), (3, 9, None))
    assert accepted(session) == {0: 0, 1: 1, 2: 0, 3: 1}
    assert session.class_history()["accepted"].tolist() == [10, 39]
    assert told(session.set_class_rule("!resolution<=12")).ok
    assert accepted(session)[1] == 0
    for wrong, words in (("resolution<", "expected a condition"), ("defocus>1", "no column 'defocus'")):
        answer = told(session.set_class_rule(wrong))
        assert not answer.ok
        assert words in answer.message
    assert told(session.set_class_rule(None)).ok
    assert accepted(session) == {0: 0, 1: None, 2: None, 3: 1}


def test_a_rule_needs_no_restart(store, session, told, settings):
    store.apply_settings()
    told(session.set_class_rule("share>=0.1"))
    assert session.status().revision == session.revision == 2
    assert classify_key(session.settings) == classify_key(settings)
    store.save_revision(session.settings.updated({"class2d.classes": 7}), "ada")
    assert (session.status().revision, session.revision) == (1, 3)


def test_history_tells_each_round_and_its_picture_while_it_is_kept(session, store, round_of):
    assert session.class_history().empty
    round_of((0, 60, 9.0), (1, 0, None), new=60, annealed=True)
    round_of((0, 90, 8.0), (1, 10, 20.0), new=40, churn=0.25, annealed=False)
    path = session.file("classes_picture", 2)
    path.parent.mkdir()
    path.write_bytes(b"jpeg")
    history = session.class_history()
    assert history["round"].tolist() == [1, 2]
    assert history["particles"].tolist() == [60, 100]
    assert history["classes"].tolist() == [1, 2]
    assert history["churn"].isna().tolist() == [True, False]
    assert history["picture"].tolist() == [None, path]
    store.clear_classes()
    assert session.class_history().empty


def test_excluded_particles_of_the_last_round_are_leaving(store, session, settings, arrive, process):
    key = classify_key(settings)
    arrive(3)
    process()
    begin = {"ctf_max_resolution": 10.0, "key": key, "seed": 1, "revision": 1}
    store.commit_round(store.begin_round(**begin).number, [], particles=300, resolution=None, path="p")
    store.exclude("m001")
    arrive(1, first=3)
    process()
    store.exclude("m003")
    pending = store.pending_particles(10.0, key)
    assert (pending.particles, pending.new, pending.leaving) == (200, 0, 100)
    assert session.status().tracks["classify"].counts["leaving"] == 100
    # What fell out of the newest so many is neither new nor excluded.
    store.exclude("m003", False)
    pending = store.pending_particles(10.0, key, max_particles=150)
    assert (pending.particles, pending.new, pending.leaving) == (200, 100, 100)
    begun = store.begin_round(**begin, max_particles=150)
    store.commit_round(begun.number, [], particles=200, resolution=None, path="p")
    assert store.pending_particles(10.0, key, max_particles=150).new == 0


@pytest.fixture
def first_schema(session):
    """The session as the first version left it, with one class."""
    settings = session.settings.model_dump_json()
    session.close()
    path = session.folder / "session.db"
    path.unlink()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
        connection.execute("INSERT INTO revision VALUES (1, 1.0, 'ada', ?, 'old')", (settings,))
        connection.execute("INSERT INTO round(number, state, record, key) VALUES (1, 'done', '[]', 'k')")
        connection.execute("INSERT INTO class VALUES (1, 2, 50, 0.5, 9.5, 0.8, 1)")
    return session.folder


def test_sessions_of_the_first_schema_keep_their_classes(first_schema):
    (listed,) = list_sessions(first_schema.parent)
    assert listed.runner == "stopped"
    opened = Session(first_schema)
    row = opened.classes.iloc[0]
    assert (row["number"], row["identity"], row["count"], row["resolution"]) == (2, -2, 50, 9.5)
    assert opened.accept_classes([-2]).wait().ok
    assert opened.class_history()["accepted"].tolist() == [50]
    assert opened.micrographs.empty
    opened.close()


def test_a_session_that_cannot_be_brought_up_to_date_says_what_to_do(first_schema, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        with pytest.raises(ValueError, match="once its owner has opened it"):
            Session(first_schema)
        patch.setattr("nextpyp_nb.session.older.runner_state", lambda _: "running")
        with pytest.raises(ValueError, match="stop it there first"):
            Session(first_schema)
    with contextlib.closing(sqlite3.connect(first_schema / "session.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(ValueError, match="newer nextpyp_nb"):
        Session(first_schema)
