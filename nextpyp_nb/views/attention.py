"""What needs a person: movies that failed, and what is wrong with the session as a whole."""

import base64
from pathlib import Path
from typing import Any

from nextpyp_nb.session.alerts import Alert, session_alerts
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import Markup, markup
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.track_panel import TITLES

SHOWN = 30


class Attention(Box):
    """Failed movies, each with its reason, Retry and Ignore."""

    def __init__(self, session: Any, live: LiveState, show_log: Any) -> None:
        self.session, self.live, self.banner, self._show_log = session, live, live.banner, show_log
        self.title = text("", "nb-grow")
        self.retry_all = button("Retry all", self.retry_every, "nb-retry-all")
        self.entries = column(classes=("nb-entries",))
        self.rows: dict[Any, tuple[Any, Box]] = {}
        self.gain = text("", "nb-entry", "nb-gain-alert", "nb-hidden")
        title = row(self.title, self.retry_all, classes=("nb-card-title",))
        self.alerts = column(classes=("nb-alerts", "nb-hidden"))
        self.alert_rows: dict[str, tuple[Any, Any, Box]] = {}
        self.begins: dict[str, Any] = {}
        super().__init__([title, self.gain, self.alerts, self.entries])
        for name in ("nb-column", "nb-card", "nb-attention"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Show the failures; a row that stays is changed in place."""
        failed, folder = snapshot.failed, self.session.folder
        alerts = session_alerts(snapshot.status, snapshot.micrographs, snapshot.alarms, folder)
        self._draw_alerts(alerts)
        say(
            self.title,
            markup(
                "<b>Needs attention</b><span>{n}</span>",
                n=_count(len(failed), len(alerts) + (snapshot.gain_alert is not None)),
            ),
        )
        show(self.gain, snapshot.gain_alert is not None)
        if snapshot.gain_alert is not None:
            say(self.gain, _gain_alert(snapshot.gain_alert, self.session.folder / "gain" / "check.jpg"))
        show(self.retry_all, len(failed) > 1)
        wanted = {}
        for entry in failed.head(SHOWN).to_dict("records"):
            key = (entry["movie"], entry["stage"])
            wanted[key] = self.rows.get(key) or self._row(entry["movie"])
            say(wanted[key][0], _failure(entry))
        self.rows = wanted
        lines = tuple(line for _, line in wanted.values())
        if lines != self.entries.children:
            self.entries.children = lines

    @guarded
    def retry_every(self) -> None:
        """Try all failed movies again."""
        self.live.do(self.session.retry, doing="Retry all")

    def _draw_alerts(self, alerts: list[Alert]) -> None:
        show(self.alerts, bool(alerts))
        self.begins = {alert.kind: alert.movie for alert in alerts}
        self.alert_rows = {a.kind: self.alert_rows.get(a.kind) or self._alert_row(a.kind) for a in alerts}
        for alert in alerts:
            label, opener, _ = self.alert_rows[alert.kind]
            say(label, _alert(alert))
            show(opener, alert.movie is not None)
        lines = tuple(line for *_, line in self.alert_rows.values())
        if lines != self.alerts.children:
            self.alerts.children = lines

    def _alert_row(self, kind: str) -> tuple[Any, Any, Box]:
        label = text("", "nb-grow")
        opener = button(
            "Show", lambda: self.live.open_micrograph(self.begins[kind]), "nb-alert-show",
            tooltip="Open the newest micrograph that it is about",
        )  # fmt: skip
        return label, opener, row(label, opener, classes=("nb-entry",))

    def _row(self, movie: str) -> tuple[Any, Box]:
        label = text("", "nb-grow")
        buttons = group(
            button("Retry", lambda: self._command(self.session.retry, movie), "nb-retry"),
            button("Ignore", lambda: self._command(self.session.ignore, movie), "nb-ignore"),
            button("Log", lambda: self._show_log(movie), "nb-movie-log"),
        )
        return label, row(label, buttons, classes=("nb-entry",))

    @guarded
    def _command(self, command: Any, movie: str) -> None:
        self.live.do(lambda: command(movie), doing=movie)


def _gain_alert(check: dict[str, Any], picture: Path) -> str:
    try:
        encoded = base64.b64encode(picture.read_bytes()).decode()
    except OSError:
        encoded = ""
    shown = markup(
        '<details><summary class="nb-small">the frames raw, as set, as proposed</summary>'
        '<img style="max-width:100%" src="data:image/jpeg;base64,{encoded}"></details>',
        encoded=encoded,
    )
    return markup(
        '<div><i class="nb-light nb-is-failed"></i><b>Gain reference</b> '
        '<span class="nb-small">{text}</span>{shown}</div>',
        text=check["text"],
        shown=shown if encoded else "",
    )


def _count(failed: int, alerts: int) -> str:
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{alerts} alert{'s' * (alerts != 1)}"] if alerts else []
    return ", ".join(parts) or "nothing"


def _alert(alert: Alert) -> Markup:
    return markup(
        '<span class="nb-entry-text"><i class="nb-light nb-is-paused"></i>'
        '<span>{title}</span><span class="nb-muted nb-small">{text}</span></span>',
        title=alert.title,
        text=alert.text,
    )


def _failure(entry: dict[str, Any]) -> str:
    attempts = int(entry.get("attempts") or 0)
    tries = f"; {attempts} attempt{'s' * (attempts != 1)}" if attempts else ""
    return markup(
        '<span class="nb-entry-text"><i class="nb-light nb-is-failed"></i>'
        '<span class="nb-ellipsis" title="{movie}">{movie}</span>'
        '<span class="nb-muted nb-small">failed in {stage}: {reason}{tries}</span></span>',
        movie=entry["movie"],
        stage=TITLES.get(entry["stage"], entry["stage"]).lower(),
        reason=entry["reason"],
        tries=tries,
    )
