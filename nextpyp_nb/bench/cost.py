"""What a benchmark costs: CPU-seconds and peak memory of a whole process tree, wall time."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


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


def run_measured(command: Sequence[str], *, cwd: Path | None = None) -> dict[str, float]:
    """Run a program from start-up to end: cpu_s of its tree, wall_s and peak_GB of its largest process."""
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = output.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {told[-1] if told else 'silent'}")
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - begin,
        "peak_GB": used.ru_maxrss / 2**20,
    }


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
