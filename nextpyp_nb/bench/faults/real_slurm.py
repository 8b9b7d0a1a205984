"""A real SLURM of two nodes on this machine, for root, without systemd."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from nextpyp_nb.bench.faults import NotRun

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
SlurmUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=10
MessageTimeout=2
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=8 RealMemory=8000 Gres=gpu:1
PartitionName=movies Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=n1 MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def started(root: Path) -> Iterator["RealSlurm"]:
    """A SLURM below ``root`` that all commands of this process find; `NotRun` where there can be none."""
    if reason := missing():
        raise NotRun(reason)
    root.mkdir(parents=True, exist_ok=True)
    here, before = RealSlurm(root), os.environ.get("SLURM_CONF")
    os.environ |= here.environment
    try:
        yield here
    finally:
        here.close()
        del os.environ["SLURM_CONF"]
        if before is not None:
            os.environ["SLURM_CONF"] = before


def missing() -> str:
    """Why SLURM cannot be started here, or nothing."""
    if os.geteuid() != 0:
        return "SLURM is started as root only"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)" if absent else ""


class RealSlurm:
    """Its daemons, each to be killed and started again by name: munged, slurmctld, n1, n2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        host, first = socket.gethostname(), 20000 + secrets.randbelow(9000)
        for name in ("munge", "state", "spool-n1", "spool-n2"):
            (root / name).mkdir()
        key = root / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (root / "slurm.conf").write_text(
            CONFIGURATION.format(root=root, host=host, port=first, first=first + 1, last=first + 2)
        )
        (root / "gres.conf").write_text("NodeName=n[1-2] Name=gpu File=/dev/null\n")
        self.environment = {"SLURM_CONF": str(root / "slurm.conf")}
        for name in ("munged", "slurmctld", "n1", "n2"):
            self.start(name)
        self.until_idle()

    def start(self, name: str) -> None:
        """Start one daemon."""
        munge = self.root / "munge"
        command = {
            "munged": [
                "munged", "--foreground", "--force", f"--key-file={munge / 'key'}",
                f"--socket={munge / 'socket'}",
                f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
            ],
            "slurmctld": ["slurmctld", "-D"],
        }.get(name, ["slurmd", "-D", "-N", name])  # fmt: skip
        with (self.root / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True,
                env={**os.environ, **self.environment},
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill one daemon; what it started lives on."""
        self._daemons[name].kill()
        self._daemons[name].wait()

    def ask(self, *command: str) -> str:
        """What a command of SLURM says."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def jobs(self, states: str = "PENDING,RUNNING") -> list[str]:
        """The numbers of the jobs in these states."""
        return self.ask("squeue", "--noheader", "--format=%i", f"--states={states}").split()

    def until_idle(self) -> None:
        """Until both nodes wait for jobs."""
        end, told = time.monotonic() + 30, ""
        while told != "2 idle":
            if time.monotonic() > end:
                raise RuntimeError(f"SLURM does not come up: {told}; see {self.root}")
            time.sleep(0.2)
            with contextlib.suppress(RuntimeError):
                told = self.ask("sinfo", "--noheader", "--partition=movies", "--format=%D %t")

    def workers(self, node: str = "") -> list[psutil.Process]:
        """The processes of Dask workers in jobs of this SLURM (on one ``node``)."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                ours = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                there = node in ("", environment.get("SLURMD_NODENAME"))
                if ours and there and "distributed.cli.dask_worker" in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def left_over(self) -> str:
        """Jobs and workers that are still there when all should have ended, in words; or nothing."""
        end = time.monotonic() + 15
        while self.jobs() or self.workers():
            if time.monotonic() > end:
                return f"left over: jobs {self.jobs()}, workers {self.workers()}"
            time.sleep(0.1)
        return ""

    def close(self) -> None:
        """End all jobs, then the daemons."""
        with contextlib.suppress(RuntimeError):
            self.ask("scancel", "--user=root")
            end = time.monotonic() + 10
            while self.jobs("PENDING,RUNNING,COMPLETING") and time.monotonic() < end:
                time.sleep(0.2)
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
            daemon.wait()
