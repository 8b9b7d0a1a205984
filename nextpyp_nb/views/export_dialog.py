"""Export…: what to write, then a job that the Operation page shows."""

from typing import Any

from ipywidgets import Box, Checkbox, Text

from nextpyp_nb.views.pieces import button, guarded, row, show, text
from nextpyp_nb.views.state import LiveState


class ExportDialog(Box):
    """Drops from its button; says nothing about where the work is done."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.filter = Text(placeholder="all that are not excluded; such as fit_resolution < 5")
        self.filter.add_class("nb-export-filter")
        self.particles = Checkbox(value=True, description="Particles (particles.star)", indent=False)
        self.stack = Checkbox(value=False, description="Extracted stacks (large)", indent=False)
        start = button("Export", self.start, "nb-primary", "nb-export-start")
        close = button("Close", lambda: show(self, False), "nb-export-close")
        super().__init__(
            [
                text("Export for RELION", "nb-strong"),
                text(
                    "Writes micrographs.star, motion and averages into the session's folder exports/.",
                    "nb-muted",
                ),
                text("Micrographs to export"),
                self.filter,
                self.particles,
                self.stack,
                row(start, close),
            ]
        )
        for name in ("nb-column", "nb-card", "nb-export", "nb-hidden"):
            self.add_class(name)

    @guarded
    def toggle(self) -> None:
        """Open or close."""
        show(self, "nb-hidden" in self._dom_classes)

    @guarded
    def start(self) -> None:
        """Ask the runner for the export."""
        chosen = self.filter.value.strip() or None
        particles, stack = self.particles.value, self.stack.value
        self.live.do(
            lambda: self.session.export(filter=chosen, particles=particles, stack=stack),
            self._asked,
            doing="Export",
        )

    def _asked(self, answer: Any) -> None:
        show(self, False)
        self.banner.tell(getattr(answer, "message", "") or "The export has begun; Operation shows its state.")
