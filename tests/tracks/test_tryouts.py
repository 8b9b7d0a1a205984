"""Try-outs: other settings on one micrograph, beside the session's results; refused, expired, cleaned up."""

import asyncio
import shutil
import time
import uuid
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nextpyp_nb.engine.inline import Inline
from nextpyp_nb.engine.task import Killed, Task
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.session.inbox import collect
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.session.tryouts import KEPT, LIFETIME, RUNNER_ENDED, read_tryout, sweep_tryouts, write_record
from nextpyp_nb.settings import SettingsError, Site
from nextpyp_nb.tracks.commands import Commands
from nextpyp_nb.tracks.engines import Workers
from nextpyp_nb.tracks.runner import run_session
from nextpyp_nb.tracks.track import Live
from nextpyp_nb.tracks.tryouts import TryOuts

MADE = ("micrographs", "previews", "motion", "ctf", "picks")


@pytest.fixture(scope="module")
def processed(settings, tmp_path_factory):
    made = create_session("s", settings=settings, root=tmp_path_factory.mktemp("sessions"))
    assert asyncio.run(run_session(made.folder, until_idle=True, signals=False)) == 0
    return made.folder


@pytest.fixture
def session(processed, tmp_path):
    """Three micrographs, processed, and nothing runs."""
    return Session(shutil.copytree(processed, tmp_path / "s", symlinks=True))


@pytest.fixture
def runner(session):
    """What carries out commands of ``session``, on an engine in this process."""
    with Store(session.folder / "session.db") as store:
        made = made_runner(session, store)
        yield made
        if made.lease is not None:
            released(made)


def made_runner(session, store):
    lease = acquire(store)
    revision, settings = store.applied_settings()
    live = Live(session.folder, store, None, settings, revision)
    engine = Inline()
    tryouts = TryOuts(live, Workers(engine, gpus=0, threads=1), epoch=lease.epoch)
    made = SimpleNamespace(store=store, lease=lease, live=live, tracks={}, tryouts=tryouts, engine=engine)
    made.commands = Commands(made)
    return made


def released(runner):
    runner.lease.release()
    runner.lease = None


def obey(runner, session, *, work=True):
    """Carry out what waits in the inbox, and what that gives the engine to do."""

    async def carried_out():
        for command in collect(runner.store, session.folder, owner=session.owner, group=None, site=Site()):
            await runner.commands.obey(command)
        if work and runner.commands.busy():
            async for task, outcome in runner.engine.events():
                assert runner.commands.take(task, outcome)
                if not runner.commands.busy():
                    break

    asyncio.run(carried_out())


def contents(folder):
    files = [path for kind in MADE for path in sorted((folder / kind).iterdir())]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def arrays(path):
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"picking.threshold": 6.0}, ("picking",)),
        ({"ctf_max_res": "5"}, ("ctf", "picking")),
        ({"motion.method": "none", "picking.radius": 60}, ("motion", "ctf", "picking")),
    ],
)
def test_it_gives_what_the_session_gives_once_promoted(session, runner, changes, stages):
    name, before = session.micrographs["name"].iloc[1], contents(session.folder)
    receipt = session.try_out(name, changes)
    assert session.tryout(receipt.uuid).state == "queued"
    obey(runner, session)
    assert receipt.wait(1).ok
    found = session.tryout(receipt.uuid)
    assert (found.state, found.stages, found.micrograph) == ("done", stages, name)
    assert session.tryouts(name) == [found]
    assert session.tryouts("another") == []
    assert contents(session.folder) == before
    assert found.file("preview").read_bytes()
    entry = found.entry(session.micrograph(name))

    assert session.promote(found.id).wait(0.1).ok is False
    obey(runner, session)
    assert session.revision == 2
    assert all(session.settings.flat()[key] == value for key, value in found.changes.items())
    released(runner)
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False)) == 0
    row = session.micrograph(name)
    for column in ("defocus", "fit_resolution", "total_motion", "particles", "pick_threshold"):
        assert entry[column] == row[column]
    for kind in ("picks", "ctf"):
        ours, theirs = arrays(found.file(kind)), arrays(session.file(kind, name))
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_a_stopped_session_starts_a_worker_and_stops_again(session):
    name = session.micrographs["name"].iloc[0]
    receipt = session.try_out(name, {"picking.radius": 60})
    until = time.monotonic() + 300
    while time.monotonic() < until and session.tryout(receipt.uuid).state not in ("done", "failed"):
        time.sleep(0.1)
    assert session.tryout(receipt.uuid).reason == ""
    assert session.tryout(receipt.uuid).row["particles"] > 0
    while time.monotonic() < until and session.status().runner != "stopped":
        time.sleep(0.1)
    assert session.status().runner == "stopped"


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("nobody", {"picking.radius": 60}, "no movie 'nobody'"),
        ("../s", {"picking.radius": 60}, "no movie '../s'"),
        (None, {}, "with just these settings"),
        (None, {"class2d.classes": 7}, "with just these settings"),
        (None, {"picking.method": "template"}, "give the stack of class averages"),
    ],
)
def test_what_cannot_be_tried_is_answered_and_leaves_nothing(session, runner, name, changes, said):
    receipt = session.try_out(name or session.micrographs["name"].iloc[0], changes)
    obey(runner, session)
    answer = receipt.wait(1)
    assert not answer.ok
    assert said in answer.message
    assert session.tryout(receipt.uuid).state == "failed"
    assert said in session.tryout(receipt.uuid).reason
    assert not any((session.folder / "tryout").iterdir())


def test_settings_that_cannot_be_are_refused_by_name_at_once(session):
    with pytest.raises(SettingsError, match=r"picking\.radius"):
        session.try_out("m", {"picking.radius": "wide"})
    for number in ("../../etc", "0"):
        with pytest.raises(ValueError, match="expected the number"):
            session.tryout(number)
    with pytest.raises(KeyError, match="expired"):
        session.tryout(str(uuid.uuid4()))


def test_a_failure_has_a_reason_and_leaves_no_files(session, runner):
    name = session.micrographs["name"].iloc[0]
    receipt = session.try_out(name, {"picking.method": "import", "picking.source": "/none.star"})
    obey(runner, session)
    found = session.tryout(receipt.uuid)
    assert (found.state, found.row) == ("failed", {})
    assert "/none.star" in found.reason
    assert [path.name for path in found.folder.iterdir()] == ["record.json"]
    with pytest.raises(ValueError, match="is failed, expected one that is done"):
        session.promote(found.id)
    receipt = session.try_out(name, {"picking.radius": 60})
    obey(runner, session, work=False)
    assert runner.commands.take(Task(id=receipt.uuid, function="", payload={}), Killed(reason="signal 9"))
    assert session.tryout(receipt.uuid).reason == "the worker ended: signal 9"


def test_what_a_killed_runner_left_is_ended_and_debris_goes(session, runner):
    receipt = session.try_out(session.micrographs["name"].iloc[0], {"picking.radius": 60})
    obey(runner, session, work=False)
    found = session.tryout(receipt.uuid)
    assert found.file("average").is_file()
    (found.folder / "picks" / ".half.tmp").write_bytes(b"half")
    debris = found.folder.with_name(str(uuid.uuid4()))
    (debris / "micrographs").mkdir(parents=True)
    released(runner)
    with Store(session.folder / "session.db") as store:
        made_runner(session, store).lease.release()
    assert session.tryout(receipt.uuid).reason == RUNNER_ENDED
    assert [path.name for path in (session.folder / "tryout").iterdir()] == [receipt.uuid]
    assert [path.name for path in found.folder.iterdir()] == ["record.json"]
    assert session.file("average", found.micrograph).stat().st_nlink == 1


def test_they_expire_by_age_and_by_number(session, runner):
    receipt = session.try_out(session.micrographs["name"].iloc[0], {"picking.threshold": 6.0})
    obey(runner, session)
    first = session.tryout(receipt.uuid)
    for place in range(KEPT + 3):
        other = str(uuid.UUID(int=place))
        later = replace(first, id=other, finished=first.finished + 1 + place)
        write_record(session.folder, later)
    sweep_tryouts(session.folder, ())
    left = {path.name for path in (session.folder / "tryout").iterdir()}
    assert left == {str(uuid.UUID(int=place)) for place in range(3, KEPT + 3)}
    old = replace(later, finished=time.time() - LIFETIME - 1)
    write_record(session.folder, old)
    assert old.id not in [t.id for t in session.tryouts()]
    with pytest.raises(KeyError):
        session.tryout(old.id)
    sweep_tryouts(session.folder, ())
    assert read_tryout(session.folder, old.id) is None


def test_clear_takes_them_along(session, runner):
    receipt = session.try_out(session.micrographs["name"].iloc[0], {"picking.threshold": 6.0})
    obey(runner, session)
    released(runner)
    assert session.tryout(receipt.uuid).folder.is_dir()
    assert session.clear("preprocess").wait(1).ok
    assert not any((session.folder / "tryout").iterdir())
