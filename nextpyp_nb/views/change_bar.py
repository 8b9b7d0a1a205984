"""Settings changed elsewhere than on their page: what it does again, and then it is done."""

from typing import Any

from nextpyp_nb.settings import Settings
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.pieces import button, group, guarded, say, show, text
from nextpyp_nb.views.rerun import rerun_sentence
from nextpyp_nb.views.state import LiveState, Snapshot


class ChangeBar(Box):
    """Asks before settings are saved for the whole session and applied."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.changes: dict[str, Any] = {}
        self.words = text("", "nb-grow")
        self.sure = button("Use for the session", self.apply, "nb-primary", "nb-sure")
        cancel = button("Cancel", lambda: show(self, False), "nb-change-cancel")
        super().__init__([self.words, group(self.sure, cancel)])
        for name in ("nb-row", "nb-confirm", "nb-change", "nb-hidden"):
            self.add_class(name)

    @guarded
    def ask(self, changes: dict[str, Any], words: str) -> None:
        """Say what ``changes`` (flat names of settings) do, and wait for a yes."""
        self.changes = changes
        snapshot: Snapshot = self.live.snapshot
        base = self.session.settings
        work = rerun_sentence(base, base.updated(changes), snapshot)
        when = "This will" if _works(snapshot) else "When pre-processing is started, this will"
        say(self.words, f"{words} for the whole session? {when} {work}.")
        show(self, True)

    @guarded
    def apply(self) -> None:
        """Save them as a revision, and let pre-processing take them when it is at work."""
        changes, restart = self.changes, _works(self.live.snapshot)
        show(self, False)

        def save() -> Any:
            settings: Settings = self.session.settings.updated(changes)
            answer = self.session.save_settings(settings).wait(timeout=5)
            return self.session.restart("preprocess") if answer.ok and restart else answer

        self.live.do(save, lambda answer: self.banner.tell(answer.message), doing="Use for the session")


def _works(snapshot: Snapshot) -> bool:
    return snapshot.status.runner == "running" and snapshot.status.tracks["preprocess"].state != "stopped"
