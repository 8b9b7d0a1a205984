"""``python -m nextpyp_nb.bench.class2d_job STAR OUT CLASSES SEED ARRIVALS``: particles that come in parts."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nextpyp_nb.kernels.class2d_setup import Class2dUpdate
from nextpyp_nb.tracks.class2d_offline import classify_star


def main(star: str, out: str, classes: str, seed: str, arrivals: str) -> None:
    """Classify as a session does, and tell each update and its CPU-seconds in updates.json."""
    told: list[dict[str, Any]] = []
    begun = [time.process_time()]

    def updated(step: Class2dUpdate) -> None:
        now = time.process_time()
        told.append(asdict(step) | {"cpu_s": now - begun[0]})
        begun[0] = now

    classify_star(
        Path(star), Path(out), classes=int(classes), seed=int(seed), arrivals=int(arrivals), updated=updated
    )
    (Path(out) / "updates.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
