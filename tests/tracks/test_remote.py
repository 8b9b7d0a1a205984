"""Movies on another machine: rsync over ssh, here with a stand-in for ssh, and with a real server."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from nextpyp_nb.bench.faults.pretend import pretend_session, run, small_movie, write_movies
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.settings.raw_data import is_remote
from nextpyp_nb.tracks.finding import Listing, Offline
from nextpyp_nb.tracks.remote import list_remote

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")

LOCAL = """#!/bin/sh
# Stands in for ssh: skips options and the host, and runs the command here.
while [ $# -gt 0 ]; do case "$1" in -o|-l|-p) shift 2;; -*) shift;; *) break;; esac; done
[ "$1" = unreachable ] && { echo "ssh: connect to host unreachable: No route to host" >&2; exit 255; }
shift
exec sh -c "$*"
"""
SERVER = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
"""


def executable(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    executable(tmp_path / "bin" / "ssh", LOCAL)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real sshd of our own with its own keys, and an ssh that knows it as "scope"."""
    daemon, ssh = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"), shutil.which("ssh")
    if daemon is None or ssh is None or os.getuid() != 0:
        pytest.skip("needs sshd, ssh and root")
    folder, port = tmp_path / "sshd", 20_000 + os.getpid() % 20_000
    folder.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "config").write_text(SERVER.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([daemon, "-D", "-e", "-f", folder / "config"], stderr=subprocess.PIPE)
    options = f"-F none -p {port} -i {folder}/user -o HostName=127.0.0.1 -o StrictHostKeyChecking=no"
    known = f"-o UserKnownHostsFile={folder}/known -o LogLevel=ERROR"
    executable(tmp_path / "bin" / "ssh", f'#!/bin/sh\nexec {ssh} {options} {known} "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        until = time.monotonic() + 20
        while subprocess.run(["ssh", "scope", "true"], capture_output=True, check=False).returncode:
            if time.monotonic() > until or process.poll() is not None:
                pytest.skip("sshd does not come up here")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def contents(session):
    return sorted(path.read_bytes() for path in (session.folder / "raw").glob("*.tiff"))


def test_what_is_another_machine():
    assert is_remote("user@scope.lab:/data/**/*.tiff")
    assert is_remote("scope:/data")
    assert not any(map(is_remote, ("/data/a:b", "-oProxyCommand=x:/data", "host:data", "C:\\data")))


def test_movies_come_over_ssh_from_a_real_server(tmp_path, server):
    written = write_movies(tmp_path / "my camera", 5, folders=2)
    session = pretend_session(
        tmp_path / "sessions", tmp_path, raw_data__location=f"scope:{tmp_path}/my camera/**/*.tiff"
    )
    assert run(session) == 0
    assert contents(session) == sorted(written.values())
    assert all(path.exists() for path in written)
    assert (session.folder / "manifest.xxh128").read_text().count("\n") == 5


def test_metadata_comes_along_and_compression_happens_here(tmp_path, stand_in):
    camera = tmp_path / "camera"
    camera.mkdir()
    movie = np.random.default_rng(1).poisson(2, (3, 40, 48)).astype(np.int16) + np.int16(1)
    write_mrc(camera / "a.mrc", movie, pixel_size=1.3)
    (camera / "a.mrc.mdoc").write_text("PixelSpacing = 1.3\n[FrameSet = 0]\nTargetDefocus = -1.5\n")
    session = pretend_session(
        tmp_path / "sessions", camera, raw_data__location=f"scope:{camera}/*.mrc", transfer__compress="lzw"
    )
    assert run(session) == 0
    np.testing.assert_array_equal(read_frames(session.folder / "raw" / "a.tiff"), movie)
    assert session.micrographs["acquired_defocus"].tolist() == [15_000]


def test_what_the_other_machine_says_is_shown(tmp_path, stand_in):
    with pytest.raises(Offline, match="No such file"):
        list_remote(f"scope:{tmp_path}/none", Listing(), tmp_path / "notes")
    with pytest.raises(Offline, match="No route to host"):
        list_remote("unreachable:/data", Listing(), tmp_path / "notes")


def test_a_movie_still_being_written_over_there_is_fetched_again(tmp_path, stand_in):
    camera = tmp_path / "camera"
    write_movies(camera, 1)
    whole = small_movie(5)
    cut = camera / "grid0" / "cut.tiff"
    cut.write_bytes(whole[:700])
    session = pretend_session(tmp_path / "sessions", camera, raw_data__location=f"scope:{camera}")
    run(session)
    failed = session.failed().set_index("movie")["reason"]
    assert list(failed.index) == ["cut"]
    assert "not whole yet" in failed["cut"]
    assert not (session.folder / "raw" / "cut.tiff").exists()
    cut.write_bytes(whole)
    assert session.retry().wait(5).ok
    assert run(session) == 0
    assert (session.folder / "raw" / "cut.tiff").read_bytes() == whole


def test_only_copies_of_what_lies_elsewhere(tmp_path):
    session = pretend_session(
        tmp_path / "sessions", tmp_path, raw_data__location="scope:/data", transfer__operation="link"
    )
    assert session.settings.missing() == {
        "transfer.operation": "must be copy: the movies lie on another machine"
    }
