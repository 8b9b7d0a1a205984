"""``nextpyp-nb bench files``: damaged files of every format, each read or refused with a reason."""

import logging
import tempfile
from pathlib import Path

from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.formats.mutants import read_mutants


def bench_files(*, count: int, seed: int, out: Path | None) -> int:
    """Damage ``count`` files and read them; 1 where one was neither read nor refused with a reason."""
    logging.getLogger("nextpyp_nb.formats").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="nextpyp-bench-") as folder:
        found = read_mutants(Path(folder), count, seed)
    rows = [
        {"format": name, "read": found.read[name], "refused": found.refused[name]}
        for name in sorted({*found.read, *found.refused})
    ]
    total = {
        "format": "all", "read": found.read.total(), "refused": found.refused.total(),
        "failures": len(found.failures), "slowest_s": found.slowest, "memory_MB": found.memory / 1e6,
    }  # fmt: skip
    show([*rows, total], ("format", "read", "refused", "failures", "slowest_s", "memory_MB"))
    show([{"failure": failure} for failure in found.failures], ("failure",))
    write_json(out, [*rows, total], seed=seed, failures=found.failures)
    return int(bool(found.failures))
