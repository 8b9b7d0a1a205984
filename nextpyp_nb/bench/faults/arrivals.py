"""F4 and F5: writers of every habit and format, and thousands of files at once."""

import gzip
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.bench.faults.pretend import pretend_session, small_movie
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.mutants import make_samples
from nextpyp_nb.formats.tiff import write_movie_tiff
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.simulate.writers import WRITERS
from nextpyp_nb.tracks.finding import scan
from nextpyp_nb.tracks.intake import Intake
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.settling import Settling
from nextpyp_nb.tracks.track import Live

SETTLE, SCAN, AT_ONCE = 10.0, 2.0, 40
NEVER_WHOLE = ("truncated", "zero_tail")
FORMATS = ("int8.mrc", "int16.mrc", "uint16.mrc", "gzip.gz", "None.tif", "lzw.tif", "zstd.tif", "movie.eer")
EPOCH = 1_800_000_000


@dataclass(slots=True)
class _Writer:
    path: Path
    content: bytes
    steps: Iterator[None]
    begins: float
    pace: float
    habit: str
    xml: str
    whole_at: float | None = None
    ended: bool = False

    def advance(self, now: float) -> None:
        """Do the steps that are due; files carry the time of the pretend clock."""
        while not self.ended and self.begins <= now:
            if self.xml == "first":
                self._note()
            self.ended = next(self.steps, self) is self
            if not self.ended and self.path.exists() and self.habit != "rsynced":
                os.utime(self.path, ns=(int((EPOCH + self.begins) * 1e9),) * 2)
            if self.whole_at is None and self.whole():
                self.whole_at = self.begins
            if self.ended and self.xml == "after":
                self._note()
            self.begins += self.pace

    def whole(self) -> bool:
        """Whether the file is there with all of its content."""
        return self.path.exists() and self.path.read_bytes() == self.content

    def _note(self) -> None:
        side = self.path.with_name(self.path.name.partition("_fractions")[0] + ".xml")
        if not side.exists():
            side.write_text("<x/>")
            os.utime(side, ns=(int((EPOCH + self.begins) * 1e9),) * 2)


@dataclass(slots=True)
class _Tally:
    waits: list[float] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    broken: int = 0

    def take(self, writer: _Writer, now: float) -> None:
        """A movie was called ready."""
        what = f"{writer.path.name}, {writer.habit}, xml {writer.xml}, a step each {writer.pace:.2f} s"
        if writer.habit in NEVER_WHOLE or not writer.whole():
            self.early.append(what)
            return
        self.waits.append(now - (writer.whole_at or now))
        if self.waits[-1] > SETTLE + 2 * SCAN:
            self.late.append(f"{what}: {self.waits[-1]:.0f} s")


def writers(root: Path, *, count: int, seed: int = 1) -> dict[str, Any]:
    """Let ``count`` writers of every habit, format and metadata write; who was taken too early, or too late.

    Time is pretended: seconds of settling cost none. The writers' pauses are shorter than the settle time,
    but for those of the habit "paused", which stand still for longer.
    """
    rng, tally = np.random.default_rng(seed), _Tally()
    samples = _samples(root, rng)
    for form in FORMATS:
        folder = root / f"{form}-camera"
        folder.mkdir()
        ending = "_fractions" + (".mrc.gz" if form == "gzip.gz" else Path(form).suffix)
        mine = [
            _writer(folder / f"m{n}{ending}", samples[form], n, rng) for n in range(count // len(FORMATS))
        ]
        _watch(mine, f"{folder}/*{ending}", tally, rng)
    on_time = 1 - len(tally.late) / max(len(tally.waits), 1)
    problems = [f"taken too early: {text}" for text in tally.early]
    if on_time < 0.999:
        problems += [f"taken too late: {text}" for text in tally.late]
    return {
        "writers": len(tally.waits) + len(tally.early) + tally.broken, "never whole": tally.broken,
        "early": len(tally.early), "on time": on_time, "longest wait, s": max(tally.waits, default=0.0),
        "problems": problems,
    }  # fmt: skip


def _samples(root: Path, rng: np.random.Generator) -> dict[str, bytes]:
    """A movie of each format, so large that a step of writing is more than the zeros that pass as data."""
    frames = rng.poisson(3, (6, 160, 192))
    made = {"movie.eer": make_samples(root, rng)["movie.eer"][0]}
    for name in FORMATS[:3]:
        write_mrc(root / "m.mrc", frames.astype(name.partition(".")[0]), pixel_size=1.0)
        made[name] = (root / "m.mrc").read_bytes()
    made["gzip.gz"] = gzip.compress(made["int8.mrc"], 1)
    for name, compression in (("None.tif", None), ("lzw.tif", "lzw"), ("zstd.tif", "zstd")):
        write_movie_tiff(root / "m.tif", frames.astype(np.uint8), compression)
        made[name] = (root / "m.tif").read_bytes()
    return made


def _watch(waiting: list[_Writer], pattern: str, tally: _Tally, rng: np.random.Generator) -> None:
    now, settling = 0.0, Settling(settle=SETTLE, give_up=60.0)
    active: list[_Writer] = []
    while waiting or active:
        while waiting and len(active) < AT_ONCE:
            active.append(waiting.pop())
            active[-1].begins = now + float(rng.uniform(0, 5))
        now += SCAN
        for writer in active:
            writer.advance(now)
        ready = {found.source for found in settling.look(scan(pattern), now)[0]}
        for writer in list(active):
            given_up = writer.habit in NEVER_WHOLE and writer.ended and now > writer.begins + 100
            if writer.path in ready:
                tally.take(writer, now)
            elif given_up:
                tally.broken += 1
            else:
                continue
            settling.forget(writer.path)
            active.remove(writer)
            for path in writer.path.parent.glob(writer.path.name.partition("_fractions")[0] + "[_.]*"):
                path.unlink()


def crowd(root: Path, *, count: int) -> dict[str, Any]:
    """``count`` files came while nobody looked, and no watcher told: looks until all are known."""
    camera = root / "camera"
    first = camera / "g0" / "m.tiff"
    first.parent.mkdir(parents=True)
    first.write_bytes(small_movie(0))
    for n in range(1, count):
        path = camera / f"g{n % 80}" / f"m{n}.tiff"
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(first)
    session = pretend_session(root / "sessions", camera)
    with Store(session.folder / "session.db") as store, acquire(store):
        logs = Logbook(session.folder)
        revision, settings = store.latest_settings()
        intake = Intake(Live(session.folder, store, logs, settings, revision))
        begin, known = time.process_time(), []
        for _ in range(2):
            intake.look()
            known.append(len(session.movies))
        seconds = time.process_time() - begin
        logs.close()
    problems = [] if known[-1] == count else [f"{known} of {count} known after two looks"]
    return {"files": count, "known after each look": known, "CPU s": round(seconds, 1), "problems": problems}


def _writer(path: Path, content: bytes, number: int, rng: np.random.Generator) -> _Writer:
    habit = list(WRITERS)[number % len(WRITERS)]
    pace = float(rng.uniform(0.1, 0.8 if habit == "paused" else 0.35 * SETTLE))
    xml = ("after", "first", "never")[int(rng.integers(3))]
    steps = WRITERS[habit](path, content, int(rng.integers(4, 12)))
    return _Writer(path, content, steps, 0.0, pace, habit, xml)
