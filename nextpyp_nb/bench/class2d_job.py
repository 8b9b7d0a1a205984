"""``python -m nextpyp_nb.bench.class2d_job STAR OUT CLASSES SEED ARRIVALS``: particles that come in parts."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.cost import peak_memory
from nextpyp_nb.formats.arrays import write_arrays
from nextpyp_nb.kernels.class2d_setup import Class2dUpdate
from nextpyp_nb.tracks.class2d_offline import classify_star


def main(star: str, out: str, classes: str, seed: str, arrivals: str) -> None:
    """Classify as a session does; updates.json tells of each update, numbers.npz which classes it gave."""
    told: list[dict[str, Any]] = []
    numbers: list[Any] = []
    begun = [time.process_time()]

    def updated(step: Class2dUpdate, number: Any) -> None:
        now = time.process_time()
        told.append(asdict(step) | {"cpu_s": now - begun[0], "peak_GB": peak_memory(os.getpid())})
        numbers.append(number)
        begun[0] = now

    classify_star(
        Path(star), Path(out), classes=int(classes), seed=int(seed), arrivals=int(arrivals), updated=updated
    )
    (Path(out) / "updates.json").write_text(json.dumps(told))
    write_arrays(Path(out) / "numbers.npz", **{str(k): number for k, number in enumerate(numbers)})


if __name__ == "__main__":
    main(*sys.argv[1:])
