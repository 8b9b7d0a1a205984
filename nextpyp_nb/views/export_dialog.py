"""Export…: what to write and where, how much it will be, then a job that the Operation page shows."""

import shutil
from typing import Any

import pandas as pd

from nextpyp_nb.views.late import Box, Checkbox, Combobox, Text
from nextpyp_nb.views.markup import markup, number
from nextpyp_nb.views.pieces import button, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot

BOX_RADII = 2.6


class ExportDialog(Box):
    """Drops from its button; says nothing about where the work is done."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.filter = Combobox(
            placeholder="all that are not excluded; such as fit_resolution < 5",
            ensure_option=False,
            tooltip="Micrographs",
        )
        self.filter.add_class("nb-export-filter")
        self.out = Text(placeholder="a new folder in the session's exports/", tooltip="Write to")
        self.out.add_class("nb-export-out")
        self.particles = _check("Particles (particles.star)", True)
        self.accepted = _check("Only particles of accepted classes", False)
        self.stack = _check("Extracted stacks (large)", False)
        self.float16 = _check("Half precision, mode 12 (RELION 4 and later)", False)
        self.size = text("", "nb-export-size")
        self.export = button("Export", self.start, "nb-primary", "nb-export-start")
        self.report = button(
            "Write report", self.start_report, "nb-report-start",
            tooltip="An HTML page of the whole session: figures, 2D classes, what failed, settings",
        )  # fmt: skip
        close = button("Close", self.hide, "nb-export-close")
        choices = (self.particles, self.accepted, self.stack, self.float16)
        for control in (self.filter, *choices):
            control.observe(self._chosen, "value")
        super().__init__(
            [
                text("Export for RELION", "nb-strong"),
                text("Writes micrographs.star, particles.star, motion and averages.", "nb-muted"),
                text("Runs as one process beside the tracks, on the machine of the session.", "nb-muted"),
                text("Micrographs: a saved filter or conditions"),
                self.filter,
                *choices,
                text("Write to"),
                self.out,
                self.size,
                row(self.export, self.report, close),
            ]
        )
        for name in ("nb-column", "nb-card", "nb-export", "nb-hidden"):
            self.add_class(name)

    @guarded
    def toggle(self) -> None:
        """Open or close."""
        opening = "nb-hidden" in self._dom_classes
        show(self, opening)
        if opening:
            snapshot: Snapshot = self.live.snapshot
            self.filter.options = tuple(snapshot.filters)
            self.report.disabled = not len(snapshot.micrographs)
            self._chosen(None)

    def hide(self) -> None:
        """Close; what was chosen stays."""
        show(self, False)

    @guarded
    def start(self) -> None:
        """Ask the runner for the export."""
        chosen, out = self.filter.value.strip() or None, self.out.value.strip() or None
        options = {name: getattr(self, name).value for name in ("particles", "accepted", "stack", "float16")}
        self.live.do(lambda: self.session.export(out, filter=chosen, **options), self._asked, doing="Export")

    @guarded
    def start_report(self) -> None:
        """Ask the runner for a report."""
        out = self.out.value.strip() or None
        self.live.do(lambda: self.session.report(out), self._asked, doing="Report")

    def _asked(self, answer: Any) -> None:
        self.hide()
        self.banner.tell(getattr(answer, "message", "") or "The job has begun; Operation shows its state.")

    @guarded
    def _chosen(self, _: Any) -> None:
        """Say what the choice comes to, or what is wrong with it."""
        self.accepted.disabled = self.stack.disabled = not self.particles.value
        try:
            table = self._table()
        except (ValueError, KeyError) as error:
            said = error.args[0] if error.args else error
            say(self.size, markup('<span class="nb-failed-text">{said}</span>', said=said))
            self.export.disabled = True
            return
        self.export.disabled = table.empty
        say(self.size, self._estimate(table) if len(table) else "No micrograph passes.")

    def _table(self) -> pd.DataFrame:
        chosen = self.filter.value.strip()
        if chosen:
            return self.session.filtered(chosen)
        table = self.live.snapshot.micrographs
        return table[~table["excluded"].astype(bool)]

    def _estimate(self, table: pd.DataFrame) -> str:
        """Counts, and about how much will be written: two averages a micrograph, a box a particle."""
        radius = self.live.snapshot.radius
        bytes_a_px = 2 if self.float16.value else 4
        size = 2.0 * bytes_a_px * float((table["height"] * table["width"]).sum())
        particles = int(table["particles"].fillna(0).sum())
        if self.stack.value and self.particles.value and radius:
            box = BOX_RADII * radius / float(table["pixel_size"].iloc[0])
            size += 4.0 * particles * box**2
        free = shutil.disk_usage(self.session.folder).free
        few = " That is more than is free where the session lies." if size > free else ""
        picked = f", {number(particles)} particles" if self.particles.value else ""
        return (
            f"{number(len(table))} micrographs{picked}: about {number(size / 1e9, 1)} GB; "
            f"{number(free / 1e9)} GB are free.{few}"
        )


def _check(label: str, value: bool) -> Checkbox:
    return Checkbox(value=value, description=label, indent=False)
