"""The main job on a pretend microscope: movies, a session, and its page filling live."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nextpyp_nb.formats.arrays import read_arrays
from nextpyp_nb.formats.motion_star import read_motion_star
from nextpyp_nb.serving import answers, free_port, page_server, page_url
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Column
from nextpyp_nb.simulate.score import score
from nextpyp_nb.terminal import Progress
from nextpyp_nb.tracks.runner import run_session

SETTINGS = {
    "transfer.operation": "copy",
    "transfer.settle": 4.0,
    "transfer.scan_interval": 1.0,
    "picking.radius": 75,
    "class2d.first": 250,
    "class2d.increment": 500,
    "class2d.classes": 10,
}


def demo(
    *, movies: int, interval: float, headless: bool, browser: bool, root: Path | None, seed: int, port: int
) -> int:
    """Run the demonstration until Ctrl-C, or headless until all movies are through; returns the exit code."""
    console = Console()
    # A terminal that closes or a service that stops us must leave as little behind as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = root or Path(stack.enter_context(_scratch()))
        camera, truth = folder / "microscope", folder / "microscope-truth"
        microscope = stack.enter_context(_microscope(folder, camera, movies, interval, seed))
        _wait_for(microscope, camera / "gain.mrc", console)
        session = _new_session(folder, camera)
        if headless:
            code = asyncio.run(
                run_session(
                    session.folder,
                    until_idle=True,
                    still_coming=lambda: microscope.poll() is None,
                    progress=Progress(console),
                )
            )
            _say_truth(session, truth, console)
            return code
        return _live(session, microscope, browser, port, console, stack)


def _new_session(folder: Path, camera: Path) -> Session:
    column = Column()
    settings = Settings.from_flat(
        SETTINGS
        | {
            "raw_data.location": str(camera / "Images-Disc1" / "**" / "*_fractions.tiff"),
            "gain.reference": str(camera / "gain.mrc"),
            "microscope.pixel_size": column.pixel_size,
            "microscope.voltage": column.voltage,
            "microscope.cs": column.cs,
            "microscope.amplitude_contrast": column.amplitude_contrast,
            "microscope.dose": column.dose_per_frame * column.frames,
        }
    )
    return create_session("demo", settings=settings, root=folder / "sessions")


def _live(
    session: Session, microscope: Any, browser: bool, port: int, console: Console, stack: ExitStack
) -> int:
    url = stack.enter_context(_page(session, port))
    session.start().wait(20)
    stack.callback(_stop, session, console)
    console.print(f"Live page: [bold]{url}[/bold]   (Ctrl-C stops everything)")
    if browser:
        webbrowser.open(url)
    progress = Progress(console)
    with progress:
        try:
            while True:
                progress.show(session.status())
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("\nStopping: microscope, tracks and page.")
    return 0


def _stop(session: Session, console: Console) -> None:
    ack = session.cancel().wait(15)
    console.print(ack.message)


@contextmanager
def _scratch() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="nextpyp-demo-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _child(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of our own, ended with us; a Ctrl-C in the terminal reaches us only."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ | environment,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _microscope(folder: Path, camera: Path, movies: int, interval: float, seed: int) -> Any:
    return _child(
        [sys.executable, "-m", "nextpyp_nb.simulate", str(camera), "--movies", str(movies),
         "--interval", str(interval), "--seed", str(seed)],
        folder / "microscope.log",
    )  # fmt: skip


def _wait_for(microscope: subprocess.Popen[bytes], path: Path, console: Console) -> None:
    with console.status("The microscope warms up"):
        while not path.is_file():
            if microscope.poll() is not None:
                raise RuntimeError(
                    f"the simulated microscope ended early; see {path.parents[1]}/microscope.log"
                )
            time.sleep(0.2)


@contextmanager
def _page(session: Session, port: int) -> Iterator[str]:
    """Serve the session's page by Voilà on the loopback interface."""
    port = free_port(port)
    command, environment = page_server(
        session.folder, session=session.name, root=session.folder.parent, port=port, token=""
    )
    with _child(command, session.folder / "logs" / "voila.log", **environment) as server:
        for _ in range(150):
            if server.poll() is not None:
                raise RuntimeError(f"the page's server ended early; see {session.folder}/logs/voila.log")
            if answers(port):
                break
            time.sleep(0.2)
        yield page_url(session.folder)


def _say_truth(session: Session, truth: Path, console: Console) -> None:
    """End with how far the session is from what the microscope knows."""
    names = session.micrographs["name"] if len(session.micrographs) else []
    motions = {name: read_motion_star(session.file("motion", name)) for name in names}
    picks = {
        name: read_arrays(path)["centres"]
        for name in names
        if (path := session.file("picks", name)).is_file()
    }
    scores = score(truth, session.micrographs, motions, picks)
    table = Table("against the truth", "", box=None, pad_edge=False)
    for name, value in scores.items():
        table.add_row(name.replace("_", " "), f"{value:.3g}" if isinstance(value, float) else str(value))
    console.print(table)
