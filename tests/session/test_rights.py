"""Three real accounts, owner, member and stranger (and a reader), over every command, file and page."""

import argparse
import contextlib
import grp
import importlib
import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from nextpyp_nb.bench.faults.accounts import as_account, become
from nextpyp_nb.bench.faults.pretend import pretend_session, run, write_movies
from nextpyp_nb.cli import _parser, main
from nextpyp_nb.session import commands, open_session, trash_session
from nextpyp_nb.session.inbox import collect, drop
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import read_site
from nextpyp_nb.views.app import App
from nextpyp_nb.views.late import Button

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become three other accounts")

OWNER, MEMBER, READER, STRANGER = 60111, 60112, 60113, 60114
GROUP = 100
# Arguments of each command that takes a session, and whether a member and a reader may give it.
COMMANDS = {
    "status": (["s"], True, True),
    "stop": (["s"], True, False),
    "start": (["s"], True, False),
    "restart": (["s", "--track", "preprocess"], True, False),
    "clear": (["s", "--track", "classify"], True, False),
    "cancel": (["s"], True, False),
    "set": (["s", "ctf.max_resolution=4"], True, False),
    "gain-set": (["s", "--convention", "relion", "--rotation", "1"], True, False),
    "export": (["s", "--out", "{home}/export"], True, True),
    "report": (["s", "--out", "{home}/report"], True, True),
    "run": (["s", "--until-idle"], False, False),
    "rebuild": (["s"], False, False),
    "serve-session": (["{root}/s"], False, False),
    "delete": (["s", "--yes", "s"], False, False),
    "new": (["s", "--data", "/d/*.tiff", "--pixel", "1", "--voltage", "300"], False, False),
    "copy": (["s", "another"], False, False),
}
# These take no session, or take one and then go on for ever.
OTHERS = (
    "list",
    "serve",
    "batch",
    "settings",
    "doctor",
    "demo",
    "class2d",
    "bench",
    "trash",
    "metadata",
    "gain-check",
    "hub-groups",
)


@pytest.fixture(scope="module")
def root():
    """A finished session of the owner, whose own umask would shut everybody out; a runner that answers."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    _load_everything(top / "first")
    (top / "camera").mkdir()
    write_movies(top / "camera", 2)
    for uid in (OWNER, MEMBER, READER, STRANGER):
        (top / str(uid)).mkdir(mode=0o700)
        os.chown(top / str(uid), uid, GROUP)
    (top / "sessions").mkdir()
    os.chown(top / "sessions", OWNER, GROUP)
    site = top / "site.toml"
    members = f'operators = ["{MEMBER}"]\nreaders = ["{READER}"]'
    site.write_text(f"[groups.{grp.getgrgid(GROUP).gr_name}]\n{members}\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("NEXTPYP_NB_SITE", str(site))
        assert as_account(OWNER, [GROUP], lambda: _made(top), umask=0o077) == 2
        runner = os.fork()
        if runner == 0:
            try:
                become(OWNER, [GROUP], 0o077)
                _answer_for_ever(top / "sessions")
            finally:
                os._exit(1)
        yield top / "sessions"
        os.kill(runner, 9)
        os.waitpid(runner, 0)
    shutil.rmtree(top)


def _load_everything(top):
    """The other accounts may not even read this Python: what they need must be loaded before."""
    for name in (
        "session.journal",
        "tracks.export",
        "tracks.report",
        "tracks.class2d_offline",
        "gain_commands",
    ):
        importlib.import_module(f"nextpyp_nb.{name}")
    write_movies(top / "camera", 1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("NEXTPYP_NB_SITE", os.devnull)
        session = pretend_session(top / "sessions", top / "camera")
        run(session)
        for page in (App("s", top / "sessions"), App(None, top / "sessions")):
            page.live.refresh()
            for tab in getattr(page.place.children[0], "tabs", ()):
                page.place.children[0].choose(tab)


@pytest.fixture(autouse=True)
def site(root, monkeypatch):
    """The site file of this session, not the empty one of the other tests."""
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(root.parent / "site.toml"))


def _made(top):
    session = pretend_session(top / "sessions", top / "camera", group=grp.getgrgid(GROUP).gr_name)
    run(session)
    return len(session.micrographs)


def _answer_for_ever(sessions):
    """A runner as far as commands go."""
    session = open_session("s", root=sessions)
    with Store(session.folder / "session.db") as store, acquire(store):
        while True:
            owner, group = session.owner, session.group
            for command in collect(store, session.folder, owner=owner, group=group, site=read_site()):
                if commands.apply(store, command) is None:
                    store.acknowledge(command.uuid, True, "obeyed")
            time.sleep(0.02)


def groups_of(uid):
    return [] if uid == STRANGER else [GROUP]


def typed(uid, root, *words):
    """The exit status of a command line and what it said, by an account."""

    def act():
        said = io.StringIO()
        home = root.parent / str(uid)
        os.environ["HOME"] = str(home)
        line = [word.format(home=home, root=root) for word in words]
        rooted = [] if line[0] == "serve-session" else ["--root", str(root)]
        done = {"micrographs": 2, "particles": 9, "path": line[-1], "text": "written"}
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            # Rights are looked at here, not images; the plans are made and read all of the session.
            patch("nextpyp_nb.tracks.export.export_session", lambda plan, report: done),
            patch("nextpyp_nb.tracks.report.write_report", lambda plan, report: done),
        ):
            try:
                code = main([line[0], *rooted, *line[1:]])
            except SystemExit as ended:
                code = ended.code
        return code, said.getvalue()

    code, said = as_account(uid, groups_of(uid), act)
    return code, said


def content(folder):
    """All files with what would show that someone touched them; what the living runner writes left out."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.startswith("session.db"):
            at = path.lstat()
            seen[str(path)] = (at.st_mode, at.st_uid, at.st_size, at.st_mtime_ns)
    return seen


def commanded(root):
    with contextlib.closing(open_session("s", root=root)) as session:
        return session._reader.value("SELECT COUNT(*) FROM command")


def test_every_command_that_takes_a_session_is_tried():
    actions = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(actions.choices) == set(COMMANDS) | set(OTHERS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_member_may_what_operators_may_and_a_stranger_nothing(root, name):
    arguments, member, reader = COMMANDS[name]
    before, commands_before = content(root), commanded(root)
    code, said = typed(STRANGER, root, name, *arguments)
    assert code != 0
    assert "Traceback" not in said
    assert str(STRANGER) in said or "there is a session s" in said, said
    code, said = typed(READER, root, name, *arguments)
    assert (code == 0) == reader, said
    assert "Traceback" not in said
    assert reader or str(READER) in said.splitlines()[-1] or "there is a session s" in said, said
    assert content(root) == before
    assert commanded(root) == commands_before
    code, said = typed(MEMBER, root, name, *arguments)
    assert (code == 0) == member, said
    assert "Traceback" not in said
    if not member:
        assert content(root) == before
    expected = name in ("stop", "start", "restart", "clear", "cancel", "set", "gain-set")
    assert commanded(root) - commands_before == expected


def test_the_list_shows_the_session_to_its_group_only(root):
    assert "s " in typed(MEMBER, root, "list")[1]
    assert str(OWNER) in typed(READER, root, "list")[1]
    assert str(OWNER) not in typed(STRANGER, root, "list")[1]


def test_only_the_owner_takes_out_of_the_trash_or_removes_for_ever(root):
    def throw_away():
        group = grp.getgrgid(GROUP).gr_name
        pretend_session(root, root.parent / "camera", "gone", group=group).close()
        return str(trash_session("gone", confirm="gone", root=root).folder)

    folder = Path(as_account(OWNER, [GROUP], throw_away, umask=0o077))
    for what in ("--restore", "--remove"):
        for uid in (STRANGER, READER, MEMBER):
            code, said = typed(uid, root, "trash", what, "gone")
            assert (code, folder.exists()) == (1, True)
            assert "refused" in said or "no session gone is in the trash" in said
    assert typed(OWNER, root, "trash", "--restore", "gone")[0] == 0
    assert typed(OWNER, root, "delete", "gone", "--yes", "gone")[0] == 0
    assert not (root / "gone").exists()


def test_every_file_is_read_by_the_group_written_by_the_owner_and_shut_to_strangers(root):
    paths = [root / "s", *(root / "s").rglob("*")]
    assert len([path for path in paths if path.suffix == ".tiff"]) == 2

    def tried():
        may = {}
        for path in paths:
            reads, writes = (os.access(path, how) for how in (os.R_OK, os.W_OK))
            may[str(path.relative_to(root))] = f"{'r' * reads}{'w' * writes}"
        return may

    owner, member, stranger = (as_account(uid, groups_of(uid), tried) for uid in (OWNER, MEMBER, STRANGER))
    assert set(owner.values()) == {"rw"}
    assert set(stranger.values()) == {""}
    assert {path for path, may in member.items() if may == "rw"} == {"s/inbox"}
    assert {path for path, may in member.items() if may == ""} == {"s/runner.lock"}


def test_a_member_cannot_borrow_the_owners_rights(root):
    """Programs and places that the runner would run, read or write as the owner."""
    secret, settings = root.parent / str(OWNER), open_session("s", root=root).settings
    wanted = [
        ("save_settings", {"settings": settings.updated(changes).model_dump()})
        for changes in (
            {"raw_data.location": f"{secret}/*.tiff"},
            {"raw_data.location": "owner@elsewhere:/data/*.tiff", "transfer.operation": "copy"},
            {"gain.reference": f"{secret}/gain.mrc"},
            {"picking.method": "plug-in", "picking.plugin": "evil.py:pick"},
        )
    ]
    wanted += [
        ("try_out", {"micrograph": "m", "changes": {"gain_reference": f"{secret}/gain.mrc"}}),
        ("export", {"out": str(secret / "export"), "filter": None, "options": {}}),
        ("export", {"out": str(root / "s" / "exports" / ".." / "raw"), "filter": None, "options": {}}),
        ("report", {"out": str(secret / "report")}),
    ]

    def ask():
        return [str(drop(root / "s", name, arguments).wait(10)) for name, arguments in wanted]

    for answer in as_account(MEMBER, [GROUP], ask):
        assert "ok=False" in answer
        assert "refused: 60112" in answer, answer
    allowed = [
        ("export", {"out": str(root / "s" / "exports" / "mine"), "filter": None, "options": {}}),
        ("save_settings", {"settings": settings.updated({"ctf.max_resolution": 5}).model_dump()}),
    ]
    wanted[:] = allowed
    assert all("ok=True" in answer for answer in as_account(MEMBER, [GROUP], ask))


def test_a_folder_that_a_member_leaves_in_the_inbox_leads_nowhere(root):
    """The runner puts strange files aside as the owner: never to where a member's link points."""
    target = root.parent / str(OWNER) / "startup"
    as_account(OWNER, [GROUP], target.mkdir)
    inbox = root / "s" / "inbox"

    def plant():
        (inbox / "refused").symlink_to(target)
        (inbox / "evil.py").write_text("print('run by the owner')")
        (inbox / "folder").mkdir(mode=0o755)
        until = time.monotonic() + 10
        while time.monotonic() < until and any(p.name[0] != "." for p in inbox.iterdir()):
            time.sleep(0.05)
        return sorted(p.name[0] for p in inbox.iterdir())

    left = as_account(MEMBER, [GROUP], plant)
    assert set(left) <= {"."}
    assert list(target.iterdir()) == []
    assert {p.name.partition("-")[2] for p in (root / "s" / "refused").iterdir()} >= {"refused", "evil.py"}
    shutil.rmtree(root / "s" / "refused")
    for path in inbox.iterdir():
        path.rmdir()


def test_a_command_that_waits_is_nobody_elses_to_take_away(root):
    """Of a session without a runner; the reader is of the same group, and could write into the inbox."""

    def make():
        group = grp.getgrgid(GROUP).gr_name
        pretend_session(root, root.parent / "camera", "still", group=group).close()

    def spoil(path):
        refused = 0
        for act in (path.unlink, lambda: path.rename(path.with_name("x")), lambda: path.write_text("{}")):
            try:
                act()
            except PermissionError:
                refused += 1
        return refused

    def take():
        with Store(root / "still" / "session.db") as store, acquire(store):
            group = grp.getgrgid(GROUP).gr_name
            taken = collect(store, root / "still", owner=str(OWNER), group=group, site=read_site())
            return [command.name for command in taken], sorted((root / "still" / "inbox").iterdir())

    as_account(OWNER, [GROUP], make, umask=0o077)
    number = as_account(MEMBER, [GROUP], lambda: drop(root / "still", "stop", {}).uuid)
    path = root / "still" / "inbox" / f"{number}.json"
    assert as_account(READER, [GROUP], lambda: spoil(path)) == 3
    assert as_account(STRANGER, [], lambda: spoil(path)) == 3
    commands_taken, left = as_account(OWNER, [GROUP], take)
    assert (commands_taken, left) == (["stop"], [])
    assert typed(OWNER, root, "delete", "still", "--yes", "still")[0] == 0


def buttons(widget):
    """All buttons below a widget, hidden and disabled ones too."""
    found = [widget] if isinstance(widget, Button) else []
    for child in getattr(widget, "children", ()):
        found += buttons(child)
    return found


def pressed(root, uid, only=None):
    """How many buttons of all pages (or one) the account pressed, and what was said at the first look."""

    def act():
        os.environ["HOME"] = str(root.parent / str(uid))
        app = App("s", root)
        said = str(app.banner.error or "")
        pages = app.place.children[0]
        count = 0
        if hasattr(pages, "tabs"):
            app.live.refresh()
            for tab in [only] if only else pages.tabs:
                pages.choose(tab)
                app.live.refresh()
            for one in buttons(pages.pages[only] if only else pages):
                one.disabled = False
                one.click()
                count += 1
        return count, said

    return as_account(uid, groups_of(uid), act)


def test_no_button_of_any_page_does_what_a_reader_may_not(root):
    before, count = content(root), commanded(root)
    count_pressed, said = pressed(root, STRANGER)
    assert (count_pressed, "60114 may not read session s" in said) == (0, True)
    assert pressed(root, READER)[0] > 50
    assert content(root) == before
    assert commanded(root) == count
    assert pressed(root, MEMBER, only="Operation")[0] > 5
    assert commanded(root) > count
