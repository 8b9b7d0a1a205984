"""What pretend sessions do with a movie: nothing that takes long, and what is bad for a worker."""

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from nextpyp_nb.engine.task import Report
from nextpyp_nb.formats.files import published
from nextpyp_nb.session.places import Places
from nextpyp_nb.session.stages import STAGES
from nextpyp_nb.tracks.kept import Kept

# Where the staged work notes what it computes, a line each.
COMPUTED = "computed"
POISON = ("segfault", "abort", "hang", "memory", "nan")


def process(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Numbers that follow from the movie's content alone, and a file that holds them."""
    cost = Path(payload["folder"]) / "cost"
    if cost.exists():
        time.sleep(float(cost.read_text()))
    digest = hashlib.blake2b(Path(payload["path"]).read_bytes(), digest_size=8).digest()
    first, second = (int.from_bytes(digest[n : n + 4], "little") / 2**32 for n in (0, 4))
    record = {
        "n_frames": 2, "height": 32, "width": 32, "pixel_size": 1.3, "defocus_u": 8000 + 1e4 * first,
        "defocus_v": 7800 + 1e4 * first, "defocus_angle": 180 * second, "fit_resolution": 3 + second,
        "ctf_score": first, "particles": int(300 * second), "total_motion": 10 * first,
    }  # fmt: skip
    with published(Places(Path(payload["folder"]), payload["name"])("ctf")) as part:
        part.write_text(json.dumps(record, sort_keys=True))
    return record


def staged(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Three stages, kept by their keys; numbers follow from the movie and the settings each reads."""
    places, settings = Places(Path(payload["folder"]), payload["name"]), payload["settings"]
    kept = Kept(places, payload["keys"])
    content = Path(payload["path"]).read_bytes()

    def number(*of: Any) -> int:
        return int.from_bytes(hashlib.blake2b(content + repr(of).encode(), digest_size=4).digest(), "little")

    def stage(name: str, kind: str, record: dict[str, Any]) -> dict[str, Any]:
        with (places.folder / COMPUTED).open("a") as out:
            out.write(f"{name} {payload['name']} {payload['keys'][name]}\n")
        with published(places(kind)) as part:
            part.write_text(json.dumps(record, sort_keys=True))
        return record

    steps = {
        "motion": lambda: stage("motion", "average", {"n_frames": 2, "total_motion": number() % 100}),
        "ctf": lambda: stage("ctf", "ctf", {"defocus_u": float(number(settings["ctf"]) % 20_000)}),
        "picking": lambda: stage("picking", "picks", {"particles": number(settings["picking"]) % 300}),
    }
    row: dict[str, Any] = {}
    for name in STAGES[STAGES.index(payload["first_stage"]) :]:
        row |= kept.through(name, steps[name])
    return row


def poisonous(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """The pretend process, but for movies whose name says what they do to their worker."""
    match payload["name"].partition("_")[0]:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "abort":
            os.abort()
        case "hang":
            threading.Event().wait()
        case "memory":
            # As the kernel's killer does it, without taking the machine's memory first.
            os.kill(os.getpid(), signal.SIGKILL)
        case "nan":
            raise ValueError("the movie holds NaN")
    return process(payload, report)
