"""The line above all pages: which session, in what state, and the figures that name it."""

from collections.abc import Callable
from typing import Any

from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import Markup, duration, joined, markup, number, since
from nextpyp_nb.views.pieces import button, say, text
from nextpyp_nb.views.state import Snapshot


class Header(Box):
    """Sessions › name, group, state with duration; key figures at the right."""

    def __init__(self, session: Any, leave: Callable[[], None]) -> None:
        name = markup('<span class="nb-name">{name}</span>', name=session.name)
        group = markup('<span class="nb-pill">{group}</span>', group=session.group) if session.group else ""
        self.state = text("", "nb-session-state")
        self.facts = text("", "nb-grow", "nb-session-facts")
        super().__init__(
            [
                button("Sessions ›", leave, "nb-plain", "nb-to-sessions"),
                text(name),
                text(group),
                self.state,
                self.facts,
            ]
        )
        for part in ("nb-row", "nb-header"):
            self.add_class(part)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw state and figures in place."""
        say(self.state, _state(snapshot))
        say(self.facts, _facts(snapshot))


def _state(snapshot: Snapshot) -> Markup:
    status = snapshot.status
    word = "runner does not answer" if status.runner == "stale" else status.runner
    long = (
        f" {duration(since(status.since))}" if status.since is not None and status.runner == "running" else ""
    )
    light = {"running": "busy", "stale": "stale"}.get(status.runner, "stopped")
    return markup(
        '<span class="nb-pill nb-{runner}"><i class="nb-light nb-is-{light}"></i> {word}{long}</span>',
        runner=status.runner,
        light=light,
        word=word,
        long=long,
    )


def _facts(snapshot: Snapshot) -> Markup:
    scope, radius = snapshot.settings.microscope, snapshot.radius
    estimated = " (estimated)" if snapshot.size_estimate else ""
    facts = {
        "micrographs": number(len(snapshot.micrographs)),
        "particles": number(snapshot.particles),
        "radius": f"{radius:g} Å{estimated}" if radius else "–",
        "pixel": f"{scope.pixel_size:g} Å" if scope.pixel_size else "–",
        "voltage": f"{scope.voltage:g} kV" if scope.voltage else "–",
        "dose": f"{scope.dose:g} e⁻/Å²" if scope.dose else "–",
    }
    cells = [
        markup('<div><span>{name}</span><b class="nb-fact-{name}">{value}</b></div>', name=name, value=value)
        for name, value in facts.items()
    ]
    return markup('<div class="nb-facts">{cells}</div>', cells=joined(cells))
