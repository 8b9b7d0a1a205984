"""Launching a session's runner, so that it outlives whoever asked for it."""

import subprocess
import sys
import threading
from pathlib import Path

LARGEST_LOG = 5 << 20


def launch_runner(folder: Path, *, resume: bool = True) -> None:
    """Start the detached runner of a session; when one runs already, the second ends by itself.

    With ``resume`` tracks that were wanted when the last runner ended go on; else it does what it is told.
    """
    (folder / "logs").mkdir(exist_ok=True)
    options = [] if resume else ["--idle"]
    path = folder / "logs" / "runner.log"
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        # Runners that die again and again must not fill the disk with their last words.
        path.replace(path.with_name("runner.log.1"))
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nextpyp_nb", "serve-session", *options, str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    # A thread waits for it, so that it leaves no zombie behind in this process.
    threading.Thread(target=process.wait, daemon=True).start()


def ask_program(*arguments: str, timeout: float = 600.0) -> str:
    """Run a command of ours in a process of its own; what it prints, or RuntimeError with its sentence.

    What reads files or computes is no work for a page's kernel.
    """
    done = subprocess.run(
        [sys.executable, "-m", "nextpyp_nb", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    if done.returncode and not done.stdout:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return done.stdout
