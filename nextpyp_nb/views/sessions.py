"""The list of sessions under a root, and the way to a new one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import clock, markup, number
from nextpyp_nb.views.pieces import button, column, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState

HEADINGS = ("Name", "Group", "Status", "Movies", "Micrographs", "Last activity", "Created", "")
NUMBERS = ("Movies", "Micrographs")


class SessionsPage(Box):
    """A line a session, with a button that opens it."""

    def __init__(
        self, live: LiveState, opened: Callable[[str], None], new: Callable[[], None], root: Path
    ) -> None:
        self.live, self.banner, self._opened = live, live.banner, opened
        self.lines: dict[str, tuple[list[Any], Box]] = {}
        self.none = text(f"There is no session in {root} yet.", "nb-nothing")
        self.entries = column(classes=("nb-session-lines",))
        head = Box(
            [text(h, "nb-muted", "nb-small", *(("nb-right",) if h in NUMBERS else ())) for h in HEADINGS]
        )
        head.add_class("nb-session-line")
        top = row(
            text(
                markup(
                    '<span class="nb-name">Sessions</span> <span class="nb-muted">{root}</span>', root=root
                ),
                "nb-grow",
            ),
            button("New session", new, "nb-primary", "nb-new"),
        )
        super().__init__([top, column(head, self.entries, self.none, classes=("nb-card",))])
        for name in ("nb-column", "nb-pages", "nb-sessions"):
            self.add_class(name)
        live.subscribe(self.draw)

    @guarded
    def draw(self, summaries: list[Any]) -> None:
        """Show the sessions, the youngest first; a line that stays is changed in place."""
        show(self.none, not summaries)
        wanted = {}
        for summary in sorted(summaries, key=lambda s: s.created, reverse=True):
            cells, line = self.lines.get(summary.name) or self._line(summary.name)
            for cell, content in zip(cells, _cells(summary), strict=True):
                say(cell, content)
            wanted[summary.name] = (cells, line)
        self.lines = wanted
        lines = tuple(line for _, line in wanted.values())
        if lines != self.entries.children:
            self.entries.children = lines

    def _line(self, name: str) -> tuple[list[Any], Box]:
        cells = [text("", *(("nb-right",) if h in NUMBERS else ())) for h in HEADINGS[:-1]]
        line = Box([*cells, button("Open", lambda: self._opened(name), "nb-open")])
        line.add_class("nb-session-line")
        return cells, line


def _cells(summary: Any) -> list[str]:
    light = {"running": "running", "stale": "stale"}.get(summary.runner, "stopped")
    return [
        markup('<b class="nb-ellipsis" title="{name}">{name}</b>', name=summary.name),
        summary.group or "–",
        markup('<i class="nb-light nb-is-{light}"></i> {word}', light=light, word=summary.runner),
        number(summary.movies),
        number(summary.micrographs),
        clock(summary.last_activity),
        clock(summary.created),
    ]
