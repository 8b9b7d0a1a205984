"""All faults in one table: what was tried, how often, and whether everything held."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.bench.faults import (
    NotRun,
    arrivals,
    changes,
    kills,
    large,
    long_runs,
    machines,
    outages,
    races,
    reloads,
)
from nextpyp_nb.formats.mutants import read_mutants

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the matrix; ``quick`` and ``full`` are the sizes of a trial and of a soak."""

    code: str
    name: str
    goal: str
    trial: Callable[..., Figures]
    quick: Figures
    full: Figures


def damaged_headers(root: Path, *, count: int) -> Figures:
    """Damaged files of every format; none may crash, hang or fill the memory."""
    found = read_mutants(root, count, seed=7)
    return {
        "files": count, "read": found.read.total(), "refused": found.refused.total(),
        "slowest, s": round(found.slowest, 2), "memory, MB": round(found.memory / 1e6),
        "problems": list(found.failures),
    }  # fmt: skip


FAULTS = (
    Fault(
        code="F1", name="kill −9 at every named point, copying", goal="0 lost, doubled or torn; same results",
        trial=kills.killed, quick={"movies": 8, "kills": 5, "most": 6}, full={"movies": 1000, "kills": 300},
    ),
    Fault(
        code="F1, F21", name="the same, moving", goal="the same, and no source deleted without a copy",
        trial=kills.killed, quick={"movies": 7, "kills": 3, "most": 6, "operation": "move"},
        full={"movies": 300, "kills": 100, "operation": "move"},
    ),
    Fault(
        code="F2", name="the Nth call to the disk fails (EIO, ENOSPC, ESTALE)",
        goal="ends clean or says so; T1–T9 hold", trial=kills.failing_calls,
        quick={"movies": 1, "every": 12}, full={"movies": 3, "every": 1},
    ),
    Fault(
        code="F4", name="writers of every habit × format × metadata",
        goal="0 too early, ≥ 99.9 % within settle + 2 looks",
        trial=arrivals.writers, quick={"count": 144}, full={"count": 2000},
    ),
    Fault(
        code="F5", name="files that came while stopped, no watcher", goal="all known within 2 looks",
        trial=arrivals.crowd, quick={"count": 1000}, full={"count": 20_000},
    ),
    Fault(
        code="F7", name="the source vanishes and comes back", goal="nothing dropped, goes on by itself",
        trial=outages.vanishing, quick={"times": 2, "seconds": 0.5}, full={"times": 20, "seconds": 5.0},
    ),
    Fault(
        code="F8", name="disk full", goal="paused ≤ 10 s with the reason, goes on, nothing damaged",
        trial=outages.full_disk, quick={"times": 1}, full={"times": 20},
    ),
    Fault(
        code="F9", name="three runners race, a sleeping one wakes", goal="one writer; the zombie is refused",
        trial=races.races, quick={"times": 4}, full={"times": 50},
    ),
    Fault(
        code="F10", name="damaged headers of every format", goal="0 crashes or hangs, memory bounded",
        trial=damaged_headers, quick={"count": 200}, full={"count": 10_000},
    ),
    Fault(
        code="F11", name="poison movies (segfault, abort, hang, killed for memory, NaN)",
        goal="exactly those put aside", trial=long_runs.poison,
        quick={"movies": 3, "kinds": ("segfault", "nan")}, full={"movies": 1000, "each": 2},
    ),
    Fault(
        code="F12", name="the same movies in this process, on slots, on Dask, in jobs of SLURM",
        goal="identical rows and file hashes", trial=machines.engines, quick={"movies": 1},
        full={"movies": 3},
    ),
    Fault(
        code="F13", name="SLURM: scancel, a node dies, the controller is killed, job time runs out",
        goal="completes, workers back ≤ 60 s, no job left", trial=machines.slurm, quick={"cancels": 1},
        full={"cancels": 10, "node": True, "minute": True},
    ),
    Fault(
        code="F13", name="the network between two workers parts", goal="nothing lost or doubled, seen ≤ 60 s",
        trial=machines.partition, quick={"tasks": 41, "lease": 5.0, "beat": 0.5},
        full={"tasks": 201, "lease": 20.0, "beat": 4.0},
    ),
    Fault(
        code="F15", name="kernels interrupted, killed, restarted; pages at once",
        goal="same runner, same state ≤ 2 s after reconnect",
        trial=reloads.reloads, quick={"times": 2, "pages": 0}, full={"times": 20, "pages": 5},
    ),
    Fault(
        code="F16", name="a session of many movies, CPU seconds", goal="opens ≤ 2 s; constant cost a movie",
        trial=large.large_session, quick={"movies": 1000}, full={"movies": 50_000},
    ),
    Fault(
        code="F17", name="a long collection", goal="< 1 MB per 1,000 movies, files constant",
        trial=long_runs.collection, quick={"movies": 40, "at_once": 10},
        full={"movies": 5000, "at_once": 100},
    ),
    Fault(
        code="F19", name="settings change mid-run, back, and forth again",
        goal="only dependent stages run; the way back computes nothing",
        trial=changes.changes, quick={"movies": 4}, full={"movies": 1000},
    ),
    Fault(
        code="F20", name="2D rounds killed", goal="each batch counted once; final state as undisturbed",
        trial=races.killed_rounds, quick={"batches": 60, "kills": 5}, full={"batches": 200, "kills": 50},
    ),
    Fault(
        code="F21", name="move under every combination of conditions", goal="0 wrong deletions",
        trial=long_runs.moves, quick={"wrong": 1}, full={"wrong": 6},
    ),
)  # fmt: skip


def bench_faults(*, full: bool, only: Collection[str], out: Path | None, mutants: Path | None) -> int:
    """Try every fault, print the table, write it to ``out``; 1 when something did not hold."""
    lines, failed = [], 0
    for fault in FAULTS:
        if only and not set(fault.code.split(", ")) & set(only):
            continue
        figures, seconds = tried(fault, full=full)
        failed += bool(figures["problems"])
        lines.append(_line(fault, figures))
        sys.stderr.write(f"{lines[-1]}  ({seconds:.0f} s)\n")
        for problem in figures["problems"][:20]:
            sys.stderr.write(f"    {problem}\n")
    text = _table(lines, full, _mutants(mutants))
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)
    return 1 if failed else 0


def tried(fault: Fault, *, full: bool = False) -> tuple[Figures, float]:
    """The figures of one fault and the seconds it took; an error of the trial itself is a problem too."""
    root, begin = Path(tempfile.mkdtemp(prefix="nextpyp-faults-")), time.monotonic()
    try:
        figures = fault.trial(root, **(fault.full if full else fault.quick))
    except NotRun as reason:
        figures = {"not run": str(reason), "problems": []}
    except Exception as error:
        figures = {"problems": [f"the trial ended with {type(error).__name__}: {error}"]}
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return figures, time.monotonic() - begin


def _line(fault: Fault, figures: Figures) -> str:
    shown = ", ".join(f"{name} {_number(value)}" for name, value in figures.items() if name != "problems")
    held = "held" if not figures["problems"] else f"**{len(figures['problems'])} problems**"
    held = "not run" if "not run" in figures else held
    return f"| {fault.code} | {fault.name} | {fault.goal} | {shown} | {held} |"


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _mutants(path: Path | None) -> list[str]:
    if path is None:
        return []
    rows = json.loads(path.read_text())
    caught = sum(row["caught"] for row in rows)
    lines = [f"| {row['name']} | {'caught' if row['caught'] else '**missed**'} |" for row in rows]
    return [
        "", "## Do the tests notice?", "",
        f"Each line is a mistake put into a copy on purpose; {caught} of {len(rows)} were caught.",
        "", "| mistake | |", "|---|---|", *lines,
    ]  # fmt: skip


def _table(lines: list[str], full: bool, more: list[str]) -> str:
    how = "`make soak`" if full else "`nextpyp-nb bench faults`"
    head = [
        "# Faults", "",
        f"Written by {how}. Kernels are pretended, everything around them is real; what was promised of the",
        "transfer (nothing torn, doubled or lost, no source touched) is checked after every kill.",
        "", "| | fault | goal | tried | |", "|---|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join([*head, *lines, *more]) + "\n"
