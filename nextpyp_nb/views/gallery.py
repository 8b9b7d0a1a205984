"""The Gallery page: thumbnails of all micrographs, those in sight fetched as one scrolls."""

from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.views.alarm_words import alarm_words, states
from nextpyp_nb.views.late import Box, Dropdown
from nextpyp_nb.views.markup import known
from nextpyp_nb.views.pieces import button, column, guarded, row, say, show, shown, text
from nextpyp_nb.views.plots import card_lines, thumbnail
from nextpyp_nb.views.quantities import measured, quantity, seconds, stamps, values
from nextpyp_nb.views.selection_bar import SelectionBar
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.widgets.gallery import ThumbnailGrid

SIZES = {"small": 110, "medium": 160, "large": 240}
STATES = ("all", "good", "excluded", "failed", "alarm")
TURNS = {"time": ("newest first", "oldest first"), "name": ("Z to A", "A to Z")}
MOST = 600


class GalleryPage(Box):
    """Tiles in the order and of the micrographs that are chosen."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.selection = live.selection
        self.snapshot: Snapshot | None = None
        self.shown = pd.DataFrame()
        self.marks, self.alarms = np.zeros(0, object), pd.DataFrame()
        self._drawn: Any = None
        self.bar = SelectionBar(session, live)
        self.order = Dropdown(options=[("time", "time")], tooltip="Sort by")
        self.state = Dropdown(options=list(STATES), tooltip="Which micrographs")
        self.size = Dropdown(options=SIZES, value=SIZES["medium"], tooltip="Size of the tiles")
        for control, name in ((self.order, "order"), (self.state, "state"), (self.size, "size")):
            control.add_class(f"nb-gallery-{name}")
            control.observe(lambda _: self._arrange(), "value")
        self.newest = True
        self.turn = button("newest first", self._turn, "nb-gallery-turn")
        self.count = text("", "nb-grow", "nb-gallery-count")
        tools = row(
            text("sort", "nb-muted"), self.order, self.turn, text("show", "nb-muted"), self.state,
            text("size", "nb-muted"), self.size, self.count, classes=("nb-gallery-tools",),
        )  # fmt: skip
        self.waits = text("Waits for the first micrograph: its picture appears here.", "nb-nothing")
        self.tiles = ThumbnailGrid(self.heard)
        self.card = column(self.tiles, classes=("nb-card", "nb-gallery-card"))
        super().__init__([self.bar, tools, self.waits, self.card])
        for name in ("nb-column", "nb-gallery"):
            self.add_class(name)
        self.selection.listen(self._draw)

    def draw(self, snapshot: Snapshot) -> None:
        """Put the tiles in order; pictures follow when asked for."""
        self.snapshot = snapshot
        self.bar.draw(snapshot)
        options = [("time", "time"), ("name", "name")]
        options += [(quantity(c).label.lower(), c) for c in measured(snapshot.micrographs)]
        if list(self.order.options) != options:
            chosen, self.snapshot = self.order.value, None
            self.order.options = options
            self.order.value = chosen if chosen in dict(options).values() else "time"
            self.snapshot = snapshot
        self._draw()

    @guarded
    def heard(self, content: dict[str, Any]) -> None:
        """A click on a tile, or tiles that came in sight."""
        if "open" in content:
            return self.live.open_micrograph(str(content["open"]))
        first, last = max(0, int(content["first"])), int(content["last"])
        asked = {"first": first}
        table, serial = self.shown.iloc[first : min(last, first + MOST)], self.tiles.serial
        alarms = self.alarms.loc[table.index]
        rows = [
            _tile(entry, mark, alarm_words(entry, alarms.iloc[i]) if mark == "alarm" else [])
            for i, (entry, mark) in enumerate(zip(table.to_dict("records"), self.marks[first:], strict=False))
        ]
        have = set(str(content["have"]).split())
        wanted = {r["key"]: r["name"] for r in rows if r["key"] not in have}

        def answer(pictures: dict[str, bytes]) -> None:
            for tile in rows:
                if pictures.get(tile["key"]) == b"":
                    tile["key"] = ""
            there = {key: picture for key, picture in pictures.items() if picture}
            self.tiles.answer(asked, rows, there, serial=serial)

        return self.live.fetch(
            lambda: {key: thumbnail(self.session, name) for key, name in wanted.items()}, answer
        )

    @guarded
    def _draw(self) -> None:
        if self.snapshot is None or not shown(self):
            return
        table = self.snapshot.micrographs
        show(self.waits, not len(table))
        show(self.card, len(table) > 0)
        if not len(table):
            return
        words = TURNS.get(self.order.value, ("greatest first", "least first"))
        self.turn.description = words[not self.newest]
        marks = states(table, self.snapshot.alarms)
        keep = self.selection.holds(table)
        if self.state.value == "good":
            keep &= marks == ""
        elif self.state.value != "all":
            keep &= marks == self.state.value
        order = np.flatnonzero(keep)[self._order(table[keep])]
        chosen = table.iloc[order]
        drawn = (order if "id" not in chosen else chosen["id"].to_numpy()), stamps(chosen), marks[order]
        same = self._drawn is not None and all(map(np.array_equal, drawn, self._drawn))
        self.shown, self.marks, self._drawn = chosen, marks[order], drawn
        self.alarms = self.snapshot.alarms
        say(self.count, f"{len(chosen):,} shown")
        with self.tiles.hold_sync():
            self.tiles.size, self.tiles.count = self.size.value, len(chosen)
            self.tiles.serial += not same

    def _order(self, table: pd.DataFrame) -> np.ndarray:
        by = self.order.value
        if by == "name":
            keys = pd.factorize(table["name"], sort=True)[0].astype(np.float64)
        else:
            keys = seconds(table) if by == "time" else values(table, by)
        # What has no such number comes last, whichever way round.
        keys = np.where(np.isnan(keys), np.inf, -keys if self.newest else keys)
        return np.argsort(keys, kind="stable")

    def _turn(self) -> None:
        self.newest = not self.newest
        self._arrange()

    def _arrange(self) -> None:
        self._draw()
        self.tiles.to_top()


def _tile(entry: dict[str, Any], mark: str, alarms: list[str]) -> dict[str, Any]:
    made = entry.get("finished")
    stamp = int(made.timestamp()) if known(made) else 0
    words = [quantity(c).words(entry[c]) for c in ("fit_resolution", "defocus") if known(entry.get(c))]
    lines = card_lines(entry) + ([mark] if mark not in ("", "excluded", "alarm") else [])
    lines += [f"▲ {alarm}" for alarm in alarms]
    return {
        "name": str(entry["name"]),
        "key": f"{entry.get('id') or abs(hash(entry['name']))}-{stamp}",
        "words": " · ".join(words) or ("no fit" if entry.get("ctf_failed") else ""),
        "lines": lines,
        "mark": mark,
    }
