"""Other settings tried on one micrograph, compared with what the session has, and used for all of it."""

from collections.abc import Callable
from typing import Any

from nextpyp_nb.settings import Settings
from nextpyp_nb.views.change_bar import ChangeBar
from nextpyp_nb.views.form import Form
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import joined, known, markup
from nextpyp_nb.views.micrograph_files import load
from nextpyp_nb.views.pieces import button, flag, group, guarded, row, say, show, text
from nextpyp_nb.views.quantities import quantity
from nextpyp_nb.views.state import LiveState, Snapshot

FIELDS = (
    "picking.radius", "picking.threshold", "picking.distance", "picking.method", "ctf.min_defocus",
    "ctf.max_defocus", "ctf.max_resolution", "ctf.phase_shift",
)  # fmt: skip
COMPARED = ("particles", "defocus_u", "defocus_v", "fit_resolution", "phase_shift", "total_motion")


class TryOutCard(Box):
    """A short form and its result; ``show_tried`` draws what `load` gave of a try-out, or of None."""

    def __init__(
        self, session: Any, live: LiveState, change: ChangeBar, show_tried: Callable[[Any], Any]
    ) -> None:
        self.session, self.live, self.banner, self.change = session, live, live.banner, change
        self.show_tried = show_tried
        self.micrograph: str | None = None
        self.tryout: Any = None
        self.number: str | None = None
        self._revision: Any = None
        self.note = text("", "nb-grow")
        known = {item.key: item for item in Settings.items()}
        self.form = Form([known[key] for key in FIELDS], session.settings, changed=self._edited)
        self.try_button = button("Try", self.try_now, "nb-primary", "nb-try")
        self.use = button("Use for the session…", self.promote, "nb-promote")
        self.now = button("now", lambda: self.turn(False), "nb-show-now")
        self.tried = button("tried", lambda: self.turn(True), "nb-show-tried")
        self.turns = group(self.now, self.tried)
        self.result = text("", "nb-tried-result")
        title = text(markup("<b>Try other settings</b><span>on this micrograph only</span>"), "nb-grow")
        head = row(title, self.turns, classes=("nb-card-title",))
        buttons = row(group(self.try_button, self.use), self.note)
        super().__init__([head, self.form, buttons, self.result])
        for name in ("nb-column", "nb-card", "nb-tryout"):
            self.add_class(name)
        self._show()

    def draw(self, snapshot: Snapshot) -> None:
        """Follow the settings of the session, and a try-out that is on its way."""
        show(self, snapshot.writer)
        if snapshot.revision != self._revision and not self.form.edits():
            self._revision = snapshot.revision
            self.form.put(snapshot.settings)
        if self.number is not None and (self.tryout is None or self.tryout.state in ("queued", "running")):
            number = self.number
            self.live.fetch(lambda: self.session.tryout(number), self._take)
        self._edited()

    def follow(self, name: str) -> None:
        """Another micrograph is looked at: what was tried on it before, if anything."""
        if name != self.micrograph:
            self.micrograph, self.tryout, self.number = name, None, None
            self._show()
            self.live.fetch(lambda: self.session.tryouts(name), self._found)

    @guarded
    def try_now(self) -> None:
        """Let a worker do this micrograph with what the form says."""
        settings = self.form.read()
        if settings is None or self.micrograph is None:
            return
        name, changes = self.micrograph, self.form.edits()
        self.tryout, self.number = None, None

        def ask() -> Any:
            receipt = self.session.try_out(name, changes)
            self.number = receipt.uuid
            return receipt

        say(self.note, "begins")
        self.try_button.disabled = True
        self.live.do(ask, lambda _: self._edited(), doing="Try other settings", failed=self._failed)

    @guarded
    def promote(self) -> None:
        """Ask to use what was tried for the whole session."""
        self.change.ask(self.tryout.changes, "Use what was tried here")

    @guarded
    def turn(self, tried: bool) -> None:
        """Draw the micrograph as it was tried, or as the session has it."""
        flag(self.now, "nb-on", not tried)
        flag(self.tried, "nb-on", tried)
        if not tried:
            return self.show_tried(None)
        tryout, entry = self.tryout, self.tryout.entry(self._entry())
        return self.live.fetch(lambda: load(tryout, entry), self.show_tried)

    def _entry(self) -> dict[str, Any]:
        table = self.live.snapshot.micrographs
        found: dict[str, Any] = table[table["name"] == self.micrograph].iloc[0].to_dict()
        return found

    def _found(self, tryouts: list[Any]) -> None:
        if self.number is None and tryouts and tryouts[0].micrograph == self.micrograph:
            self.number = tryouts[0].id
            self._take(tryouts[0], opened=True)

    def _take(self, tryout: Any, opened: bool = False) -> None:
        if tryout.micrograph != self.micrograph or tryout.id != self.number:
            return
        self.tryout = tryout
        self._show()
        if tryout.state == "done" and not opened:
            self.turn(True)

    def _failed(self) -> None:
        self.number = None
        self._show()

    def _show(self) -> None:
        tried = self.tryout
        done = tried is not None and tried.state == "done"
        show(self.turns, done)
        show(self.use, done)
        show(self.result, tried is not None)
        flag(self.now, "nb-on", True)
        flag(self.tried, "nb-on", False)
        words = ""
        if tried is not None:
            words = {"queued": "waits for a worker", "running": f"{tried.stage or 'begins'}"}.get(
                tried.state, ""
            )
            say(self.result, _comparison(self._entry(), tried) if done else _reason(tried))
        say(self.note, words)
        self._edited()

    def _edited(self) -> None:
        at_work = self.tryout is not None and self.tryout.state in ("queued", "running")
        self.try_button.disabled = at_work or not self.form.edits() or bool(self.form.problems)
        self.try_button.tooltip = "" if self.form.edits() else "Change a field first"


def _reason(tried: Any) -> str:
    if tried.state != "failed":
        return ""
    return markup('<span class="nb-failed-text">{reason}</span>', reason=tried.reason)


def _comparison(now: dict[str, Any], tried: Any) -> str:
    """What was found with the session's settings, and with those tried."""
    new, rows = tried.entry(now), []
    for column in COMPARED:
        what, before, after = quantity(column), now.get(column), new.get(column)
        if known(before) or known(after):
            cells = {"label": what.label, "before": what.words(before), "after": what.words(after)}
            cell = "<td><b>{after}</b></td>" if before != after else "<td>{after}</td>"
            rows.append(markup("<tr><td>{label}</td><td>{before}</td>" + cell + "</tr>", **cells))
    head = markup("<tr><th></th><th>now</th><th>tried</th></tr>")
    words = ", ".join(f"{key} = {value}" for key, value in tried.changes.items())
    caption = markup('<div class="nb-muted nb-small">tried with {words}</div>', words=words)
    return joined([caption, markup("<table>{rows}</table>", rows=joined([head, *rows]))])
