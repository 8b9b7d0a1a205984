"""The list of sessions under a root: find, open, copy, delete, and the way to a new one."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextpyp_nb.session.disk import DiskUse, disk_use
from nextpyp_nb.views.late import Box, Button, Dropdown, Text
from nextpyp_nb.views.markup import Markup, clock, joined, markup, number, size
from nextpyp_nb.views.pieces import button, column, flag, guarded, row, say, show, text
from nextpyp_nb.views.session_actions import SessionActions
from nextpyp_nb.views.state import LiveState
from nextpyp_nb.views.track_panel import TITLES
from nextpyp_nb.views.trash_card import TrashCard

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# Heading, and what a line is sorted by.
COLUMNS: tuple[tuple[str, Callable[[Any, DiskUse | None], Any]], ...] = (
    ("Name", lambda s, _: s.name.lower()),
    ("Group", lambda s, _: s.group or ""),
    ("Owner", lambda s, _: s.owner),
    ("Status", lambda s, _: (s.runner, s.doing)),
    ("Micrographs", lambda s, _: s.micrographs),
    ("Rate", lambda s, _: s.rate_per_hour),
    ("Disk", lambda _, used: used.bytes if used else 0),
    ("Last activity", lambda s, _: s.last_activity or LONG_AGO),
    ("Created", lambda s, _: s.created),
)
NUMBERS = ("Micrographs", "Rate", "Disk")
ANY_TYPE, ANY_GROUP, ANY_STATUS = "any type", "any group", "any status"
# Disk use is looked at again after so many seconds, when something happened meanwhile.
STALE = 60.0


class SessionsPage(Box):
    """A line a session, with what can be done with it."""

    def __init__(
        self, live: LiveState, opened: Callable[[str], None], new: Callable[[], None], root: Path
    ) -> None:
        self.live, self.banner, self.root, self._opened = live, live.banner, root, opened
        self.lines: dict[str, _Line] = {}
        self.used: dict[str, tuple[Any, datetime, DiskUse]] = {}
        self._looking, self._order, self._summaries = False, ("Created", True), []
        self.none = text("", "nb-nothing")
        self.entries = column(classes=("nb-session-lines",))
        self.search = Text(placeholder="Search name, group, owner", tooltip="Search")
        self.search.add_class("nb-session-search")
        self.type = Dropdown(options=[ANY_TYPE], tooltip="Type of session")
        self.group = Dropdown(options=[ANY_GROUP], tooltip="Group")
        states = [ANY_STATUS, "running", "stopped", "stale", "something failed"]
        self.status = Dropdown(options=states, tooltip="Status")
        for control in (self.search, self.type, self.group, self.status):
            control.observe(lambda _: self._again(), "value")
        self.count, self.running = text("", "nb-muted", "nb-grow"), text("", "nb-runs-now")
        self.headings = {name: self._heading(name) for name, _ in COLUMNS}
        head = Box([*self.headings.values(), text("")])
        head.add_class("nb-session-line")
        title = markup(
            '<span class="nb-name">Sessions</span> <span class="nb-muted">{root}</span>', root=root
        )
        top = row(text(title, "nb-grow"), button("Start single-particle", new, "nb-primary", "nb-new"))
        tools = row(self.search, self.type, self.group, self.status, self.count)
        runs = column(text("Runs now", "nb-strong", "nb-card-title"), self.running, classes=("nb-card",))
        self.trash = TrashCard(live, root)
        card = column(tools, head, self.entries, self.none, classes=("nb-card",))
        super().__init__([top, card, runs, self.trash])
        for name in ("nb-column", "nb-pages", "nb-sessions"):
            self.add_class(name)
        live.subscribe(self.draw)

    @guarded
    def draw(self, summaries: list[Any]) -> None:
        """Show the sessions that are looked for; a line that stays is changed in place."""
        self._summaries = summaries
        _offer(self.type, (ANY_TYPE, *sorted({s.type for s in summaries})))
        _offer(self.group, (ANY_GROUP, *sorted({s.group for s in summaries if s.group})))
        chosen = self._sorted([s for s in summaries if self._wanted(s)])
        show(self.none, not chosen)
        say(self.none, "None matches." if summaries else f"There is no session in {self.root} yet.")
        say(self.count, f"{number(len(chosen))} of {number(len(summaries))} sessions")
        for summary in chosen:
            line = self.lines.get(summary.name) or self._line(summary.name)
            line.draw(summary, self._use(summary.name))
        present = {summary.name for summary in summaries}
        self.lines = {name: line for name, line in self.lines.items() if name in present}
        lines = tuple(self.lines[summary.name] for summary in chosen)
        if lines != self.entries.children:
            self.entries.children = lines
        say(self.running, _runs_now(summaries))
        self._look_at_disk(chosen)
        self.trash.draw()

    @guarded
    def sort(self, heading: str) -> None:
        """Sort by a column; a second time the other way round."""
        self._order = (heading, not self._order[1] if self._order[0] == heading else heading in NUMBERS)
        self._again()

    def _again(self) -> None:
        self.draw(self._summaries)

    def _wanted(self, summary: Any) -> bool:
        words = f"{summary.name} {summary.group or ''} {summary.owner}".lower()
        status = self.status.value
        return (
            all(word in words for word in self.search.value.lower().split())
            and self.type.value in (ANY_TYPE, summary.type)
            and self.group.value in (ANY_GROUP, summary.group)
            and (status in (ANY_STATUS, summary.runner) or (status == "something failed" and summary.failed))
        )

    def _sorted(self, summaries: list[Any]) -> list[Any]:
        heading, backwards = self._order
        key = dict(COLUMNS)[heading]
        for name, made in self.headings.items():
            arrow = (" ↓" if backwards else " ↑") if name == heading else ""
            if made.description != name + arrow:
                made.description = name + arrow
        return sorted(summaries, key=lambda s: (key(s, self._use(s.name)), s.name), reverse=backwards)

    def _use(self, name: str) -> DiskUse | None:
        return self.used[name][2] if name in self.used else None

    def _look_at_disk(self, summaries: list[Any]) -> None:
        """Look at one session's folder at a time, beside the page."""
        if self._looking:
            return
        now = datetime.now(UTC)
        for summary in summaries:
            seen = self.used.get(summary.name)
            if seen is None or (seen[0] != summary.last_activity and (now - seen[1]).total_seconds() > STALE):
                self._looking = True
                self.live.fetch(lambda s=summary: (s, disk_use(s.folder)), self._looked)
                return

    def _looked(self, found: tuple[Any, DiskUse]) -> None:
        summary, used = found
        self.used[summary.name] = (summary.last_activity, datetime.now(UTC), used)
        self._looking = False
        self._again()

    def _heading(self, name: str) -> Button:
        made = button(
            name, lambda: self.sort(name), "nb-plain", "nb-heading", tooltip=f"Sort by {name.lower()}"
        )
        flag(made, "nb-right", name in NUMBERS)
        return made

    def _line(self, name: str) -> "_Line":
        self.lines[name] = _Line(name, self.live, self._opened, self.root)
        return self.lines[name]


class _Line(Box):
    """One session; what else can be done with it opens below."""

    def __init__(self, name: str, live: LiveState, opened: Callable[[str], None], root: Path) -> None:
        self.cells = [text("", *(("nb-right",) if heading in NUMBERS else ())) for heading, _ in COLUMNS]
        self.actions = SessionActions(name, live, root)
        buttons = row(
            button("Open", lambda: opened(name), "nb-open"), button("More", self.actions.toggle, "nb-more")
        )
        line = Box([*self.cells, buttons])
        line.add_class("nb-session-line")
        super().__init__([line, self.actions])
        self.add_class("nb-column")

    def draw(self, summary: Any, used: DiskUse | None) -> None:
        """Show what is known of it."""
        for cell, content in zip(self.cells, _cells(summary, used), strict=True):
            say(cell, content)
        self.actions.draw(summary, used)


def _offer(choice: Dropdown, options: tuple[str, ...]) -> None:
    """Give a choice other options; what is chosen stays where it still can be."""
    if choice.options != options:
        chosen = choice.value
        choice.options = options
        choice.value = chosen if chosen in options else options[0]


def _cells(summary: Any, used: DiskUse | None) -> list[str]:
    light = {"running": "running", "stale": "stale"}.get(summary.runner, "stopped")
    failed = markup(' <span class="nb-failed-text">{n} failed</span>', n=number(summary.failed))
    share = min(summary.micrographs / summary.movies, 1.0) if summary.movies else 0.0
    return [
        markup('<b class="nb-ellipsis" title="{name}">{name}</b>', name=summary.name),
        summary.group or "–",
        summary.owner,
        markup(
            '<i class="nb-light nb-is-{light}"></i> {word}{failed}',
            light=light,
            word="does not answer" if summary.runner == "stale" else summary.runner,
            failed=failed if summary.failed else "",
        ),
        markup(
            '<span title="micrographs of movies found">{done} of {all}</span><span class="nb-bar">'
            '<i class="nb-done" style="flex:{share} 0 0"></i><i style="flex:{rest} 0 0"></i></span>',
            done=number(summary.micrographs),
            all=number(summary.movies),
            share=round(share, 3),
            rest=round(1 - share, 3),
        ),
        f"{number(summary.rate_per_hour)}/h" if summary.rate_per_hour else "–",
        size(used.bytes) if used else "…",
        clock(summary.last_activity),
        clock(summary.created),
    ]


def _runs_now(summaries: list[Any]) -> Markup:
    rows = []
    for summary in summaries:
        if summary.runner != "running":
            continue
        busy = [track for track in summary.tracks.values() if track.state != "stopped"]
        rows += [
            markup(
                "<tr><td><b>{name}</b></td><td>{track}</td><td>{state}</td><td>{message}</td></tr>",
                name="" if place else summary.name,
                track=TITLES[track.name],
                state=track.state,
                message=track.message,
            )
            for place, track in enumerate(busy)
        ]
    return markup("<table>{rows}</table>", rows=joined(rows)) if rows else markup("Nothing.")
