"""The 2D Classes page: averages that one accepts or rejects, with their particles and history."""

from typing import Any

import pandas as pd

from nextpyp_nb.views.change_bar import ChangeBar
from nextpyp_nb.views.class_files import classes_star, load_sheet
from nextpyp_nb.views.class_history import ClassHistory
from nextpyp_nb.views.class_particles import ClassParticles
from nextpyp_nb.views.class_rule import ClassRule
from nextpyp_nb.views.late import Box, Dropdown
from nextpyp_nb.views.markup import known, markup, number
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.widgets.class_tiles import ClassTiles
from nextpyp_nb.views.widgets.download import Download
from nextpyp_nb.views.widgets.keys import Keys

ORDERS = {
    "particles": ("count", False),
    "resolution": ("resolution", True),
    "score": ("score", False),
    "identity": ("identity", True),
}
HINT = "Click a class, Ctrl or Shift for more; keys a, r and u mark."


class ClassesPage(Box):
    """Tiles of the last round, what is done with them, and what the next round waits for."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.snapshot: Snapshot | None = None
        self.classes = pd.DataFrame()
        self._sheet_of: Any = None
        self.order = Dropdown(options=list(ORDERS), tooltip="Sort by")
        self.order.add_class("nb-order")
        self.order.observe(lambda _: self._arrange(), "value")
        self.summary = text("", "nb-grow", "nb-class-summary")
        self.rule = ClassRule(session, live, self._arrange)
        self.tiles = ClassTiles(lambda _: self.show_particles())
        self.tiles.observe(lambda _: self._chosen(), "selected")
        self.waits = text("", "nb-nothing")
        self.card = column(self.tiles, classes=("nb-card",))
        self.change = ChangeBar(session, live)
        self.particles = ClassParticles(session, live)
        self.history = ClassHistory(session, live, self._show_round)
        self.download = Download()
        self.marking, self.looking = self._buttons()
        self.update = button("Update now", self.update_now, "nb-update-classes")
        self.update.tooltip = "Start a round over all particles so far"
        sort = text("sort", "nb-muted")
        self.tools = row(sort, self.order, self.rule, self.summary, classes=("nb-class-tools",))
        self.export = row(*self._exports(), classes=("nb-class-tools",))
        self.actions = row(self.marking, self.looking, self.export, classes=("nb-class-actions",))
        foot = row(self.history, group(*self.looks, self.update))
        actions = {"a": self.accept, "r": self.reject, "u": self.unmark}
        above = [self.tools, self.actions, self.change, self.waits, self.card, foot]
        super().__init__([*above, self.particles, self.download, Keys(actions)])
        for name in ("nb-column", "nb-classes"):
            self.add_class(name)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the last finished round, reading its sheet only when it is a new one."""
        self.snapshot, self.classes = snapshot, snapshot.classes
        have = len(self.classes) > 0
        for part in (self.card, self.actions, self.tools):
            show(part, have)
        show(self.waits, not have)
        for part in (self.marking, self.use, self.update):
            show(part, snapshot.writer)
        say(self.waits, waiting_sentence(snapshot))
        self.history.draw(snapshot)
        self.rule.draw(snapshot)
        done = (
            snapshot.rounds[snapshot.rounds["state"] == "done"] if len(snapshot.rounds) else snapshot.rounds
        )
        if have and len(done) and self.history.at_end:
            self._show_round(int(done.iloc[-1]["number"]), done.iloc[-1]["finished"])

    def chosen(self) -> list[int]:
        """The identities that are selected and still there."""
        there = set(self.classes["identity"]) if len(self.classes) else set()
        return [i for i in self.tiles.selected if i in there]

    @guarded
    def accept(self) -> None:
        """Accept what is selected, now and in the rounds to come."""
        self._mark(self.session.accept_classes, "Accept")

    @guarded
    def reject(self) -> None:
        """Reject what is selected."""
        self._mark(self.session.reject_classes, "Reject")

    @guarded
    def unmark(self) -> None:
        """Leave what is selected to the rule."""
        self._mark(self.session.unmark_classes, "Unmark")

    @guarded
    def select(self, which: str) -> None:
        """Select all, none, or from the one selected to the first (above) or the last (below)."""
        order = [c["identity"] for c in self.tiles.classes]
        now = [order.index(i) for i in self.tiles.selected if i in order]
        parts = {"all": order, "none": []}
        if which not in parts and not now:
            raise ValueError("select a class first: from there, above and below are meant")
        if now:
            parts |= {"above": order[: max(now) + 1], "below": order[min(now) :]}
        self.tiles.selected = parts[which]

    @guarded
    def update_now(self) -> None:
        """Start a round over what is there."""
        self.live.do(
            self.session.update_classes,
            lambda answer: self.banner.tell(answer.message),
            doing="Update classes",
        )

    @guarded
    def show_particles(self) -> None:
        """Particles of the class that is selected."""
        self.particles.draw(self._one())

    @guarded
    def show_on_micrographs(self) -> None:
        """The particles of the class, ringed on the Micrographs page."""
        self.live.show_class(self._one())

    @guarded
    def use_as_templates(self) -> None:
        """Pick by the selected averages, or else by the accepted ones."""
        wanted = self.chosen() or [int(i) for i in self.classes["identity"][self.classes["accepted"] == 1]]
        if not wanted:
            raise ValueError("select or accept the classes to pick by first")
        self.live.do(
            lambda: self.session.use_classes_as_templates(wanted),
            lambda answer: self.banner.tell(answer.message),
            doing="Use as templates",
        )

    @guarded
    def export_particles(self) -> None:
        """Write the particles of the accepted classes as STAR files and stack for RELION."""
        self.live.do(
            lambda: self.session.export(accepted=True, stack=True),
            lambda _: self.banner.tell("The Operation page lists the export, with its path when done."),
            doing="Export particles",
        )

    @guarded
    def download_averages(self) -> None:
        """Hand over the averages as MRC, with a STAR of those selected (or all)."""
        number_of_round, wanted = int(self.classes["round"].iloc[0]), self.chosen()
        table = self.classes[self.classes["identity"].isin(wanted)] if wanted else self.classes
        stem = f"{self.session.name}_round{number_of_round:04d}"

        def save(stack: bytes) -> None:
            self.download.save(f"{stem}.mrcs", stack)
            self.download.save(f"{stem}.star", classes_star(table, f"{stem}.mrcs").encode())

        self.live.fetch(lambda: self.session.file("classes", number_of_round).read_bytes(), save)

    def _buttons(self) -> tuple[Box, Box]:
        self.picks = [
            button(word, lambda word=word: self.select(word), f"nb-select-{word}")
            for word in ("all", "above", "below", "none")
        ]
        self.acts = {
            "accept": button("Accept (a)", self.accept, "nb-accept"),
            "reject": button("Reject (r)", self.reject, "nb-reject"),
            "unmark": button("Unmark (u)", self.unmark, "nb-unmark"),
        }
        self.looks = (
            button("Particles", self.show_particles, "nb-class-particles"),
            button("On micrographs", self.show_on_micrographs, "nb-class-on-micrographs"),
        )
        self.chosen_words = text(HINT, "nb-muted", "nb-small", "nb-chosen-classes")
        looking = row(
            text("select", "nb-muted"), group(*self.picks), self.chosen_words, classes=("nb-grow",)
        )  # fmt: skip
        return group(*self.acts.values()), looking

    def _exports(self) -> tuple[Any, ...]:
        self.use = button("Use as templates", self.use_as_templates, "nb-use-templates")
        self.use.tooltip = "Picking looks for the selected classes, or for the accepted ones"
        averages = button("Averages", self.download_averages, "nb-download-averages")
        averages.tooltip = "Save the averages as MRC, and a STAR of the selected ones"
        self.write = button("Export particles…", self.export_particles, "nb-export-accepted")
        self.write.tooltip = "Write the particles of the accepted classes, with their stack"
        return (group(self.use, averages, self.write),)

    def _mark(self, command: Any, doing: str) -> None:
        wanted = self.chosen()
        if not wanted:
            return self.banner.tell("Select classes first: click a tile, Ctrl or Shift for more.")
        return self.live.do(lambda: command(wanted), doing=f"{doing} {_counted(wanted)}")

    def _one(self) -> dict[str, Any]:
        wanted = self.chosen()
        if len(wanted) != 1:
            raise ValueError("select one class first: click its tile")
        found: dict[str, Any] = self.classes[self.classes["identity"] == wanted[0]].iloc[0].to_dict()
        return found

    def _chosen(self) -> None:
        wanted = self.chosen()
        for made in self.acts.values():
            made.disabled = not wanted
        for made in self.looks:
            made.disabled = len(wanted) != 1
        share = self.classes["share"][self.classes["identity"].isin(wanted)].sum() if wanted else 0.0
        words = f"{_counted(wanted)} selected, {100 * share:.1f} % of particles" if wanted else HINT
        say(self.chosen_words, words)

    def _show_round(self, number_of_round: int, finished: Any = None) -> None:
        key = number_of_round, finished
        if key == self._sheet_of:
            return self._arrange()
        self._sheet_of = key

        def shown(loaded: tuple[bytes, dict[str, Any]]) -> None:
            sheet, layout = loaded
            with self.tiles.hold_sync():
                self.tiles.tile, self.tiles.columns, self.tiles.sheet = (
                    layout["tile"],
                    layout["columns"],
                    sheet,
                )
                self.tiles.pixel_size = float(layout["pixel_size"])
                self.tiles.count = int(layout["count"])
                self._arrange()

        return self.live.fetch(lambda: load_sheet(self.session, number_of_round), shown)

    @guarded
    def _arrange(self) -> None:
        if self.snapshot is None or not len(self.classes):
            return
        column_name, ascending = ORDERS[self.order.value]
        table = self.classes.sort_values(column_name, ascending=ascending, kind="stable", na_position="last")
        preview = self.rule.preview(table)
        tiles = [_tile(entry, preview.get(entry["identity"])) for entry in table.to_dict("records")]
        if tiles != self.tiles.classes:
            self.tiles.classes = tiles
        say(self.summary, _summary(table, tiles))
        self._chosen()


def waiting_sentence(snapshot: Snapshot) -> str:
    """What 2D classification does or waits for now."""
    setting, status = snapshot.settings.class2d, snapshot.status.tracks["classify"]
    if not setting.enable:
        return "2D classification is off in Settings."
    if snapshot.settings.picking.method == "none":
        return "2D classification waits for particles: picking is off in Settings, Particle detection."
    if snapshot.radius is None:
        return "2D classification waits for a particle radius: it is estimated from the first micrographs."
    if not len(snapshot.rounds) and status.state == "stopped":
        now = f"there are {snapshot.particles:,} now"
        return f"Start 2D classification in Operation; it begins at {setting.first:,} particles, {now}."
    return str(status.message)


def _summary(table: pd.DataFrame, tiles: list[dict[str, Any]]) -> str:
    accepted = {t["identity"] for t in tiles if t["mark"] == "accepted"}
    mine = table["identity"].isin(accepted)
    return markup(
        '<b class="nb-strong">{n} of {all} classes · {particles} particles accepted ({share} %)</b>',
        n=len(accepted),
        all=len(table),
        particles=number(table["count"][mine].sum()),
        share=f"{100 * table['share'][mine].sum():.0f}",
    )


def _tile(entry: dict[str, Any], preview: bool | None) -> dict[str, Any]:
    """A tile; ``preview`` is what a rule that is not yet used would say of it."""
    hand = known(entry.get("mark"))
    accepted = entry.get("accepted") if hand or preview is None else preview
    mark = "" if not known(accepted) else "accepted" if accepted else "rejected"
    resolution = number(entry["resolution"], 1, "Å")
    why = f", {mark} {'by hand' if hand else 'by the rule'}" if mark else ""
    title = f"class {int(entry['identity'])}: {number(entry['count'])} particles, {resolution}{why}"
    return {
        "identity": int(entry["identity"]),
        "index": int(entry["number"]) - 1,
        "count": number(entry["count"]),
        "share": f"{100 * entry['share']:.{0 if entry['share'] > 0.0995 else 1}f} %",
        "resolution": resolution,
        "mark": mark,
        "hand": hand,
        "title": title,
    }


def _counted(identities: list[int]) -> str:
    return f"{len(identities)} class{'es' * (len(identities) != 1)}"
