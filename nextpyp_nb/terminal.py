"""Progress of a session in the terminal: one line a track, redrawn in place."""

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

TITLES = {"transfer": "File transfer", "preprocess": "Pre-processing", "classify": "2D classification"}


class Progress:
    """Draw a `SessionStatus` as three bars on a terminal, or as a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._bars = Bars(
            TextColumn("{task.description:<18}"), BarColumn(bar_width=30), TaskProgressColumn(),
            TextColumn("{task.fields[text]}"), console=console, transient=False,
        )  # fmt: skip
        self._rows = {name: self._bars.add_task(title, total=1, text="") for name, title in TITLES.items()}

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, status: Any) -> None:
        """Draw ``status``; off a terminal only what changed is printed."""
        lines = []
        for name, task in self._rows.items():
            track = status.tracks[name]
            done, total = _done(track.counts)
            text = _text(track)
            self._bars.update(task, completed=done, total=max(total, 1), text=text)
            lines.append(f"{TITLES[name]}: {text}")
        said = " | ".join(lines)
        if not self._console.is_terminal and said != self._said:
            self._said = said
            sys.stdout.write(said + "\n")
            sys.stdout.flush()


def _done(counts: dict[str, int]) -> tuple[int, int]:
    done = counts.get("done", 0)
    parts = ("done", "running", "waiting", "ready", "failed", "settling", "stuck")
    return done, sum(counts.get(name, 0) for name in parts)


def _text(track: Any) -> str:
    shown = [f"{track.counts[name]:,} {name}" for name in ("done", "running", "waiting", "failed", "stuck")
             if track.counts.get(name)]  # fmt: skip
    return ", ".join(shown) or track.message
