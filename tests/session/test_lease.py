"""One writer, whoever races, dies or wakes up."""

import itertools
import os
import socket
import subprocess
import sys
import time

import pytest

from nextpyp_nb.session.lease import Held, acquire, boot_id, lock_session, runner_state, start_time
from nextpyp_nb.session.store import Fenced, Store

RACER = """
import pathlib, sys, time
from nextpyp_nb.session.lease import Held, acquire
from nextpyp_nb.session.store import Store
store = Store(pathlib.Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    try:
        lease = acquire(store)
    except Held:
        time.sleep(0.001)
        continue
    print("in", time.monotonic_ns(), lease.epoch)
    time.sleep(0.002)
    print("out", time.monotonic_ns(), lease.epoch)
    lease.release()
"""


def test_a_second_runner_is_told_who_has_it(session):
    with Store(session.folder / "session.db") as store, acquire(store):
        with Store(session.folder / "session.db") as other, pytest.raises(Held) as held:
            acquire(other)
        assert f"process {os.getpid()}" in str(held.value)
        assert socket.gethostname() in str(held.value)
        assert session.status().runner == "running"
    assert session.status().runner == "stopped"


def test_two_racing_processes_never_overlap(session):
    command = [sys.executable, "-c", RACER, str(session.folder / "session.db"), "15"]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    spans = []
    for racer in racers:
        lines = racer.communicate(timeout=60)[0].split("\n")[:-1]
        assert racer.returncode == 0
        spans += [
            (int(a.split()[1]), int(b.split()[1]), int(a.split()[2]))
            for a, b in zip(lines[::2], lines[1::2], strict=True)
        ]
    spans.sort()
    assert len(spans) >= 5
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert [epoch for _, _, epoch in spans] == sorted({epoch for _, _, epoch in spans})


def test_of_two_that_saw_no_runner_the_lock_decides(session):
    """Whatever the row says, and however the two are timed."""
    lock = lock_session(session.folder)
    try:
        assert lock_session(session.folder) is None
        with Store(session.folder / "session.db") as store, pytest.raises(Held):
            acquire(store)
        assert session.status().runner == "stopped"
    finally:
        os.close(lock)
    with Store(session.folder / "session.db") as store, acquire(store):
        assert session.status().runner == "running"


def test_a_killed_runner_is_stale_and_replaced(session):
    script = RACER.replace('print("out"', 'print("in", flush=True); time.sleep(60); print("out"')
    path = session.folder / "session.db"
    runner = subprocess.Popen(
        [sys.executable, "-c", script, str(path), "1"], stdout=subprocess.PIPE, text=True
    )
    runner.stdout.readline()
    runner.stdout.readline()
    assert session.status().runner == "running"
    version = session.version()
    runner.kill()
    runner.wait()
    runner.stdout.close()
    status = session.status()
    assert (status.runner, status.tracks["transfer"].state) == ("stale", "stopped")
    assert "was killed" in status.error
    assert session.version() != version
    with Store(path) as store, acquire(store) as lease:
        assert lease.epoch == 2


def test_a_pid_used_again_is_not_the_runner():
    me = os.getpid()
    row = {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": me,
        "start_time": start_time(me),
        "beat": 0,
    }
    assert runner_state(row) == "running"
    assert runner_state(row | {"start_time": 1}) == "stale"
    assert runner_state(row | {"boot_id": "another boot"}) == "stale"
    assert runner_state(row | {"host": None}) == "stopped"


def test_a_silent_runner_of_another_host_is_taken_over_and_fenced(session):
    path = session.folder / "session.db"
    with Store(path) as far:
        far.take_lease(host="far-away", boot_id="x", pid=4, start_time=5)
        with Store(path) as near:
            far.beat()
            assert runner_state(near.lease_row()) == "running"
            near._run("UPDATE lease SET beat = beat - 100")
            assert runner_state(near.lease_row()) == "stale"
            with acquire(near, patience=0.05):
                with pytest.raises(Fenced):
                    far.log("late", "the zombie speaks")
                assert session.events() == []


def test_a_beating_runner_of_another_host_keeps_it(session):
    path = session.folder / "session.db"
    beats = """
import pathlib, sys, time
from nextpyp_nb.session.store import Store
store = Store(pathlib.Path(sys.argv[1]))
store.take_lease(host="far-away", boot_id="x", pid=4, start_time=5)
print("up", flush=True)
while True:
    store.beat()
    time.sleep(0.05)
"""
    far = subprocess.Popen([sys.executable, "-c", beats, str(path)], stdout=subprocess.PIPE)
    try:
        far.stdout.readline()
        with Store(path) as near, pytest.raises(Held, match="far-away"):
            acquire(near, patience=0.4)
    finally:
        far.kill()
        far.wait()
        far.stdout.close()


def test_the_heartbeat_wakes_no_panel(store, session):
    before = session.version()
    beat = store.lease_row()["beat"]
    time.sleep(0.01)
    store.beat()
    assert store.lease_row()["beat"] > beat
    assert session.version() == before
