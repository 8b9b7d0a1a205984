"""Sessions whose kernels only pretend: quick and the same every time, with the real tracks around them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.engine.inline import Inline
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate.writers import tiff_bytes
from nextpyp_nb.tracks.runner import Runner, run_session

FUNCTION = "nextpyp_nb.bench.faults.work:process"


class PretendRunner(Runner):
    """A runner that computes in this process and pretends; everything else is real."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.movies.close()
        self.movies = self.preprocess.engine = Inline()
        self.preprocess.function = FUNCTION


class HurriedRunner(PretendRunner):
    """And one that hardly waits between two looks: trials cost their work, not their waiting."""

    tick = 0.05

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for track in self.tracks.values():
            track._turn = _hurried(track._turn)  # type: ignore[method-assign]


def _hurried(turn: Callable[[], Awaitable[float]]) -> Callable[[], Any]:
    async def quick() -> float:
        return min(await turn(), HurriedRunner.tick)

    return quick


def pretend_session(
    root: Path, camera: Path, name: str = "s", group: str | None = None, **changed: Any
) -> Session:
    """A new session under ``root`` over the TIFFs of ``camera``; settings by name, with __ for the dot."""
    values = {
        "raw_data.location": f"{camera}/**/*.tiff", "microscope.pixel_size": 1.3, "microscope.voltage": 300,
        "transfer.operation": "copy", "transfer.settle": 0.2, "transfer.scan_interval": 0.2,
        "class2d.enable": False, "picking.method": "none",
    }  # fmt: skip
    settings = Settings.from_flat(values | {key.replace("__", "."): v for key, v in changed.items()})
    return create_session(name, settings=settings, root=root, group=group)


def run(
    session: Session,
    still_coming: Callable[[], bool] = lambda: False,
    kind: type[Runner] = HurriedRunner,
) -> int:
    """Run a pretend session until idle; its exit status."""
    return asyncio.run(
        run_session(session.folder, until_idle=True, signals=False, kind=kind, still_coming=still_coming)
    )


def small_movie(number: int, side: int = 32) -> bytes:
    """A whole counting movie of two frames as a camera writes it, different for each number."""
    frames = np.random.default_rng(number).poisson(2, (2, side, side)).astype(np.uint8) + np.uint8(1)
    return tiff_bytes(frames)


def write_movies(camera: Path, count: int, folders: int = 1) -> dict[Path, bytes]:
    """Whole movies, spread over ``folders``; base names repeat between the folders."""
    written = {}
    for number in range(count):
        path = camera / f"grid{number % folders}" / f"mov_{number // folders:05d}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content := small_movie(number))
        written[path] = content
    return written
