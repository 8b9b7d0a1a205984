"""What happened: the session's events, newest first, of one track or of one movie."""

from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import Markup, clock, joined, markup
from nextpyp_nb.views.pieces import button, row, say, show, text
from nextpyp_nb.views.state import Snapshot
from nextpyp_nb.views.track_panel import TITLES

TONES = {"error": "nb-failed-text", "warning": "nb-warning-text"}


class LogViewer(Box):
    """A card that opens below the tracks, and goes on while it is open."""

    def __init__(self) -> None:
        self.track: str | None = None
        self.movie: str | None = None
        self._snapshot: Snapshot | None = None
        self.title, self.lines = text("", "nb-grow", "nb-log-title"), text("", "nb-log-lines")
        super().__init__([row(self.title, button("Close", self.close_log, "nb-close")), self.lines])
        for name in ("nb-column", "nb-card", "nb-log", "nb-hidden"):
            self.add_class(name)

    def open_track(self, track: str) -> None:
        """Show a track's events; a second call closes them."""
        if self.track == track and self.movie is None:
            return self.close_log()
        return self._open(track, None)

    def open_movie(self, movie: str) -> None:
        """Show a movie's events."""
        self._open(None, movie)

    def close_log(self) -> None:
        """Put the card away."""
        self.track = self.movie = None
        show(self, False)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the events in place, when open."""
        self._snapshot = snapshot
        if self.track is None and self.movie is None:
            return
        chosen = [
            e for e in snapshot.events if self.track in (None, e.track) and self.movie in (None, e.movie)
        ]
        what = TITLES[self.track] if self.track else self.movie
        say(self.title, markup("<b>Log</b> <span class='nb-muted'>{what}, newest first</span>", what=what))
        say(self.lines, event_lines(chosen) if chosen else "Nothing has happened yet.")

    def _open(self, track: str | None, movie: str | None) -> None:
        self.track, self.movie = track, movie
        show(self, True)
        if self._snapshot is not None:
            self.draw(self._snapshot)


def event_lines(events: list) -> Markup:  # type: ignore[type-arg]
    """Events as rows of a table."""
    rows = [
        markup(
            '<tr><td class="nb-muted">{time}</td><td class="{tone}">{level}</td>'
            "<td>{movie}</td><td>{text}</td></tr>",
            time=clock(e.time),
            tone=TONES.get(e.level, "nb-muted"),
            level=e.level,
            movie=e.movie or "",
            text=e.text,
        )
        for e in events
    ]
    return markup("<table>{rows}</table>", rows=joined(rows))
