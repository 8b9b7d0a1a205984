"""Exports and reports with state, progress, log and path; what runs can be cancelled."""

import json
from pathlib import Path
from typing import Any

from nextpyp_nb.views.late import Box, Button
from nextpyp_nb.views.markup import Markup, clock, known, markup, number
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot

SHOWN = 30
LIGHTS = {"done": "done", "running": "busy", "failed": "failed"}
OPEN = ("waiting", "running")
TAIL = 64 << 10


class Jobs(Box):
    """A line a job, newest first; a line that stays is changed in place."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.title = text(markup("<b>Jobs and exports</b>"), "nb-card-title")
        self.none = text(
            "None yet. Export… at the top right writes STAR files for RELION, or a report.", "nb-muted"
        )
        self.entries = column(classes=("nb-entries",))
        self.rows: dict[int, tuple[Any, Button, Any, Box]] = {}
        self.logged: int | None = None
        super().__init__([self.title, self.none, self.entries])
        for name in ("nb-column", "nb-card", "nb-exports"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Show the jobs."""
        records = snapshot.exports.to_dict("records")
        newest = sorted(records, key=lambda record: -record["id"])[:SHOWN]
        show(self.none, not newest)
        for record in newest:
            number = int(record["id"])
            if number not in self.rows:
                self.rows[number] = self._row(number)
            label, cancel, log, _ = self.rows[number]
            say(label, _job(record))
            show(cancel, record["state"] in OPEN and snapshot.writer)
            show(log, self.logged == number)
            if self.logged == number:
                say(log, job_lines(self.session.folder, number))
        lines = tuple(self.rows[int(record["id"])][-1] for record in newest)
        if lines != self.entries.children:
            self.entries.children = lines

    @guarded
    def show_log(self, number: int) -> None:
        """Open the log of a job below its line, or close it."""
        self.logged = None if self.logged == number else number
        self.draw(self.live.snapshot)

    @guarded
    def cancel(self, number: int) -> None:
        """End a job."""
        self.live.do(lambda: self.session.cancel_export(number), doing=f"Cancel job {number}")

    def _row(self, number: int) -> tuple[Any, Button, Any, Box]:
        label, log = text("", "nb-grow"), text("", "nb-log-lines", "nb-job-log")
        cancel = button("Cancel", lambda: self.cancel(number), "nb-danger", "nb-job-cancel")
        buttons = group(cancel, button("Log", lambda: self.show_log(number), "nb-job-log-open"))
        line = column(row(label, buttons), log, classes=("nb-entry", "nb-job"))
        return label, cancel, log, line


def job_lines(folder: Path, number: int) -> Markup:
    """The end of a job's log, as text."""
    path = folder / "logs" / f"job_{number:04d}.log"
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return markup("There is no log.")
    said = []
    for line in lines:
        try:
            entry = json.loads(line)
            said.append(f"{clock(entry['time'])}  {entry['text']}")
        except (ValueError, KeyError, TypeError):
            # The first line of the tail may be cut.
            continue
    return markup("<pre>{said}</pre>", said="\n".join(said))


def _job(record: dict[str, Any]) -> Markup:
    place = f" · {record['path']}" if known(record.get("path")) else ""
    message = f" · {record['message']}" if known(record.get("message")) else ""
    ended = record["state"] not in OPEN
    return markup(
        '<span class="nb-entry-text"><i class="nb-light nb-is-{light}"></i><span>{title}</span>'
        '<span class="nb-muted nb-small nb-job-text">{state} {time}{message}{place}{bar}</span></span>',
        light=LIGHTS.get(record["state"], "waiting"),
        title=_title(record),
        state=record["state"],
        time=clock(record.get("finished" if ended else "created")),
        message=message,
        place=place,
        bar=_bar(record) if record["state"] == "running" else "",
    )


def _title(record: dict[str, Any]) -> str:
    kind = str(record.get("kind") or "export").capitalize()
    chosen = f" of “{record['filter']}”" if known(record.get("filter")) else ""
    return f"{kind} {record['id']}{chosen}"


def _bar(record: dict[str, Any]) -> Markup:
    done, total = record.get("done"), record.get("total")
    if not known(done) or not known(total) or not total:
        return Markup("")
    return markup(
        '<span class="nb-bar nb-job-bar" title="{said}"><i class="nb-running" style="flex:{done} 0 0"></i>'
        '<i style="flex:{left} 0 0"></i></span>',
        said=f"{number(done)} of {number(total)}",
        done=int(done),
        left=int(total - done),
    )
