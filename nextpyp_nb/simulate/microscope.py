"""A microscope that collects by itself: movies, metadata and gain in one folder, the truth in another."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np

from .epu import Shot, image_xml, plan_shot, session_xml
from .exposure import Column, Exposure, compose
from .scene import Label
from .writers import WRITERS, tiff_bytes

BAD_EVERY, FIRST_BAD = 8, 3
BAD: tuple[Label, ...] = ("ice_contamination", "carbon_edge", "severe_drift", "empty")


class Microscope:
    """Pretend collection into ``folder``; the truth goes to ``<folder>-truth``.

    ``layout`` is "epu" (EPU's tree with an XML beside each movie) or "flat" (``mov_0001.tiff``, …).
    ``writer`` names one of `writers.WRITERS`, ``xml`` says when the metadata come, ``write_seconds``
    how long one movie takes to write. Other settings (seed,
    height, width, frames, pixel_size, voltage, …) are those of `exposure.Column`.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        layout: Literal["epu", "flat"] = "epu",
        writer: str = "appended",
        xml: Literal["after", "first", "never"] = "after",
        write_seconds: float = 0.0,
        start: datetime | None = None,
        **column: Any,
    ) -> None:
        if writer not in WRITERS:
            raise ValueError(f"writer {writer!r} is unknown; expected one of {', '.join(WRITERS)}")
        self.folder = Path(folder)
        self.truth_folder = self.folder.with_name(self.folder.name + "-truth")
        self.column = Column(**column)
        self.layout, self.writer, self.xml = layout, writer, xml
        self.write_seconds, self.start = write_seconds, start
        self.taken = 0

    @property
    def gain_path(self) -> Path:
        """Gain reference: counts times gain are flat; 0 marks dead pixels."""
        return self.folder / "gain.mrc"

    def prepare(self) -> None:
        """Make the folders and write the gain reference and the session file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.truth_folder.mkdir(parents=True, exist_ok=True)
        with mrcfile.new(self.gain_path, overwrite=True) as mrc:
            mrc.set_data(self.column.camera.gain)
            mrc.voxel_size = self.column.pixel_size
        if self.layout == "epu":
            session = session_xml(self.folder.name, self.start or datetime.now())
            (self.folder / "EpuSession.dm").write_text(session)

    def label(self, index: int) -> Label:
        """What movie ``index`` will show: mostly good, every eighth spoilt."""
        turn, place = divmod(index, BAD_EVERY)
        return BAD[turn % len(BAD)] if place == FIRST_BAD else "good"

    def compose(self, index: int) -> Exposure:
        """The field, optics and motion of movie ``index``, without recording it."""
        return compose(self.column, index, self.label(index))

    def expose(self) -> Path:
        """Take the next movie, write it with its metadata and truth, and return its path."""
        index = self.taken
        exposure = self.compose(index)
        content = tiff_bytes(exposure.record())
        shot = self._shot(index)
        path = self._path(index, shot)
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = exposure.truth(path.name)
        truth["beam_shift"], truth["template"] = list(shot.beam_shift), shot.template
        (self.truth_folder / f"{path.stem}.json").write_text(json.dumps(truth))
        if self.xml == "first":
            self._write_xml(exposure, shot)
        self._write(path, content)
        if self.xml == "after":
            self._write_xml(exposure, shot)
        self.taken += 1
        return path

    async def run(
        self, n: int, interval: float = 6.0, progress: Callable[[int, Path], None] | None = None
    ) -> list[Path]:
        """Take ``n`` movies, one every ``interval`` seconds or as fast as they can be made."""
        await asyncio.to_thread(self.prepare)
        paths: list[Path] = []
        for number in range(1, n + 1):
            due = time.monotonic() + interval
            paths.append(await asyncio.to_thread(self.expose))
            if progress is not None:
                progress(number, paths[-1])
            if number < n:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        return paths

    def _shot(self, index: int) -> Shot:
        """Place and time of movie ``index``; with a fixed ``start`` movies are 30 s apart."""
        taken = self.start + timedelta(seconds=30 * index) if self.start else datetime.now()
        scatter = np.random.default_rng([self.column.seed, index + 1, 4]).normal(0, 0.001, 2)
        return plan_shot(index, taken, (float(scatter[0]), float(scatter[1])))

    def _path(self, index: int, shot: Shot) -> Path:
        if self.layout == "flat":
            return self.folder / f"mov_{index + 1:04d}.tiff"
        return self.folder / shot.folder / f"{shot.name}_fractions.tiff"

    def _write(self, path: Path, content: bytes, chunks: int = 8) -> None:
        for _ in WRITERS[self.writer](path, content, chunks):
            time.sleep(self.write_seconds / chunks)

    def _write_xml(self, exposure: Exposure, shot: Shot) -> None:
        if self.layout != "epu":
            return
        column = self.column
        text = image_xml(
            shot,
            pixel_size=column.pixel_size,
            voltage=column.voltage,
            frames=column.frames,
            dose=column.dose_per_frame * column.frames,
            defocus=exposure.target_defocus,
            height=column.height,
            width=column.width,
        )
        (self.folder / shot.folder / f"{shot.name}.xml").write_text(text, encoding="utf-8")
