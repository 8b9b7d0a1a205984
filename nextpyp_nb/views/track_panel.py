"""One track: what it does now, how far it is, and its five buttons."""

from collections.abc import Callable
from typing import Any

from nextpyp_nb.views.late import Box, Button
from nextpyp_nb.views.markup import Markup, clock, duration, joined, markup, number
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.rerun import rerun_sentence
from nextpyp_nb.views.state import LiveState, Snapshot

TITLES = {"transfer": "File transfer", "preprocess": "Pre-processing", "classify": "2D classification"}
UNITS = {"transfer": "movies", "preprocess": "movies", "classify": "rounds"}


def track_state(snapshot: Snapshot, track: str) -> str:
    """State of a track as the page says it: a track without a living runner is stopped."""
    if snapshot.status.runner != "running":
        return "stale" if snapshot.status.runner == "stale" else "stopped"
    return str(snapshot.status.tracks[track].state)


def possible(state: str, counts: dict[str, int]) -> dict[str, bool]:
    """Which buttons of a track can do something in ``state``."""
    results = any(counts.get(name, 0) for name in ("done", "failed"))
    stopped = state in ("stopped", "stale")
    return {
        # While the last movies or the round in flight are finished, Start takes the Stop back.
        "start": stopped or state in ("paused", "stopping"),
        "restart": state != "stopping" and (not stopped or results),
        "clear": results and state != "stopping",
        "stop": state in ("running", "waiting", "paused"),
        "logs": True,
    }


class TrackPanel(Box):
    """A row of the Operation page; also good alone in a cell."""

    def __init__(self, session: Any, track: str, live: LiveState, show_logs: Callable[[str], None]) -> None:
        self.session, self.track, self.live, self.banner = session, track, live, live.banner
        self._snapshot: Snapshot | None = None
        self._confirmed: Callable[[], None] = lambda: None
        self.name, self.progress, self.rate = (
            text("", c) for c in ("nb-name-text", "nb-progress", "nb-rate")
        )
        self.buttons: dict[str, Button] = {
            "start": button("Start", self.start, "nb-start"),
            "restart": button("Restart", self.ask_restart, "nb-restart"),
            "clear": button("Clear", self.ask_clear, "nb-clear"),
            "stop": button("Stop", self.stop, "nb-stop"),
            "logs": button("Logs", lambda: show_logs(track), "nb-logs"),
        }
        line = Box([self.name, self.progress, self.rate, group(*self.buttons.values())])
        line.add_class("nb-track-line")
        self.question = text("", "nb-grow", "nb-question")
        self.sure = button("Restart", self.confirmed, "nb-sure")
        self.confirm = row(
            self.question,
            button("Leave it", self.unconfirmed, "nb-leave"),
            self.sure,
            classes=("nb-confirm",),
        )
        show(self.confirm, False)
        super().__init__([line, self.confirm])
        for name in ("nb-column", "nb-track", f"nb-track-{track}"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the track's state in place."""
        self._snapshot = snapshot
        status = snapshot.status.tracks[self.track]
        state = track_state(snapshot, self.track)
        # Buttons first: where the words are there, the buttons fit them.
        for name, can in possible(state, status.counts).items():
            self.buttons[name].disabled = not can
        say(self.name, _name(self.track, state, status))
        say(self.progress, _progress(self.track, status.counts))
        say(self.rate, _rate(self.track, state, status))

    @guarded
    def start(self) -> None:
        """Start the track, and the runner when none is alive."""
        self.live.do(lambda: self.session.start(self.track), doing=f"Start {TITLES[self.track]}")

    @guarded
    def stop(self) -> None:
        """Finish what is in flight, then stop."""
        self.live.do(lambda: self.session.stop(self.track), doing=f"Stop {TITLES[self.track]}")

    @guarded
    def ask_restart(self) -> None:
        """Say what Restart will do, and wait for a yes."""
        self._ask("Restart", self._restart_sentence(), lambda: self.session.restart(self.track))

    @guarded
    def ask_clear(self) -> None:
        """Say what Clear will drop, and wait for a yes."""
        self._ask("Clear", self._clear_sentence(), lambda: self.session.clear(self.track))

    @guarded
    def confirmed(self) -> None:
        """Do what was asked about."""
        show(self.confirm, False)
        self._confirmed()

    def unconfirmed(self) -> None:
        """Leave everything as it is."""
        show(self.confirm, False)

    def _ask(self, verb: str, sentence: str, command: Callable[[], Any]) -> None:
        say(
            self.question,
            markup("<b>{verb} {name}?</b> {sentence}", verb=verb, name=TITLES[self.track], sentence=sentence),
        )
        self.sure.description = verb
        (self.sure.add_class if verb == "Clear" else self.sure.remove_class)("nb-danger")
        self._confirmed = lambda: self.live.do(command, doing=f"{verb} {TITLES[self.track]}")
        show(self.confirm, True)

    def _restart_sentence(self) -> str:
        snapshot = self._snapshot
        assert snapshot is not None
        failed = snapshot.status.tracks[self.track].counts.get("failed", 0)
        work = "look for movies again"
        if self.track != "transfer":
            work = self._work(snapshot)
        again = f", and try {failed} failed again" if failed else ""
        return f"It will {work}{again}."

    def _work(self, snapshot: Snapshot) -> str:
        """What differs between the settings that made the results and those saved now."""
        table = snapshot.micrographs if self.track == "preprocess" else snapshot.rounds.tail(1)
        made = table.groupby("revision") if len(table) else ()
        parts = []
        for revision, rows in made:
            old = self.session.settings_of(int(revision))
            mine = rows if self.track == "preprocess" else rows.head(0)
            parts.append(rerun_sentence(old, snapshot.settings, snapshot, mine))
        return "; ".join(part for part in dict.fromkeys(parts) if part != "redo nothing") or "redo nothing"

    def _clear_sentence(self) -> str:
        snapshot = self._snapshot
        assert snapshot is not None
        micrographs, rounds = len(snapshot.micrographs), len(snapshot.rounds)
        if self.track == "classify":
            return f"It will drop the classes of {rounds} rounds and start over."
        kept = "; transferred movies stay" if self.track == "transfer" else ""
        return (
            f"It will drop {micrographs:,} micrographs, their picks and the 2D classes, and start over{kept}."
        )


def _name(track: str, state: str, status: Any) -> Markup:
    word = "the runner does not answer" if state == "stale" else state
    since = f"since {clock(status.since)}" if status.since is not None else ""
    message = status.message
    if state == "stopped" and message and since:
        message = f"before: {message}"
    return markup(
        '<span class="nb-track-name"><i class="nb-light nb-is-{state}"></i><span><b>{title}</b> '
        '<span class="nb-muted nb-state">{word}</span> <span class="nb-muted nb-small">{since}</span></span>'
        '<span class="nb-muted nb-small nb-ellipsis nb-message" title="{message}">{message}</span></span>',
        state=state,
        title=TITLES[track],
        word=word,
        since=since,
        message=message,
    )


def _progress(track: str, counts: dict[str, int]) -> Markup:
    """Bar and counts: movies by state; for the classification, particles that a round has seen or not."""
    particles = track == "classify"
    done, waiting = ("classified", "new") if particles else ("done", "waiting")
    units = [f"round{'s' * (counts[name] != 1)} " if particles else "" for name in ("running", "failed")]
    # name of the colour, how many, what it is called, part of the bar
    parts = (
        ("done", counts.get(done, 0), done, True),
        ("running", counts["running"], f"{units[0]}running", not particles),
        ("waiting", counts.get(waiting, 0), waiting, True),
        ("failed", counts["failed"], f"{units[1]}failed", not particles),
    )
    bar = [
        markup('<i class="nb-{colour}" style="flex:{n} 0 0"></i>', colour=colour, n=n)
        for colour, n, _, drawn in parts
        if n and drawn
    ]
    said = [
        markup(
            '<span class="nb-count-{colour} {tone}"><b>{n}</b> {word}</span>',
            colour=colour,
            tone="nb-failed-text" if colour == "failed" else "",
            n=number(n),
            word=word,
        )
        for colour, n, word, drawn in parts
        if n or (colour != "failed" and drawn)
    ]
    return markup(
        '<div class="nb-bar">{bar}</div><div class="nb-counts">{said}</div>',
        bar=joined(bar),
        said=joined(said),
    )


def _rate(track: str, state: str, status: Any) -> Markup:
    first = f"{number(status.rate_per_hour)} {UNITS[track]}/h" if status.rate_per_hour else "–"
    if status.backlog:
        eta = f", about {duration(status.eta_s)}" if status.eta_s else ""
        second = f"{number(status.backlog)} waiting{eta}"
    else:
        second = "up to date" if state in ("running", "waiting") else "nothing waiting"
    return markup(
        '<span class="nb-strong">{first}</span><br><span class="nb-muted nb-small">{second}</span>',
        first=first,
        second=second,
    )


def track_cell(panel: TrackPanel, logs: Box, live: LiveState) -> Box:
    """A track's panel with what it needs to live alone in a cell."""
    cell = column(live.presence, live.banner, panel, logs, classes=("nb-app",))
    live.subscribe(panel.draw)
    return cell
