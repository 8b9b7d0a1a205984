"""The command line: every command, and what it says to wrong input."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from nextpyp_nb import cli
from nextpyp_nb.doctor import checks
from nextpyp_nb.formats.star import read_star
from nextpyp_nb.session import open_session
from nextpyp_nb.session.inbox import Ack
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.session import Session
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Site
from nextpyp_nb.simulate import Microscope

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def site(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("site") / "site.toml"
    path.write_text("")
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(path))


@pytest.fixture
def nextpyp(tmp_path, capsys):
    """Runs a command below one root; gives exit code and what was said, with no traceback ever."""

    def run(*arguments, root=tmp_path / "sessions"):
        words = [str(word) for word in arguments]
        rooted = [] if not words or words[0] in ("settings", "doctor") else ["--root", str(root)]
        try:
            code = cli.main(words + rooted)
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


@pytest.fixture
def grid(nextpyp):
    """A session by the name of grid1 that waits for a folder."""
    assert nextpyp(*NEW)[0] == 0
    return "grid1"


NEW = ("new", "grid1", "--data", "/none/*.tiff", "--pixel", "1.3", "--voltage", "300")


def one_sentence(answer, *words):
    code, _, err = answer
    assert code != 0
    lines = err.strip().splitlines()
    assert len(lines) == 1 or lines[0].startswith("usage:")
    for word in words:
        assert word in lines[-1]
    return True


def test_new_takes_our_names_and_those_of_nextpyp(nextpyp, tmp_path):
    chosen = ("--set", "detect_rad=75", "--set", "class2d.classes=12", "--gain", "gain.mrc")
    code, out, _ = nextpyp(*NEW, *chosen)
    assert code == 0
    assert f"Session grid1 is at {tmp_path}/sessions/grid1" in out
    assert "There is no folder /none yet" in out
    assert f"There is no file {Path.cwd()}/gain.mrc yet" in out
    settings = open_session("grid1", root=tmp_path / "sessions").settings
    assert (settings.picking.radius, settings.picking.method) == (75, "auto")
    assert (settings.class2d.classes, settings.raw_data.location) == (12, "/none/*.tiff")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new",), ("NAME", "--data")),
        (NEW[:4], ("microscope.pixel_size", "missing", "microscope.voltage")),
        ((*NEW[:4], "--voltage", "300"), ("microscope.pixel_size: missing: give the pixel size",)),
        ((*NEW[:5], "abc", *NEW[6:]), ("microscope.pixel_size", "'abc'", "a number")),
        ((*NEW[:5], "100", *NEW[6:]), ("got 100 Å, expected 0.05 to 20 Å",)),
        ((*NEW, "--set", "detect_rad"), ("'detect_rad'", "NAME=value")),
        ((*NEW, "--set", "detekt_rad=3"), ("detekt_rad", "unknown setting", "nextpyp-nb settings")),
        ((*NEW, "--set", "detect_rad=-5"), ("picking.radius: got -5 Å, expected",)),
        ((*NEW, "--set", "motion.nope=1", "--set", "ctf.box=x"), ("motion.nope", "ctf.box")),
        ((NEW[0], "../grid1", *NEW[2:]), ("'../grid1'", "letters")),
        ((NEW[0], "", *NEW[2:]), ("session name ''",)),
        ((*NEW[:3], "/d/a.tiff", "/d/b.tiff", "/d/c.tiff", *NEW[4:]), ("/d/b.tiff", "1 more", "quotes")),
        (("run", "nobody"), ("no session nobody", "there is none yet")),
        (("frobnicate",), ("frobnicate", "start")),
        ((), ("COMMAND",)),
    ],
)
def test_wrong_input_is_one_sentence_and_makes_nothing(nextpyp, tmp_path, arguments, words):
    assert one_sentence(nextpyp(*arguments), *words)
    assert not (tmp_path / "sessions" / "grid1").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (NEW, ("there is a session grid1", "choose another name")),
        (("status", "gird1"), ("no session gird1", "did you mean grid1?")),
        (("set", "grid1", "voltage=9999"), ("voltage", "unknown setting")),
        (("set", "grid1", "microscope.voltage=9999"), ("got 9999 kV, expected 40 to 1300 kV",)),
        (("set", "grid1", "picking.method=magic"), ("'magic'", "expected one of", "auto")),
        (("clear", "grid1", "--track", "coffee"), ("'coffee'", "preprocess")),
        (("export", "grid1", "--out", "o"), ("nothing to export",)),
        (("export", "grid1"), ("--out",)),
        (("copy", "grid1"), ("NEW",)),
        (("copy", "grid1", "grid1"), ("there is a session grid1",)),
        (("delete", "grid1", "--yes", "grid2"), ("'grid2'", "type the session's name")),
    ],
)
def test_wrong_input_to_a_session_is_one_sentence(nextpyp, grid, arguments, words):
    assert one_sentence(nextpyp(*arguments), *words)


def test_set_saves_a_revision_and_status_tells_it(nextpyp, grid, tmp_path):
    code, out, _ = nextpyp("set", grid, "scope_wgh=0.07", "class2d.first=100")
    assert code == 0
    assert "revision 2" in out
    settings = open_session(grid, root=tmp_path / "sessions").settings
    assert (settings.microscope.amplitude_contrast, settings.class2d.first) == (0.07, 100)
    code, out, _ = nextpyp("status", grid, "--json")
    found = json.loads(out)
    assert (code, found["name"], found["runner"], found["revision"]) == (0, grid, "stopped", 2)
    assert list(found["tracks"]) == ["transfer", "preprocess", "classify"]
    assert "runner stopped" in nextpyp("status", grid)[1]


def test_stop_cancel_and_clear_are_answered_when_nothing_runs(nextpyp, grid):
    assert nextpyp("stop", grid) == (0, "Nothing runs.\n", "")
    assert nextpyp("stop", grid, "--track", "classify")[0] == 0
    assert nextpyp("cancel", grid) == (0, "Nothing runs.\n", "")
    assert "0 micrographs cleared" in nextpyp("clear", grid, "--track", "preprocess")[1]


def test_start_and_restart_tell_the_track_and_a_refusal_is_an_error(nextpyp, grid, monkeypatch):
    asked, answer = [], Ack(ok=True, message="File transfer started")

    class Answered:
        def wait(self, timeout):
            return answer

    for name in ("start", "restart"):
        monkeypatch.setattr(Session, name, lambda self, t, name=name: asked.append((name, t)) or Answered())
    assert nextpyp("start", grid) == (0, "File transfer started\n", "")
    assert nextpyp("restart", grid, "--track", "preprocess")[0] == 0
    assert asked == [("start", None), ("restart", "preprocess")]
    answer = Ack(ok=False, message="ada may not start")
    assert nextpyp("start", grid) == (1, "", "nextpyp-nb: ada may not start\n")


def test_a_session_that_runs_elsewhere_is_not_run_twice_or_deleted(nextpyp, grid, tmp_path):
    with Store(tmp_path / "sessions" / grid / "session.db") as store, acquire(store):
        assert one_sentence(nextpyp("run", grid, "--until-idle"), "running already", str(os.getpid()))
        assert one_sentence(nextpyp("delete", grid, "--yes", grid), "running already")
    assert (tmp_path / "sessions" / grid).is_dir()


def test_list_copy_and_delete(nextpyp, grid, tmp_path, monkeypatch):
    assert nextpyp("copy", grid, "grid-2_of.a-rather-long-name")[0] == 0
    lines = nextpyp("list")[1].splitlines()
    assert [re.split(r"\s\s+", line)[0] for line in lines[1:]] == ["grid-2_of.a-rather-long-name", grid]
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert one_sentence(nextpyp("delete", grid), "'yes'", "type the session's name")
    monkeypatch.setattr("builtins.input", lambda prompt: f" {grid} ")
    assert nextpyp("delete", grid)[0] == 0
    assert not (tmp_path / "sessions" / grid).exists()
    assert len(nextpyp("list")[1].splitlines()) == 2


def test_delete_without_anyone_to_ask_says_so(nextpyp, grid, monkeypatch):
    def closed(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    assert one_sentence(nextpyp("delete", grid), "give --yes grid1")


def test_a_broken_database_is_a_sentence(nextpyp, grid, tmp_path):
    (tmp_path / "sessions" / grid / "session.db").write_bytes(b"not a database, but long enough" * 99)
    assert one_sentence(nextpyp("status", grid), "database")


def test_settings_lists_every_setting_on_a_line(nextpyp):
    code, out, _ = nextpyp("settings")
    assert code == 0
    assert re.search(r"^picking\.radius +detect_rad .*Å", out, re.MULTILINE)
    assert len(out.splitlines()) == 1 + len(list(cli.Settings.items()))


def test_doctor_tells_what_is_there(nextpyp):
    code, out, _ = nextpyp("doctor")
    assert code in (0, 1)
    assert "nextpyp_nb[gpu]" in out or "usable by CuPy" in out
    for word in ("Python", "SQLite", "RELION", "sessions", "file system", "inotify", "Voilà", "nextpyp_nb "):
        assert word in out


def test_doctor_tells_network_disks_old_sqlite_and_voila_in_jupyter_servers(tmp_path, monkeypatch):
    disks = {"/": "ext4", str(tmp_path): "nfs4"}
    mounts = [SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in disks.items()]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 22, 0))
    config = tmp_path / "jupyter_server_config.d"
    config.mkdir()
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
    config.joinpath("z.json").write_text('{"ServerApp": {"jpserver_extensions": {"voila": true}}}')
    found = checks(Site(root=tmp_path / "sessions", data_roots=(tmp_path / "gone",)))
    said = {check.what: check for check in found}
    places = [check for check in found if check.what == "file system"]
    assert [check.found.rpartition(": ")[2] for check in places] == ["nfs4", "nfs4"]
    assert all("settle" in check.advice for check in places)
    assert "too old" in said["SQLite"].advice
    assert not said["SQLite"].ok
    assert "/voila" in said["Voilà"].found
    assert "nextpyp-nb serve" in said["Voilà"].advice


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """Root of a session by the name of done: two micrographs, run by the command line itself."""
    folder = tmp_path_factory.mktemp("cli")
    camera = Microscope(
        folder / "m", layout="flat", height=512, width=512, frames=4, dose_per_frame=8.0, seed=3
    )
    asyncio.run(camera.run(2, interval=0))
    new = (
        "new", "done", "--data", f"{camera.folder}/*.tiff", "--pixel", "1.3", "--voltage", "300", "--root",
        str(folder), "--gain", str(camera.gain_path), "--set", "detect_rad=75", "--set", "scope_wgh=0.1",
        "--set", "transfer.settle=0.3", "--set", "transfer.scan_interval=0.2", "--set", "microscope.dose=32",
    )  # fmt: skip
    assert cli.main(new) == 0
    run = [sys.executable, "-m", "nextpyp_nb", "run", "done", "--until-idle", "--root", str(folder)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Pre-processing: 2 done" in done.stdout
    return folder


def test_export_writes_what_passes_the_filter(nextpyp, processed, tmp_path):
    names = open_session("done", root=processed).micrographs.sort_values("defocus_u")
    limit = names["defocus_u"].mean()
    code, out, _ = nextpyp("export", "done", "--out", tmp_path / "a", "--filter", f"defocus_u<{limit}",
                           "--particles", "--stack", root=processed)  # fmt: skip
    assert code == 0
    stars = {kind: read_star(tmp_path / "a" / f"{kind}.star")[kind] for kind in ("micrographs", "particles")}
    assert list(stars["micrographs"]["rlnMicrographName"]) == [f"micrographs/{names['name'].iloc[0]}_dw.mrc"]
    assert f"1 micrographs and {len(stars['particles'])} particles in {tmp_path}/a" in out
    assert (tmp_path / "a" / "particles" / f"{names['name'].iloc[0]}.mrcs").is_file()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("colour<3", ("no column 'colour'", "fit_resolution")),
        ("fit_resolution", ("'fit_resolution'", "such as fit_resolution<=6")),
        ("fit_resolution<=good", ("'good'", "expected a number")),
        ("fit_resolution<0", ("nothing to export",)),
    ],
)
def test_a_filter_that_makes_no_sense_is_a_sentence(nextpyp, processed, tmp_path, expression, words):
    answer = nextpyp("export", "done", "--out", tmp_path / "b", "--filter", expression, root=processed)
    assert one_sentence(answer, *words)
    assert not (tmp_path / "b").exists()


def test_out_that_is_a_file_is_a_sentence(nextpyp, processed, tmp_path):
    (tmp_path / "file").write_text("mine")
    answer = nextpyp("export", "done", "--out", tmp_path / "file", root=processed)
    assert one_sentence(answer, str(tmp_path / "file"), "choose another place")
    answer = nextpyp("export", "done", "--out", tmp_path / "file" / "x", root=processed)
    assert one_sentence(answer, "choose another place")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def place():
    """A folder that anyone may enter but only its owner may write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        yield Path(folder)
        Path(folder).chmod(0o755)


UNPRIVILEGED = """
import os, sys
import nextpyp_nb.tracks.export, rich.live, rich.status
from nextpyp_nb.cli import main
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def unprivileged(*arguments):
    """The program run by someone who may not write everywhere; it is loaded before root's rights go."""
    command = [sys.executable, "-c", UNPRIVILEGED, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "NEXTPYP_NB_SITE"} | {"HOME": "/"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_a_root_without_permission_is_a_sentence(place):
    answer = unprivileged(*NEW, "--root", place / "deep" / "er")
    assert one_sentence(answer, "may not write to", str(place), "another root")


def test_out_without_permission_is_a_sentence(place, processed):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["cp", "-a", str(processed / "done"), folder], check=True)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", f"{folder}/done"], check=True)
        answer = unprivileged("export", "done", "--out", place / "stars", "--root", folder)
        assert one_sentence(answer, f"{place}/stars", "choose another place")
