"""Who may read and who may command: by table, and with three real accounts."""

import grp
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from nextpyp_nb.bench.faults.accounts import as_account
from nextpyp_nb.session import create_session, delete_session, open_session
from nextpyp_nb.session.groups import _written_groups, known_group, may, role
from nextpyp_nb.session.inbox import collect
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Site, read_site

SITE = Site(
    admins=("root-of-lab",),
    groups={"beam": {"operators": ("ada",), "readers": ("bob",)}},
)
OWNER, OPERATOR, READER, STRANGER = 60101, 60102, 60103, 60104
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become three other accounts")


@pytest.mark.parametrize(
    ("user", "expected"),
    [("eva", "owner"), ("root-of-lab", "admin"), ("ada", "operator"), ("bob", "reader"), ("zoe", "none")],
)
def test_roles(user, expected):
    assert role(user, "eva", "beam", SITE) == expected


def test_without_a_group_a_session_is_its_owners():
    assert role("ada", "eva", None, SITE) == "none"
    assert role("ada", "eva", "no-such-group", SITE) == "none"


def test_groups_of_the_hub_are_what_its_file_says(tmp_path):
    file = tmp_path / "hub.json"
    roles = {"beam": {"operators": ("@team",), "readers": ("@scientists", "bob")}}
    site = Site(groups=roles, hub_groups=file)
    _written_groups.cache_clear()
    assert role("ada", "eva", "beam", site) == "none"
    file.write_text(json.dumps({"team": ["ada"], "scientists": ["ada", "sue"], "root": ["zoe"]}))
    _written_groups.cache_clear()
    found = {user: role(user, "eva", "beam", site) for user in ("ada", "sue", "bob", "zoe", "@team")}
    assert found == {"ada": "operator", "sue": "reader", "bob": "reader", "zoe": "none", "@team": "none"}
    # Alone its members operate; what the hub calls so is not the group of the machine.
    assert role("ada", "eva", "team", site) == "operator"
    assert role("zoe", "eva", "root", site) == "operator"
    assert role("root", "eva", "root", site) == "none"
    assert role("root", "eva", "root", Site()) == "operator"
    assert known_group("team", site)
    assert not known_group("team", Site())


def test_what_roles_may():
    commands = ("start", "stop", "restart", "clear", "cancel", "save_settings", "exclude", "export")
    assert all(may(who, what) for who in ("operator", "admin", "owner") for what in commands)
    assert not any(may(who, what) for who in ("reader", "none") for what in (*commands, "delete"))
    assert [who for who in ("operator", "admin", "owner") if may(who, "delete")] == ["admin", "owner"]


@pytest.fixture
def shared(monkeypatch, settings):
    """A session of one account in a real group, with an operator and a reader by the site file."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    group = grp.getgrgid(100)
    root = top / "sessions"
    root.mkdir()
    os.chown(root, OWNER, 100)
    root.chmod(0o755)
    site = top / "site.toml"
    site.write_text(f'[groups.{group.gr_name}]\noperators = ["{OPERATOR}"]\nreaders = ["{READER}"]\n')
    site.chmod(0o644)
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(site))
    made = as_account(
        OWNER, [100], lambda: create_session("s", settings=settings, root=root, group=group.gr_name).owner
    )
    assert made == str(OWNER)
    yield root
    shutil.rmtree(top)


def runner_takes(root):
    """The owner's runner for a moment: the commands it takes, by name and actor."""

    def run():
        session = open_session("s", root=root)
        with Store(session.folder / "session.db") as store:
            taken = collect(store, session.folder, owner=session.owner, group=session.group, site=read_site())
        return [(command.name, command.actor) for command in taken]

    return as_account(OWNER, [100], run)


@needs_root
def test_an_operator_commands_and_a_reader_only_reads(shared):
    dropped = as_account(OPERATOR, [100], lambda: open_session("s", root=shared).stop().uuid)
    assert "Error" not in dropped
    assert runner_takes(shared) == [["stop", str(OPERATOR)]]
    assert as_account(READER, [100], lambda: open_session("s", root=shared).status().runner) == "stopped"
    refused = as_account(READER, [100], lambda: open_session("s", root=shared).stop().uuid)
    assert refused == f"PermissionError: stop refused: {READER} may look at this session, not change it"


@needs_root
def test_a_reader_who_forges_a_file_is_refused_by_the_runner(shared):
    """The folder of the inbox is open to the whole POSIX group: the runner looks who wrote."""
    from nextpyp_nb.session.inbox import drop

    def forge():
        return drop(shared / "s", "cancel", {}, actor=str(OWNER)).uuid

    assert "Error" not in as_account(READER, [100], forge)
    assert runner_takes(shared) == []
    events = as_account(OWNER, [100], lambda: [e.text for e in open_session("s", root=shared).events()])
    assert events == [f"cancel refused: {READER} may look at this session, not change it"]


@needs_root
def test_a_stranger_sees_nothing(shared):
    answer = as_account(STRANGER, [], lambda: open_session("s", root=shared).name)
    assert answer.startswith(f"PermissionError: {STRANGER} may not read session s")


@needs_root
def test_only_the_owner_deletes_and_starts_a_dead_runner(shared):
    answer = as_account(OPERATOR, [100], lambda: delete_session("s", confirm="s", root=shared))
    assert (
        answer
        == f"PermissionError: delete refused: {OPERATOR} may operate this session; this is for its owner"
    )
    answer = as_account(OPERATOR, [100], lambda: open_session("s", root=shared).start().uuid)
    assert answer.endswith(f"only its owner {OWNER} may start a runner")
    assert list((shared / "s" / "inbox").iterdir()) == []
    assert as_account(OWNER, [100], lambda: delete_session("s", confirm="s", root=shared)) is None
    assert not (shared / "s").exists()


@needs_root
@pytest.mark.parametrize("watched", [False, True])
def test_a_reader_reads_whatever_way_the_runner_went(shared, watched):
    """Alive, closed in order (with a panel open or not), and killed."""
    path = shared / "s" / "session.db"

    def read():
        return open_session("s", root=shared).events()[0].code

    def leave(code, how):
        def act():
            panel = open_session("s", root=shared) if watched else None
            store = Store(path)
            store.log(code, "x")
            if panel:
                panel.status()
            how(store)
            return code

        return act

    assert as_account(OWNER, [100], leave("closed", Store.close)) == "closed"
    assert as_account(READER, [100], read) == "closed"

    assert as_account(OWNER, [100], leave("killed", lambda store: os._exit(9))) is None
    assert as_account(READER, [100], read) == "killed"


@needs_root
def test_folders_have_the_modes_that_keep_groups_apart(shared):
    folder = shared / "s"
    modes = {name: (folder / name).stat().st_mode & 0o7777 for name in ("", "inbox", "raw", "session.db")}
    assert modes == {"": 0o2750, "inbox": 0o3770, "raw": 0o2750, "session.db": 0o640}
    assert {(folder / name).stat().st_gid for name in modes} == {100}
