"""The Operation page: three tracks, how movies flow, what needs attention, jobs."""

from typing import Any

from nextpyp_nb.session.stages import TRACKS
from nextpyp_nb.views.attention import Attention
from nextpyp_nb.views.jobs import Jobs
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.logs import LogViewer
from nextpyp_nb.views.pieces import button, column, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.track_panel import TrackPanel, track_state
from nextpyp_nb.views.traffic import TrafficCards


class OperationPage(Box):
    """What the session does now, and the buttons that change it."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.log_viewer = LogViewer()
        self.tracks = {name: TrackPanel(session, name, live, self.log_viewer.open_track) for name in TRACKS}
        self.revision = text("", "nb-muted", "nb-small", "nb-grow", "nb-revision")
        self.start_all = button("Start all", self.start, "nb-start-all", tooltip="Start the three tracks")
        self.cancel = button("Cancel all", self.ask_cancel, "nb-danger", "nb-cancel")
        self.sure = row(
            text(
                "Stop everything now? Movies in work are tried again at the next Start; results stay.",
                "nb-grow",
            ),
            button("Leave it", lambda: show(self.sure, False), "nb-leave"),
            button("Cancel all", self.cancel_all, "nb-danger", "nb-sure"),
            classes=("nb-confirm", "nb-hidden"),
        )
        foot = row(self.revision, self.start_all, self.cancel, classes=("nb-track-foot",))
        card = column(*self.tracks.values(), foot, self.sure, classes=("nb-card", "nb-tracks"))
        self.attention = Attention(session, live, self.log_viewer.open_movie)
        self.jobs = Jobs(session, live)
        halves = Box([self.attention, self.jobs])
        halves.add_class("nb-halves")
        self.traffic = TrafficCards(session)
        super().__init__([card, self.log_viewer, self.traffic, halves])
        for name in ("nb-column", "nb-operation"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw every part in place."""
        for panel in (*self.tracks.values(), self.log_viewer, self.traffic, self.attention, self.jobs):
            panel.draw(snapshot)
        say(self.revision, _revision(snapshot))
        stopped = [track_state(snapshot, name) in ("stopped", "stale") for name in TRACKS]
        self.start_all.disabled = not any(stopped)
        self.cancel.disabled = snapshot.status.runner != "running"

    @guarded
    def start(self) -> None:
        """Start all tracks, and the runner when none is alive."""
        self.live.do(self.session.start, doing="Start all")

    @guarded
    def ask_cancel(self) -> None:
        """Wait for a yes."""
        show(self.sure, True)

    @guarded
    def cancel_all(self) -> None:
        """Stop everything now."""
        show(self.sure, False)
        self.live.do(self.session.cancel, doing="Cancel all")


def _revision(snapshot: Snapshot) -> str:
    if snapshot.status.error:
        return f"The runner ended with an error: {snapshot.status.error}"
    in_use, saved = snapshot.status.revision, snapshot.revision
    if in_use and in_use != saved and snapshot.status.runner == "running":
        return f"Settings revision {saved} is saved; the tracks use revision {in_use} until Restart."
    return f"Settings revision {saved} is in use by all tracks."
