"""Commands are taken once, and hostile files come to nothing."""

import json
import os
import threading
import time
import uuid

import pytest

from nextpyp_nb.session import commands
from nextpyp_nb.session.groups import user_name
from nextpyp_nb.session.inbox import LARGEST, collect, drop
from nextpyp_nb.settings import Site

ME = user_name()


def take(store, session, site=None):
    return collect(store, session.folder, owner=ME, group=None, site=site or Site())


def test_commands_come_in_order_and_once(store, session):
    for number in range(5):
        drop(session.folder, "stop", {"track": "transfer", "n": number})
        time.sleep(0.002)
    taken = take(store, session)
    assert [command.arguments["n"] for command in taken] == list(range(5))
    assert {command.actor for command in taken} == {ME}
    assert take(store, session) == []
    assert list((session.folder / "inbox").iterdir()) == []


def test_a_file_that_comes_back_is_not_taken_again(store, session):
    receipt = drop(session.folder, "stop", {})
    path = session.folder / "inbox" / f"{receipt.uuid}.json"
    content = path.read_text()
    assert len(take(store, session)) == 1
    path.write_text(content)
    assert take(store, session) == []


def test_the_answer_reaches_who_asked(store, session):
    receipt = drop(session.folder, "save_filter", {"name": "good", "expression": "fit_resolution<=6"})
    assert "has not answered" in receipt.wait(0.05).message

    def run():
        for command in take(store, session):
            commands.apply(store, command)

    runner = threading.Timer(0.1, run)
    runner.start()
    ack = receipt.wait(5)
    runner.join()
    assert (ack.ok, ack.message) == (True, "Filter good is saved.")
    assert session.filters == {"good": "fit_resolution<=6"}


def hostile(inbox):
    """Things that anyone of the group may put there."""
    number = str(uuid.uuid4())
    good = {"uuid": number, "name": "cancel", "arguments": {}}
    (inbox / f"{uuid.uuid4()}.json").write_text(json.dumps(good))
    (inbox / f"{uuid.uuid4()}.json").write_text("{")
    (inbox / f"{uuid.uuid4()}.json").write_text("[" * 100_000)
    (inbox / f"{uuid.uuid4()}.json").write_bytes(b"\xff\xfe\x00")
    (inbox / f"{uuid.uuid4()}.json").write_text(" " * (LARGEST + 1))
    (inbox / f"{number}.json").write_text(json.dumps(good | {"arguments": [1]}))
    (inbox / "<img src=x>.json").write_text("{}")
    (inbox / f"{uuid.uuid4()}.json").mkdir()
    (inbox / f"{uuid.uuid4()}.json").symlink_to("/etc/passwd")
    os.mkfifo(inbox / f"{uuid.uuid4()}.json")
    linked = str(uuid.uuid4())
    (inbox.parent / "mine").write_text(json.dumps(good | {"uuid": linked}))
    (inbox / f"{linked}.json").hardlink_to(inbox.parent / "mine")
    return 11


def test_hostile_files_are_put_aside_with_a_reason(store, session):
    count = hostile(session.folder / "inbox")
    good = drop(session.folder, "stop", {})
    assert [command.uuid for command in take(store, session)] == [good.uuid]
    refused = list((session.folder / "refused").iterdir())
    assert len(refused) == count
    assert sum(event.code == "command_refused" for event in session.events()) == count


def test_only_a_service_speaks_for_others(store, session):
    drop(session.folder, "stop", {}, actor="ada")
    assert take(store, session)[0].actor == ME
    drop(session.folder, "stop", {}, actor="ada")
    drop(session.folder, "stop", {}, actor="eve")
    site = Site(service_accounts=(ME,), groups={"beam": {"operators": ("ada",)}})
    taken = collect(store, session.folder, owner="owner", group="beam", site=site)
    assert [command.actor for command in taken] == ["ada"]
    assert "eve is not a member of the group" in session.events()[0].text


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("save_settings", {"settings": {"motion": {"first_frame": -5}}}, "first_frame"),
        ("save_settings", {}, "settings"),
        ("exclude", {"movie": "nobody"}, "no movie 'nobody'"),
        ("ignore", {"movie": ["x"]}, ""),
        ("save_filter", {"name": "f", "expression": "import os"}, "expected a condition"),
        ("format_disk", {}, "no command 'format_disk'"),
        ("mark_classes", {"identities": [3], "accepted": True}, "no class of identity 3"),
    ],
)
def test_wrong_commands_are_answered_not_obeyed(store, session, name, arguments, words):
    drop(session.folder, name, arguments)
    (command,) = take(store, session)
    ack = commands.apply(store, command)
    assert not ack.ok
    assert words in ack.message


def test_a_command_that_a_leaving_runner_missed_launches_another(session, monkeypatch):
    launched = []
    monkeypatch.setattr("nextpyp_nb.session.inbox.launch_runner", launched.append)
    drop(session.folder, "start", {}, relaunch=True).wait(0.2)
    assert launched == [session.folder]
    drop(session.folder, "stop", {}).wait(0.1)
    assert launched == [session.folder]


@pytest.mark.parametrize(("actor", "taken"), [("ada", 0), (ME, 1)])
def test_only_owners_name_a_plugin_or_a_scheduler_since_they_run_as_the_owner(
    store, session, settings, actor, taken
):
    site = Site(service_accounts=(ME,), groups={"beam": {"operators": ("ada",)}})
    named = settings.updated({"picking.plugin": "evil.py:pick"}).model_dump()
    drop(session.folder, "save_settings", {"settings": named}, actor)
    got = collect(store, session.folder, owner=ME, group="beam", site=site)
    changes = {"picking.method": "plug-in", "picking.plugin": "evil.py:pick"}
    drop(session.folder, "try_out", {"micrograph": "m", "changes": changes}, actor)
    got += collect(store, session.folder, owner=ME, group="beam", site=site)
    elsewhere = settings.updated(
        {"resources.engine": "dask", "resources.address": "tcp://evil:8786"}
    ).model_dump()
    drop(session.folder, "save_settings", {"settings": elsewhere}, actor)
    got += collect(store, session.folder, owner=ME, group="beam", site=site)
    assert len(got) == 3 * taken
    drop(session.folder, "save_settings", {"settings": settings.model_dump()}, actor)
    assert len(collect(store, session.folder, owner=ME, group="beam", site=site)) == 1
