"""A grid that asks for the rows in sight only, sorted and filtered by whoever gives them."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from ipydatagrid import StreamingDataGrid, TextRenderer
from traitlets import observe

COLOURS = {
    False: {"text": "#1f2328", "background": "#ffffff", "line": "#e1e4e8", "header": "#f4f5f7"},
    True: {"text": "#e4e8ee", "background": "#181d24", "line": "#2b323b", "header": "#20262e"},
}


class WindowGrid(StreamingDataGrid):
    """``window`` (first, end) gives rows to show; ``asked`` hears of sorting and filtering in the heading.

    ``first_answered`` is called once, when the first rows were sent.
    """

    def __init__(
        self,
        window: Callable[[int, int], pd.DataFrame],
        asked: Callable[[list[dict[str, Any]]], None],
        first_answered: Callable[[], None] = lambda: None,
        **more: Any,
    ) -> None:
        self.window, self.asked, self._first_answered = window, asked, first_answered
        self._answered = False
        super().__init__(window(0, 0), index_name="#", debounce_delay=10, **more)
        self._name_columns()

    def set_count(self, count: int) -> None:
        """There are so many rows now, or other ones: those in sight are fetched again, nothing else."""
        self._row_count = count
        self.tick()

    def sort_by(self, heading: str) -> None:
        """Sort by a column; again: the other way round, the third time not at all."""
        now = self._transforms[0] if self._transforms else {}
        fresh = {"type": "sort", "column": heading, "columnIndex": self._place(heading), "desc": True}
        if now.get("column") == heading:
            fresh = fresh | {"desc": False} if now["desc"] else {}
        self._transforms = [fresh] if fresh else []

    def set_columns(self) -> None:
        """The window has other columns now."""
        self.data = self.window(0, 0)
        self._name_columns()

    def paint(self, dark: bool, formats: dict[str, str | None]) -> None:
        """Give the grid the colours of the theme; it draws on a canvas that knows no CSS."""
        colours = COLOURS[dark]
        self.grid_style = {
            "void_color": colours["background"],
            "background_color": colours["background"],
            "grid_line_color": colours["line"],
            "header_background_color": colours["header"],
            "header_grid_line_color": colours["line"],
            "selection_fill_color": "rgba(60,140,210,0.22)",
            "selection_border_color": "#3b8fd6",
            "header_selection_fill_color": "rgba(60,140,210,0.12)",
            "header_selection_border_color": "#3b8fd6",
            "cursor_fill_color": "rgba(60,140,210,0.12)",
        }
        heads = {"text_color": colours["text"], "background_color": colours["header"]}
        self.header_renderer = TextRenderer(font="500 12px sans-serif", **heads)
        self.corner_renderer = TextRenderer(font="500 12px sans-serif", **heads)
        # Cells without a colour of their own keep that of the theme in which the grid was first drawn.
        cells = {"text_color": colours["text"], "background_color": colours["background"]}
        index = TextRenderer(font="12px sans-serif", format=",.0f", **cells)
        self.renderers = {"#": index} | {
            heading: TextRenderer(
                font="12px sans-serif",
                missing="–",
                format=form,
                horizontal_alignment="right" if form else "left",
                # Names of microscopes differ in their ends.
                text_elide_direction="left" if heading == "name" else "right",
                **cells,
            )
            for heading, form in formats.items()
        }

    def _name_columns(self) -> None:
        # Without columns, be they empty, the grid fails in the browser at each click and each new row.
        self._data = self._data | {"data": self._data_object["data"]}

    def _place(self, heading: str) -> int:
        return [f["name"] for f in self._data["schema"]["fields"]].index(heading)

    def _handle_custom_msg(self, content: dict[str, Any], buffers: Any) -> None:
        # The grid's other listener fails on messages that are not events.
        if "event_type" in content:
            super()._handle_custom_msg(content, buffers)
        else:
            self._handle_comm_msg(self, content, buffers)

    def _handle_comm_msg(self, _: Any, content: dict[str, Any], __: Any) -> None:
        kind = content.get("type", "")
        if kind == "data-request":
            where = {k: int(content[k]) for k in ("r1", "r2", "c1", "c2")}
            rows = self.window(max(where["r1"], 0), where["r2"] + 1)
            value, buffers = self._serialize_helper(rows.iloc[:, where["c1"] : where["c2"] + 1].copy())
            for column in value["data"].values():
                if isinstance(column, dict) and column["type"] == "raw":
                    # What is unknown gets the renderers' dash instead of the letters NaN.
                    column["value"] = [None if v == "$NaN$" else v for v in column["value"]]
            self.send({"event_type": "data-reply", "value": value} | where, buffers)
            if not self._answered:
                self._answered = True
                self._first_answered()
        elif kind == "unique-values-request":
            column = content.get("column")
            value, buffers = self._serialize_helper(pd.DataFrame({column: []}))
            self.send({"event_type": "unique-values-reply", "column": column, "value": value}, buffers)

    @observe("_transforms")
    def _on_transforms_changed(self, change: Any) -> None:
        self.asked(change["new"])
