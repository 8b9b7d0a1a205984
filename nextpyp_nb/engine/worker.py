"""The process in a slot: reads tasks from a pipe, calls them, writes what came of it."""

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from nextpyp_nb.engine.lease import keep
from nextpyp_nb.engine.loading import loading
from nextpyp_nb.engine.task import Done, Failed, perform

_PR_SET_PDEATHSIG = 1


def main(tasks: int, outcomes: int, parent: int, nice: int, lease: Path | None = None) -> None:
    """Serve until the pipe closes; die with the parent at once, busy or not, and with the ``lease``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent died before we could ask to die with it.
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(nice)
    with contextlib.suppress(OSError):
        # Out of memory the kernel ends us, who are replaced, and neither the runner nor others.
        Path("/proc/self/oom_score_adj").write_text("1000")
    if lease is not None:
        keep(lease)
        # Files for the owner and the group, as a runner makes them; here nobody else sets that.
        os.umask(0o027)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks, lines), daemon=True).start()
    with os.fdopen(outcomes, "w", encoding="utf-8") as out:
        with loading():
            _serve(json.loads(lines.get()), out)
        while True:
            _serve(json.loads(lines.get()), out)


def _read(tasks: int, lines: "queue.SimpleQueue[str]") -> None:
    with os.fdopen(tasks, encoding="utf-8") as stream:
        for line in stream:
            lines.put(line)
    os._exit(0)


def _serve(task: dict[str, Any], out: TextIO) -> None:
    lock = threading.Lock()

    def say(kind: str, content: dict[str, Any]) -> None:
        line = json.dumps({"kind": kind, "content": content}, allow_nan=False)
        with lock:
            out.write(line + "\n")
            out.flush()

    outcome = perform(task["function"], task["payload"], lambda report: say("progress", report))
    if isinstance(outcome, Done):
        try:
            return say("done", {"result": outcome.result})
        except (TypeError, ValueError) as error:
            outcome = Failed(kind="deterministic", reason=f"the result is not plain JSON: {error}")
    return say("failed", asdict(outcome))


if __name__ == "__main__":
    tasks, outcomes, parent, nice = (int(argument) for argument in sys.argv[1:5])
    main(tasks, outcomes, parent, nice, Path(sys.argv[5]) if sys.argv[5:] else None)
