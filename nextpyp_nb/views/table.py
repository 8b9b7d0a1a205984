"""The Table page: a row a micrograph, live."""

import time
from typing import Any

import pandas as pd
from ipydatagrid import DataGrid, TextRenderer
from ipywidgets import Box, Layout

from nextpyp_nb.views.markup import clock
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot

# Column of the session → heading, d3 number format, width.
COLUMNS = {
    "name": ("name", None, 290),
    "time": ("time", None, 110),
    "fit_resolution": ("CTF fit, Å", ".1f", 84),
    "ctf_score": ("CTF score", ".3f", 96),
    "defocus_u": ("defocus 1, Å", ",.0f", 100),
    "defocus_v": ("defocus 2, Å", ",.0f", 100),
    "defocus_angle": ("angle, °", ".0f", 74),
    "total_motion": ("motion, Å", ".1f", 84),
    "early_motion": ("early, Å", ".1f", 74),
    "particles": ("particles", ",.0f", 84),
    "junk_fraction": ("masked", ".1%", 74),
    "excluded": ("excluded", None, 92),
}
COLOURS = {
    False: {"text": "#1f2328", "background": "#ffffff", "line": "#e1e4e8", "header": "#f4f5f7"},
    True: {"text": "#e4e8ee", "background": "#181d24", "line": "#2b323b", "header": "#20262e"},
}


class TablePage(Box):
    """One dense grid; the whole table is sent again at each change, so no oftener than its size allows."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self._sent, self._shown = 0.0, tabulated(pd.DataFrame())
        self.count = text("", "nb-grow", "nb-table-count")
        self.exclude = button("Exclude selected", lambda: self.set_excluded(True), "nb-exclude")
        self.include = button("Include selected", lambda: self.set_excluded(False), "nb-include")
        self.waits = text("Waits for the first micrograph.", "nb-nothing")
        self.grid = DataGrid(
            self._shown,
            selection_mode="row",
            base_row_size=24,
            base_column_header_size=28,
            base_row_header_size=44,
            column_widths={h: w for h, _, w in COLUMNS.values()},
            layout=Layout(height="620px", width="100%"),
        )
        self.card = column(self.grid, classes=("nb-card", "nb-table-card"))
        tools = row(self.count, group(self.exclude, self.include), classes=("nb-table-tools",))
        super().__init__([tools, self.waits, self.card])
        for name in ("nb-column", "nb-table"):
            self.add_class(name)
        self._picked = 0.0
        self.grid.observe(self._pick, "selections")
        self.paint()
        live.presence.observe(lambda _: self.paint(), "dark")

    def draw(self, snapshot: Snapshot) -> None:
        """Send the table when it changed, keeping the selection."""
        table = tabulated(snapshot.micrographs)
        say(self.count, f"{len(table):,} micrographs, newest first")
        show(self.waits, not len(table))
        show(self.card, len(table) > 0)
        now = time.monotonic()
        due = now - self._sent > min(30.0, len(self._shown) / 500)
        # New data drops the selection in the browser: leave time to use it.
        due = due and not (self.grid.selections and now - self._picked < 10)
        if due and not table.equals(self._shown):
            selected = self.selected()
            self.grid.data = self._shown = table
            self._sent = now
            self._select(selected)

    def selected(self) -> list[str]:
        """Names of the micrographs whose rows are selected."""
        rows = {r for s in self.grid.selections for r in range(s["r1"], s["r2"] + 1)}
        # Only sorted or filtered rows lie elsewhere than in the table.
        names = (self.grid.get_visible_data() if self.grid._transforms else self._shown)["name"]
        return [str(names.iloc[r]) for r in sorted(rows) if r < len(names)]

    @guarded
    def set_excluded(self, excluded: bool) -> None:
        """Exclude or include the micrographs of the selected rows."""
        names = self.selected()
        if not names:
            return self.banner.tell("Select rows first: click a row, Ctrl or Shift for more.")
        return self.live.do(lambda: self._exclude(names, excluded), self._excluded, doing="Exclude")

    @guarded
    def paint(self) -> None:
        """Give the grid the colours of the theme; it draws on a canvas that knows no CSS."""
        colours = COLOURS[self.live.presence.dark]
        self.grid.grid_style = {
            "void_color": colours["background"],
            "background_color": colours["background"],
            "grid_line_color": colours["line"],
            "header_background_color": colours["header"],
            "header_grid_line_color": colours["line"],
            "selection_fill_color": "rgba(60,140,210,0.22)",
            "selection_border_color": "#3b8fd6",
            "cursor_fill_color": "rgba(60,140,210,0.12)",
        }
        self.grid.header_renderer = TextRenderer(text_color=colours["text"], font="600 12px sans-serif")
        self.grid.renderers = {
            heading: TextRenderer(
                text_color=colours["text"],
                font="12px sans-serif",
                missing="–",
                format=form,
                horizontal_alignment="right" if form else "left",
            )
            for heading, form, _ in COLUMNS.values()
        }

    def _pick(self, _: Any) -> None:
        self._picked = time.monotonic()

    def _excluded(self, _: Any) -> None:
        self.grid.selections = []
        self._sent = 0.0

    def _exclude(self, names: list[str], excluded: bool) -> Any:
        receipts = [self.session.exclude(name, excluded) for name in names]
        answers = [receipt.wait(timeout=5) for receipt in receipts]
        return next((answer for answer in answers if not answer.ok), answers[-1])

    def _select(self, names: list[str]) -> None:
        if self.grid._transforms:
            return
        last = len(COLUMNS)
        places = {name: at for at, name in enumerate(self._shown["name"])}
        self.grid.selections = [
            {"r1": places[n], "r2": places[n], "c1": 0, "c2": last} for n in names if n in places
        ]


def tabulated(micrographs: pd.DataFrame) -> pd.DataFrame:
    """The grid's columns, newest first, with headings that name the unit."""
    table = micrographs.iloc[::-1].reset_index(drop=True)
    shown = pd.DataFrame(index=table.index)
    for name, (heading, form, _) in COLUMNS.items():
        if name == "time":
            shown[heading] = [clock(t) for t in table["finished"]] if "finished" in table else []
        elif name == "excluded":
            shown[heading] = ["excluded" if x else "" for x in table.get(name, [0] * len(table))]
        elif form:
            shown[heading] = (
                pd.to_numeric(table.get(name), errors="coerce") if name in table else float("nan")
            )
        else:
            shown[heading] = table.get(name, pd.Series(dtype=object)).astype(str)
    shown.index = pd.Index(range(len(table), 0, -1), name="#")
    return shown
