"""What a benchmark costs: CPU-seconds and peak memory of a whole process tree, wall time."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

POLL = 0.02  # s


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """CPU-seconds of this process and its children (cpu_s), and wall seconds (wall_s)."""
    cost: dict[str, float] = {}
    cpu, begin = _cpu_seconds(), time.monotonic()
    yield cost
    cost |= {"cpu_s": _cpu_seconds() - cpu, "wall_s": time.monotonic() - begin}


def run_measured(
    command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, float]:
    """Run a program from start-up to end: cpu_s of its tree, wall_s and peak_GB of its largest process.

    Python may keep its byte code, so that a second run finds it as an installed program does.
    """
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.monotonic()
    ended, peak = 0, 0.0
    with tempfile.TemporaryFile() as told_to:
        process = subprocess.Popen(command, cwd=cwd, env=kept, stdout=told_to, stderr=subprocess.STDOUT)
        while not ended:
            time.sleep(POLL)
            # The kernel's own maximum (ru_maxrss) begins at what this process holds, which may be more.
            peak = max(peak, *map(peak_memory, _tree(process.pid)))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        told_to.seek(0)
        output = told_to.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = output.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {told[-1] if told else 'silent'}")
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - begin,
        "peak_GB": peak,
    }


def peak_memory(process: int) -> float:
    """The most memory that a running process has held, GB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def _tree(process: int) -> Iterator[int]:
    """A running process and all below it."""
    yield process
    try:
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return
    for child in below:
        yield from _tree(int(child))


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
