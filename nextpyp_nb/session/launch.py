"""Launching a session's runner, so that it outlives whoever asked for it."""

import subprocess
import sys
import threading
from pathlib import Path


def launch_runner(folder: Path, *, resume: bool = True) -> None:
    """Start the detached runner of a session; when one runs already, the second ends by itself.

    With ``resume`` tracks that were wanted when the last runner ended go on; else it does what it is told.
    """
    (folder / "logs").mkdir(exist_ok=True)
    options = [] if resume else ["--idle"]
    with (folder / "logs" / "runner.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nextpyp_nb", "serve-session", *options, str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    # A thread waits for it, so that it leaves no zombie behind in this process.
    threading.Thread(target=process.wait, daemon=True).start()
