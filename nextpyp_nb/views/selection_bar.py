"""The line above Plots, Table and Gallery: what is selected, and what can be done with it."""

from typing import Any

import pandas as pd

from nextpyp_nb.session.filters import Condition
from nextpyp_nb.views.late import Box, Checkbox, Dropdown, Text
from nextpyp_nb.views.pieces import button, group, guarded, row, say, show, text
from nextpyp_nb.views.quantities import measured, quantity
from nextpyp_nb.views.selection import Chip, label
from nextpyp_nb.views.state import LiveState, Snapshot

NO_FILTER = "filters…"


class SelectionBar(Box):
    """Chips that can be taken away, saved filters, a new condition, and Exclude the rest."""

    def __init__(self, session: Any, live: LiveState, hint: str = "") -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.selection = live.selection
        self.table = pd.DataFrame()
        self._shown: Any = None
        self._quiet = False
        self.hint = text(hint, "nb-muted", "nb-small")
        self.chips = row(classes=("nb-chips",))
        self.count = text("", "nb-selected-count", "nb-strong")
        self.saved = Dropdown(options=[NO_FILTER], tooltip="Filters that were saved")
        self.saved.add_class("nb-saved-filters")
        self.saved.observe(self._load, "value")
        self.buttons = {
            "add": button("Condition…", lambda: self._edit("condition"), "nb-add-condition"),
            "save": button("Save as filter…", lambda: self._edit("save"), "nb-save-filter"),
            "rest": button("Exclude the rest", self.exclude_rest, "nb-exclude-rest"),
            "clear": button("Clear", self.selection.clear, "nb-clear-selection"),
        }
        space = text("", "nb-grow")
        top = row(
            self.hint, self.chips, self.count, space, self.saved, group(*self.buttons.values()),
            classes=("nb-selection",),
        )  # fmt: skip
        self.condition, self.save = self._condition_editor(), self._save_editor()
        super().__init__([top, self.condition, self.save])
        for name in ("nb-column", "nb-selection-bar"):
            self.add_class(name)
        self._edit("")
        self.selection.listen(self._draw)

    def draw(self, snapshot: Snapshot) -> None:
        """Show the selection, how many it holds, and the saved filters."""
        self.table = snapshot.micrographs
        names = [NO_FILTER, *snapshot.filters]
        if list(self.saved.options) != names:
            self._choose(names, NO_FILTER)
        self.filters = snapshot.filters
        gate = snapshot.settings.class2d.filter
        say(self.gate_words, f"2D classification takes: {gate}" if gate else "2D classification takes all.")
        options = [(quantity(c).heading, c) for c in measured(self.table)]
        if list(self.column.options) != options:
            chosen = self.column.value
            self.column.options = options
            if chosen in dict(options).values():
                self.column.value = chosen
        self._draw()

    @guarded
    def add_condition(self) -> None:
        """Narrow the selection by what is typed; an empty end is open."""
        what = quantity(self.column.value)
        ends = [_number(field.value) for field in (self.low, self.high)]
        if ends == [None, None]:
            raise ValueError("give a least or a greatest value, or both")
        low, high = (None if e is None else e * what.scale for e in ends)
        condition = Condition(column=what.column, minimum=low, maximum=high, negate=self.negate.value)
        self.selection.add(Chip(label(condition), (condition,)))
        self._edit("")

    @guarded
    def save_filter(self) -> None:
        """Keep the selection under a name, for everyone in this session."""
        name, expression = self.name.value.strip(), self.selection.expression()
        if not name or not expression:
            raise ValueError("give the filter a name, and select something first")
        self.live.do(lambda: self.session.save_filter(name, expression), doing=f"Save filter {name}")
        self._edit("")

    @guarded
    def delete_filter(self) -> None:
        """Delete the saved filter that is chosen; the selection stays."""
        name = self.name.value.strip()
        if name not in self.filters:
            raise ValueError(f"there is no filter {name!r} to delete; there are {', '.join(self.filters)}")
        self.live.do(lambda: self.session.save_filter(name, None), doing=f"Delete filter {name}")
        self._edit("")

    @guarded
    def gate(self) -> None:
        """Let 2D classification take only what passes the selection, now and from now on."""
        expression = self.selection.expression()
        settings = self.session.settings.updated({"class2d.filter": expression})
        self.live.do(lambda: self.session.save_settings(settings), doing="Gate 2D classification")

    @guarded
    def exclude_rest(self) -> None:
        """Exclude what is not selected."""
        rest = self.table[~self.selection.holds(self.table) & ~self.table["excluded"].astype(bool)]
        if not self.selection.chips or rest.empty:
            raise ValueError("nothing is left out by the selection: brush a plot or add a condition first")
        names = [str(name) for name in rest["name"]]
        self.live.do(lambda: self.session.exclude(names), doing=f"Exclude {len(names):,} micrographs")

    @guarded
    def _draw(self) -> None:
        chips = self.selection.chips
        if chips != self._shown:
            self._shown = chips
            self.chips.children = tuple(self._chip(c) for c in chips)
        show(self.hint, bool(self.hint.value) and not chips)
        show(self.chips, bool(chips))
        for name in ("save", "rest", "clear"):
            self.buttons[name].disabled = not chips
        n, total = int(self.selection.holds(self.table).sum()), len(self.table)
        say(self.count, f"{n:,} of {total:,} selected" if chips else f"{total:,} micrographs")

    def _chip(self, chip: Chip) -> Any:
        made = button(f"{chip.label} ✕", lambda: self.selection.remove(chip), "nb-chip")
        made.remove_class("nb-button")
        made.tooltip = f"{chip.label}: take it away"
        return made

    def _edit(self, which: str) -> None:
        editors = {"condition": self.condition, "save": self.save}
        for name, editor in editors.items():
            show(editor, name == which and "nb-hidden" in editor._dom_classes)

    def _condition_editor(self) -> Box:
        self.column = Dropdown(options=[], tooltip="Select by")
        self.column.add_class("nb-condition-column")
        self.low = Text(placeholder="from (open)", tooltip="Least")
        self.high = Text(placeholder="to (open)", tooltip="Greatest")
        self.low.add_class("nb-condition-low")
        self.high.add_class("nb-condition-high")
        self.negate = Checkbox(value=False, description="not", indent=False)
        self.negate.add_class("nb-condition-not")
        add = button("Add", self.add_condition, "nb-primary", "nb-condition-add")
        words = (text("Select by"), self.column, self.low, text("to", "nb-muted"), self.high)
        return row(*words, self.negate, add, classes=("nb-selection-editor",))

    def _save_editor(self) -> Box:
        self.name = Text(placeholder="name of the filter", tooltip="Name of the filter")
        self.name.add_class("nb-filter-name")
        self.filters: dict[str, str] = {}
        self.gate_words = text("", "nb-muted", "nb-small", "nb-gate-words")
        buttons = group(
            button("Save", self.save_filter, "nb-filter-save"),
            button("Delete", self.delete_filter, "nb-danger", "nb-filter-delete"),
        )
        gate = button("Use for 2D", self.gate, "nb-filter-gate")
        gate.tooltip = "2D classification takes only micrographs that pass, and those to come that do"
        return row(self.name, buttons, gate, self.gate_words, classes=("nb-selection-editor",))

    def _choose(self, names: list[str], name: str) -> None:
        self._quiet = True
        self.saved.options, self.saved.value = names, name
        self._quiet = False

    @guarded
    def _load(self, change: Any) -> None:
        name = change["new"]
        if self._quiet or name not in self.filters:
            return
        self.selection.load(self.filters[name])
        self.name.value = name
        self._choose(list(self.saved.options), NO_FILTER)


def _number(typed: str) -> float | None:
    typed = typed.strip().replace(",", "").replace("−", "-")
    try:
        return float(typed) if typed else None
    except ValueError:
        raise ValueError(f"got {typed!r}, expected a number, or nothing for an open end") from None
