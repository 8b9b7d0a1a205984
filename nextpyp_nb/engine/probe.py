"""Tasks to try an engine with: whether it answers, reports, fails, dies and ends as it should."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from nextpyp_nb.engine.task import Report


def probe(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Do what ``payload["do"]`` says: answer, wait, refuse, lose, die, hang or babble."""
    match payload.get("do", "answer"):
        case "wait":
            time.sleep(payload["seconds"])
        case "refuse":
            raise ValueError(f"refused: {payload['value']}")
        case "lose":
            raise OSError("the disk went away")
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            threading.Event().wait()
        case "babble":
            for step in range(payload["steps"]):
                report({"step": step})
            print("what a library prints does not disturb the pipe")  # noqa: T201
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    return {
        "value": payload.get("value"), "pid": os.getpid(), "nice": os.nice(0),
        "environment": {name: os.environ.get(name) for name in names},
    }  # fmt: skip


def tally(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Take ``seconds``; each begin, and each end that is put into place, is a line in a file."""
    place = Path(payload["folder"]) / payload["name"]
    with place.with_suffix(".begun").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    time.sleep(payload["seconds"])
    done = place.with_suffix(".done")
    part = place.with_suffix(f".{os.getpid()}.part")
    part.write_text((done.read_text() if done.exists() else "") + f"{os.getpid()}\n")
    part.replace(done)
    return {"pid": os.getpid()}
