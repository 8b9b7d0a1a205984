"""The Table page: a row a micrograph, live; the details of the marked one beside it."""

import asyncio
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import Layout

from nextpyp_nb.session.filters import Condition
from nextpyp_nb.views.alarm_words import alarm_words, states
from nextpyp_nb.views.curves import CtfPlot
from nextpyp_nb.views.late import Box, Checkbox, Image
from nextpyp_nb.views.markup import clock, joined, markup
from nextpyp_nb.views.micrograph_files import load
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, shown, text
from nextpyp_nb.views.plots import card_lines
from nextpyp_nb.views.quantities import QUANTITIES, measured, quantity, seconds, stamps, values
from nextpyp_nb.views.selection import Chip, label
from nextpyp_nb.views.selection_bar import SelectionBar
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.table_grid import WindowGrid
from nextpyp_nb.views.widgets.keys import Keys
from nextpyp_nb.views.widgets.spectrum import SpectrumImage

WORDS = ("name", "time", "state")
FIRST = (
    "name", "time", "fit_resolution", "ctf_score", "defocus_u", "defocus_v", "defocus_angle", "total_motion",
    "particles", "state",
)  # fmt: skip
# What the microscope noted is shown when asked for; columns of one's own are shown by themselves.
NOTED = "acquired_"
WIDTHS = {"name": 176, "time": 94, "state": 76}
HINT = "Click a heading to sort; x excludes the marked rows, c takes them in, and both go on to the next."


class TablePage(Box):
    """One dense grid of what is selected, and the marked micrograph."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.selection = live.selection
        self.table, self.order, self.marks = pd.DataFrame(), np.zeros(0, np.int64), np.zeros(0, object)
        self.columns: tuple[str, ...] = FIRST
        self.sort: tuple[str, bool] | None = None
        self.marked: list[str] = []
        self._hidden: set[str] = set()
        self._quiet, self._drawn, self._detailed = False, None, None  # type: Any, Any, Any
        self.bar = SelectionBar(session, live)
        self.exclude = button("Exclude (x)", lambda: self.set_excluded(True), "nb-exclude")
        self.include = button("Include (c)", lambda: self.set_excluded(False), "nb-include")
        self.choose = button("Columns…", self._toggle_columns, "nb-columns")
        self.chooser = row(classes=("nb-selection-editor", "nb-column-choice"))
        show(self.chooser, False)
        self.waits = text("Waits for the first micrograph.", "nb-nothing")
        self.grid = WindowGrid(
            self.window, self._arranged, self._ask_again, selection_mode="row", base_row_size=24,
            base_column_header_size=28, base_row_header_size=56, layout=Layout(height="100%", width="100%"),
        )  # fmt: skip
        self.grid.on_cell_click(self._clicked)
        self.grid.observe(self._marked, "selections")
        self.card = column(self.grid, classes=("nb-card", "nb-table-card"))
        self.details = self._details()
        body = Box([self.card, self.details])
        body.add_class("nb-table-body")
        hint = text(HINT, "nb-grow", "nb-muted", "nb-small")
        tools = row(hint, group(self.exclude, self.include), self.choose, classes=("nb-table-tools",))
        self.body = body
        actions = {"x": lambda: self.set_excluded(True), "c": lambda: self.set_excluded(False)}
        super().__init__([self.bar, tools, self.chooser, self.waits, body, Keys(actions)])
        for name in ("nb-column", "nb-table"):
            self.add_class(name)
        self.paint()
        live.presence.observe(lambda _: self.paint(), ["dark", "width"])
        self.selection.listen(self._draw)

    def draw(self, snapshot: Snapshot) -> None:
        """Show new rows in place; what is marked stays marked."""
        self.bar.draw(snapshot)
        self.table = snapshot.micrographs
        self.alarms, self.stamps = snapshot.alarms, stamps(snapshot.micrographs)
        self.marks = states(self.table, self.alarms) if len(self.table) else np.zeros(0, object)
        show(self.waits, not len(self.table))
        show(self.body, len(self.table) > 0)
        self._draw()

    def window(self, first: int, end: int) -> pd.DataFrame:
        """Rows of the grid as they are written, numbered in the order of arrival."""
        places = self.order[first:end]
        part = self.table.iloc[places] if len(self.table) else self.table
        cells: dict[str, Any] = {}
        for name in self.columns:
            if name == "name":
                cells[name] = part["name"].to_numpy(object) if len(part) else np.zeros(0, object)
            elif name == "time":
                cells[name] = np.array([clock(t) for t in seconds(part)], object)
            elif name == "state":
                cells["state"] = self.marks[places]
            else:
                what = quantity(name)
                numbers = values(part, name) / what.scale
                unknown = np.isnan(numbers)
                cells[_heading(name)] = np.where(unknown, None, numbers) if unknown.any() else numbers
        return pd.DataFrame(cells, index=pd.Index(places + 1, name="#"))

    @guarded
    def set_excluded(self, excluded: bool) -> None:
        """Exclude or include the marked micrographs, and go on to the next."""
        if not self.marked:
            return self.banner.tell("Mark rows first: click a row, Ctrl or Shift for more.")
        names = list(self.marked)
        self._advance()
        what = "Exclude" if excluded else "Include"
        return self.live.do(lambda: self.session.exclude(names, excluded), doing=what)

    @guarded
    def paint(self) -> None:
        """The theme's colours, and how each column's numbers are written."""
        formats = {
            _heading(c): None
            if c in WORDS
            else (".4~g" if quantity(c).digits is None else f",.{quantity(c).digits}f")
            for c in self.columns
        }
        widths = {h: WIDTHS.get(h) or 27 + int(6.3 * len(h)) for h in formats}
        if "name" in widths:
            # About what a wider page leaves beside the other columns.
            widths["name"] += max(0, int(0.35 * (self.live.presence.width - 1440)))
        self.grid.column_widths = widths
        self.grid.paint(self.live.presence.dark, formats)

    @guarded
    def _draw(self) -> None:
        if not len(self.table) or not shown(self):
            return
        columns = self._columns()
        if columns != self.columns:
            self.columns = columns
            self.grid.set_columns()
            self.paint()
        keep = np.flatnonzero(self.selection.holds(self.table))
        self.order = keep[self._sorted(keep)]
        drawn = (self.order, self.stamps[self.order], self.columns)
        if self._drawn is None or not all(map(np.array_equal, drawn, self._drawn)):
            self._drawn = drawn
            self.grid.set_count(len(self.order))
            self._remark()
        self._detail()

    def _columns(self) -> tuple[str, ...]:
        own = tuple(c for c in measured(self.table) if c not in QUANTITIES and not c.startswith(NOTED))
        return tuple(c for c in (*FIRST[:-1], *self._added(), *own, "state") if c not in self._hidden)

    def _added(self) -> tuple[str, ...]:
        chosen = [c.nb_column for c in self.chooser.children if getattr(c, "value", False)]
        return tuple(c for c in chosen if c not in FIRST and (c in QUANTITIES or c.startswith(NOTED)))

    def _sorted(self, keep: np.ndarray) -> np.ndarray:
        if self.sort is None:
            return np.arange(len(keep))[::-1]
        by, descending = self.sort
        if by in ("name", "state"):
            words = self.table["name"].to_numpy()[keep] if by == "name" else self.marks[keep]
            numbers = pd.factorize(pd.Series(words, dtype=object), sort=True)[0].astype(np.float64)
        else:
            numbers = (seconds(self.table) if by == "time" else values(self.table, by))[keep]
        # What has no such number comes last, whichever way round.
        return np.argsort(
            np.where(np.isnan(numbers), np.inf, -numbers if descending else numbers), kind="stable"
        )

    def _names(self, rows: Any) -> list[str]:
        return [str(n) for n in self.table["name"].iloc[self.order[[r for r in rows if r < len(self.order)]]]]

    @guarded
    def _marked(self, change: Any) -> None:
        if self._quiet or not len(self.table):
            return
        rows = sorted({r for s in change["new"] for r in range(s["r1"], s["r2"] + 1)})
        if len(rows) >= len(self.order) > 1:
            # A click on a heading, to sort: the grid marks everything, and x would exclude it.
            self._remark()
        else:
            self.marked = self._names(rows)
            self._detail()

    def _remark(self) -> None:
        """Mark the rows that are marked by name, wherever they are now."""
        at = np.flatnonzero(self.table["name"].iloc[self.order].isin(self.marked).to_numpy())
        last, self._quiet = len(self.columns) - 1, True
        self.grid.selections = [{"r1": int(r), "r2": int(r), "c1": 0, "c2": last} for r in at]
        self._quiet = False

    def _advance(self) -> None:
        shown_names = self.table["name"].iloc[self.order].to_numpy()
        at = np.flatnonzero(np.isin(shown_names, self.marked))
        if len(at) and at[-1] + 1 < len(shown_names):
            self.marked = [str(shown_names[at[-1] + 1])]
            self._remark()
            self._detail()

    @guarded
    def _clicked(self, cell: dict[str, Any]) -> None:
        if cell["region"] == "column-header":
            self.grid.sort_by(cell["column"][0] if isinstance(cell["column"], list) else cell["column"])

    @guarded
    def _arranged(self, transforms: list[dict[str, Any]]) -> None:
        """Sort as the heading says; a filter set there becomes a part of the selection."""
        columns = {_heading(c): c for c in self.columns}
        sort = next((t for t in transforms if t["type"] == "sort"), None)
        self.sort = (columns[sort["column"]], bool(sort.get("desc"))) if sort else None
        for condition in filter(None, (_condition(t, columns) for t in transforms if t["type"] == "filter")):
            self.selection.add(Chip(label(condition), (condition,)))
        if any(t["type"] == "filter" for t in transforms):
            self.grid._transforms = [t for t in transforms if t["type"] != "filter"]
        self._draw()

    def _ask_again(self) -> None:
        """The first rows may reach a grid that is not ready to draw them: let it ask again, and again."""

        async def later() -> None:
            for pause in (1, 3, 9):
                await asyncio.sleep(pause)
                self.grid.tick()

        self.live.beside(later)

    def _toggle_columns(self) -> None:
        if not self.chooser.children:
            self.chooser.children = tuple(
                self._tick(c) for c in dict.fromkeys((*FIRST, *QUANTITIES, *measured(self.table)))
            )
        show(self.chooser, not shown(self.chooser))

    def _tick(self, name: str) -> Checkbox:
        heading = name if name in WORDS else quantity(name).label
        made = Checkbox(value=name in self.columns, description=heading, indent=False)
        made.nb_column = name
        made.observe(lambda change: self._set_column(name, change["new"]), "value")
        return made

    @guarded
    def _set_column(self, name: str, on: bool) -> None:
        (self._hidden.discard if on else self._hidden.add)(name)
        self._draw()

    def _details(self) -> Box:
        self.name, self.figures = text("", "nb-card-title"), text("", "nb-figures")
        self.picture = Image(format="jpeg")
        self.picture.add_class("nb-detail-picture")
        self.spectrum, self.ctf = SpectrumImage(), CtfPlot()
        self.opener = button("Open", lambda: self.live.open_micrograph(self.marked[0]), "nb-open")
        card = column(self.name, self.picture, self.figures, self.opener, classes=("nb-card", "nb-detail"))
        spectrum = column(text(markup("<b>Spectrum</b>"), "nb-card-title"), self.spectrum)
        spectrum.add_class("nb-card")
        return column(card, self.ctf, spectrum, classes=("nb-details",))

    @guarded
    def _detail(self) -> None:
        """Show the micrograph that is marked, or the newest."""
        names = self.table["name"]
        wanted = self.marked[0] if self.marked else names.iloc[-1] if len(names) else None
        hits = np.flatnonzero((names == wanted).to_numpy())
        if not len(hits):
            return
        entry = self.table.iloc[int(hits[0])].to_dict()
        key = (entry["name"], entry.get("finished"), entry.get("excluded"))
        if key == self._detailed:
            return
        self._detailed = key
        self.live.fetch(lambda: load(self.session, entry), self._show)

    def _show(self, loaded: dict[str, Any]) -> None:
        entry, profile = loaded["entry"], loaded["ctf"]
        if self._detailed is None or entry["name"] != self._detailed[0]:
            return
        say(self.name, markup('<b class="nb-whole-name" title="{name}">{name}</b>', name=entry["name"]))
        lines = [markup("<div>{line}</div>", line=line) for line in card_lines(entry)]
        found = self.alarms[(self.table["name"] == entry["name"]).to_numpy()]
        alarms = alarm_words(entry, found.iloc[0]) if len(found) else []
        lines += [markup('<div class="nb-warning-text">▲ {alarm}</div>', alarm=alarm) for alarm in alarms]
        say(self.figures, joined(lines))
        self.picture.value = loaded["picture"]
        show(self.picture, bool(loaded["picture"]))
        self.ctf.draw(entry, profile)
        self.spectrum.show(profile, entry)


def _heading(name: str) -> str:
    what = quantity(name)
    return name if name in WORDS else what.heading.replace(what.label, what.short or what.label)


def _condition(transform: dict[str, Any], columns: dict[str, str]) -> Condition | None:
    """What a filter of the grid's heading means; words cannot be filtered there."""
    name, operator, value = columns.get(transform["column"]), transform["operator"], transform.get("value")
    ends = {
        "<": (None, value),
        "<=": (None, value),
        ">": (value, None),
        ">=": (value, None),
        "=": (value,) * 2,
    }
    if name is None or name in WORDS or (operator != "between" and operator not in ends):
        raise ValueError("filter numbers here, from the heading, or with Condition… above")
    low, high = value if operator == "between" else ends[operator]
    scale = quantity(name).scale
    return Condition(
        column=name,
        minimum=None if low is None else float(low) * scale,
        maximum=None if high is None else float(high) * scale,
    )
