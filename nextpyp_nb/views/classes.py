"""The 2D Classes page: the averages of the last round, sorted, with their marks."""

import json
from typing import Any

import pandas as pd
from ipywidgets import Box, Dropdown

from nextpyp_nb.views.markup import clock, known, markup, number
from nextpyp_nb.views.pieces import button, column, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.widgets.class_tiles import ClassTiles

ORDERS = {"particles": ("count", False), "resolution": ("resolution", True), "number": ("number", True)}


class ClassesPage(Box):
    """Tiles of the last round, and what the next one waits for."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.classes = pd.DataFrame()
        self._sheet_of: Any = None
        self.order = Dropdown(options=list(ORDERS))
        self.order.add_class("nb-order")
        self.order.observe(lambda _: self._arrange(), "value")
        self.summary = text("", "nb-grow", "nb-class-summary")
        self.update = button("Update now", self.update_now, "nb-update-classes")
        self.tiles = ClassTiles()
        self.tiles.on_msg(lambda _, content, __: self.mark(int(content["clicked"])))
        self.waits = text("", "nb-nothing")
        self.round = text("", "nb-muted", "nb-round")
        self.card = column(self.tiles, classes=("nb-card",))
        top = row(
            text("sort", "nb-muted"), self.order, self.summary, self.update, classes=("nb-class-tools",)
        )
        super().__init__([top, self.waits, self.card, self.round])
        for name in ("nb-column", "nb-classes"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the last finished round, reading its sheet only when it is a new one."""
        self.classes = snapshot.classes
        have = len(self.classes) > 0
        show(self.waits, not have)
        show(self.card, have)
        say(self.waits, waiting_sentence(snapshot))
        say(self.summary, _summary(self.classes, snapshot) if have else "")
        say(self.round, waiting_sentence(snapshot) if have else "")
        done = (
            snapshot.rounds[snapshot.rounds["state"] == "done"] if len(snapshot.rounds) else snapshot.rounds
        )
        if not have or not len(done):
            return
        last = done.iloc[-1]
        key = (int(last["number"]), last["finished"])
        if key != self._sheet_of:
            self._sheet_of = key
            self.live.do(
                lambda: load_sheet(self.session, key[0]), self._show_sheet, doing=f"Show round {key[0]}"
            )
        else:
            self._arrange()

    @guarded
    def update_now(self) -> None:
        """Start a round over what is there."""
        self.live.do(self.session.update_classes, doing="Update classes")

    @guarded
    def mark(self, number_of_class: int) -> None:
        """A click accepts a class, the next rejects it, the third takes the mark off."""
        clicked = self.classes.set_index("number").loc[number_of_class]
        identity, now = [int(clicked["identity"])], clicked["mark"]
        after = (
            self.session.accept_classes
            if not known(now)
            else self.session.reject_classes
            if now
            else self.session.unmark_classes
        )
        self.live.do(lambda: after(identity), doing=f"Class {number_of_class}")

    def _show_sheet(self, loaded: tuple[bytes, dict[str, Any]]) -> None:
        sheet, layout = loaded
        with self.tiles.hold_sync():
            self.tiles.tile, self.tiles.columns, self.tiles.sheet = layout["tile"], layout["columns"], sheet
            self._arrange()

    @guarded
    def _arrange(self) -> None:
        column_name, ascending = ORDERS[self.order.value]
        table = self.classes.sort_values(column_name, ascending=ascending, kind="stable", na_position="last")
        tiles = [_tile(entry) for entry in table.to_dict("records")]
        if tiles != self.tiles.classes:
            self.tiles.classes = tiles


def load_sheet(session: Any, number_of_round: int) -> tuple[bytes, dict[str, Any]]:
    """The sheet of a round's averages, and how it is laid out."""
    layout = json.loads(session.file("classes_layout", number_of_round).read_text())
    return session.file("classes_sheet", number_of_round).read_bytes(), layout


def waiting_sentence(snapshot: Snapshot) -> str:
    """What 2D classification does or waits for now."""
    setting, status = snapshot.settings.class2d, snapshot.status.tracks["classify"]
    if not setting.enable:
        return "2D classification is off in Settings."
    if snapshot.settings.picking.radius is None:
        return "2D classification waits for particles: give a particle radius in Settings."
    if not len(snapshot.rounds) and status.state == "stopped":
        now = f"there are {snapshot.particles:,} now"
        return f"Start 2D classification in Operation; it begins at {setting.first:,} particles, {now}."
    return str(status.message)


def _summary(classes: pd.DataFrame, snapshot: Snapshot) -> str:
    last = snapshot.rounds.iloc[-1]
    done = snapshot.rounds[snapshot.rounds["state"] == "done"]
    last = done.iloc[-1] if len(done) else last
    return markup(
        '<b class="nb-strong">{n} classes · {particles} particles</b> '
        '<span class="nb-muted">round {round}, {time}, best {best}</span>',
        n=len(classes),
        particles=number(classes["count"].sum()),
        round=int(last["number"]),
        time=clock(last["finished"]),
        best=number(classes["resolution"].min(), 1, "Å"),
    )


def _tile(entry: dict[str, Any]) -> dict[str, Any]:
    accepted = entry.get("accepted")
    mark = "" if not known(accepted) else "accepted" if accepted else "rejected"
    resolution = number(entry["resolution"], 1, "Å")
    title = f"class {int(entry['number'])}: {number(entry['count'])} particles, {resolution} {mark}"
    return {
        "number": int(entry["number"]),
        "index": int(entry["number"]) - 1,
        "count": number(entry["count"]),
        "share": f"{100 * entry['share']:.1f} %",
        "resolution": resolution,
        "mark": mark,
        "title": title.strip(),
    }
