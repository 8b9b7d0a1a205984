"""The Micrographs page: one micrograph at a time, the newest as they come."""

from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.views.alarm_words import alarm_words
from nextpyp_nb.views.change_bar import ChangeBar
from nextpyp_nb.views.class_files import Members, members
from nextpyp_nb.views.curves import CtfPlot, MotionPlot
from nextpyp_nb.views.late import Box, Checkbox, IntText, Text
from nextpyp_nb.views.logs import event_lines
from nextpyp_nb.views.markup import clock, markup
from nextpyp_nb.views.micrograph_files import field, load, path
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, shown, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.tryout import TryOutCard
from nextpyp_nb.views.widgets.keys import Keys
from nextpyp_nb.views.widgets.micrograph import MicrographImage, clicked_place
from nextpyp_nb.views.widgets.spectrum import SpectrumImage

WAITING = "Waits for the first micrograph: it appears here as soon as a movie is aligned."
STEPS = ((-100, "−100"), (-10, "−10"), (-1, "−1"), (1, "+1"), (10, "+10"), (100, "+100"))


class MicrographsPage(Box):
    """Navigator, image with picks, CTF, motion, spectrum."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.table = pd.DataFrame()
        self.name: str | None = None
        self._drawn: Any = None
        self._quiet = False
        self.index = IntText(value=0, tooltip="Number of the micrograph")
        self.index.add_class("nb-index")
        self.index.observe(self._typed, "value")
        self.count = text("of 0", "nb-muted", "nb-count")
        self.watch = Checkbox(value=True, description="Watch", indent=False, tooltip="Follow the newest")
        self.watch.add_class("nb-watch")
        self.watch.observe(lambda _: self._choose(), "value")
        self.find = Text(placeholder="find a name", tooltip="Find a name")
        self.find.add_class("nb-find")
        self.find.observe(self._search, "value")
        self.title = text("", "nb-grow", "nb-micrograph-name")
        self.alarm_words = text("", "nb-warning-text", "nb-hidden", "nb-alarm-words")
        self.log_button = button("Log", self.toggle_log, "nb-log-of-micrograph")
        self.exclude = button("Exclude (x)", self.toggle_excluded, "nb-exclude")
        self.image = MicrographImage(self.heard, waiting=WAITING)
        self.change = ChangeBar(session, live)
        self.log_lines = text("", "nb-log-lines")
        self.log_card = column(self.log_lines, classes=("nb-card", "nb-log", "nb-hidden"))
        self.ctf, self.motion, self.spectrum = CtfPlot(), MotionPlot(), SpectrumImage()
        self.tryout = TryOutCard(session, live, self.change, self._show_tried)
        self.loaded: Any = None
        self.waits = text(WAITING, "nb-nothing")
        self.members: Members | None = None
        self.class_words = text("", "nb-class-words")
        self.class_bar = row(
            self.class_words,
            group(
                button("previous", lambda: self.step_class(-1)), button("next", lambda: self.step_class(1)),
                button("✕", self.unmark_class, "nb-unmark-class", tooltip="Ring them no more"),
            ),
            classes=("nb-confirm", "nb-hidden", "nb-class-bar"),
        )  # fmt: skip
        self.body = Box([column(self.image, classes=("nb-card",)), self._side()])
        self.body.add_class("nb-micrograph-page")
        keys = Keys(
            {
                "ArrowLeft": lambda: self.step(-1),
                "ArrowRight": lambda: self.step(1),
                "x": self.toggle_excluded,
            }
        )
        super().__init__(
            [
                self._navigator(),
                self.alarm_words,
                self.class_bar,
                self.change,
                self.log_card,
                self.waits,
                self.body,
                keys,
            ]
        )
        for name in ("nb-column", "nb-micrographs"):
            self.add_class(name)
        show(self.body, False)

    def draw(self, snapshot: Snapshot) -> None:
        """Follow the newest while Watch is on; else stay, and say how many there are."""
        self.table, self.alarms = snapshot.micrographs, snapshot.alarms
        self.image.editable = snapshot.writer
        show(self.exclude, snapshot.writer)
        self._choose()
        self.tryout.draw(snapshot)

    @guarded
    def step(self, by: int) -> None:
        """Go ``by`` micrographs on; this ends Watch."""
        self.go(self._place() + by)

    @guarded
    def go(self, place: int) -> None:
        """Go to the micrograph at ``place``, counted from 0 in the order of arrival."""
        if len(self.table):
            self.watch.value = False
            self.name = str(self.table["name"].iloc[min(max(place, 0), len(self.table) - 1)])
            self._choose()

    def go_to(self, name: str) -> None:
        """Go to a micrograph by its name."""
        places = np.flatnonzero(self.table["name"] == name)
        if len(places):
            self.go(int(places[0]))

    def mark_class(self, entry: dict[str, Any], name: str | None = None) -> None:
        """Ring the particles of a class (a row of the table of classes); begin with a micrograph by name."""

        def take(members_of_class: Members) -> None:
            self.members, self.class_entry = members_of_class, entry
            there = members_of_class.names
            if name is None and len(there) and self.name not in there:
                self.go_to(str(there[-1]))
            elif name is not None:
                self.go_to(name)
            self._ring()

        self.live.fetch(lambda: members(self.session, int(entry["round"]), int(entry["number"])), take)

    @guarded
    def unmark_class(self) -> None:
        """Ring no class any more."""
        self.members = None
        self._ring()

    @guarded
    def step_class(self, by: int) -> None:
        """Go to the micrograph before or after this one that has particles of the class."""
        assert self.members is not None
        there = np.flatnonzero(self.table["name"].isin(np.unique(self.members.names)))
        beyond = there[there > self._place()] if by > 0 else there[there < self._place()][::-1]
        if len(beyond):
            self.go(int(beyond[0]))

    @guarded
    def toggle_excluded(self) -> None:
        """Exclude the micrograph from what follows, or take it in again."""
        if self.name is not None:
            name, excluded = self.name, not self._excluded()
            self.live.do(lambda: self.session.exclude(name, excluded), doing=name)

    @guarded
    def toggle_log(self) -> None:
        """Show what happened to this micrograph, or put it away."""
        show(self.log_card, not shown(self.log_card))
        self._show_log()

    @guarded
    def heard(self, content: dict[str, Any]) -> None:
        """A particle added or taken away by mouse, or a threshold to use."""
        if "threshold" in content:
            threshold = round(float(content["threshold"]), 2)
            return self.change.ask({"picking.threshold": threshold}, f"Threshold {threshold:g} σ")
        add, name = "add" in content, str(content["name"])
        y, x = clicked_place(content["add" if add else "remove"], self.image.height)
        command = self.session.add_pick if add else self.session.remove_pick
        doing = "Add a pick" if add else "Remove a pick"
        failed = self.image.refuse
        return self.live.do(lambda: command(name, y, x), lambda _: self._load(), doing=doing, failed=failed)

    def _navigator(self) -> Box:
        back = [button("|◀", lambda: self.go(0), "nb-first", tooltip="First")]
        back += [button(word, lambda by=by: self.step(by), f"nb-step{by}") for by, word in STEPS[:3]]
        on = [button(word, lambda by=by: self.step(by), f"nb-step{by}") for by, word in STEPS[3:]]
        on.append(button("▶|", lambda: self.go(len(self.table) - 1), "nb-last", tooltip="Newest"))
        where = row(self.index, self.count)
        return row(
            group(*back),
            where,
            group(*on),
            self.watch,
            self.find,
            self.title,
            group(self.log_button, self.exclude),
            classes=("nb-navigator",),
        )

    def _side(self) -> Box:
        spectrum = column(
            text(markup("<b>Spectrum</b>"), "nb-card-title"),
            self.spectrum,
            classes=("nb-card", "nb-spectrum"),
        )
        side = Box([self.ctf, self.motion, spectrum, self.tryout])
        side.add_class("nb-side")
        return side

    def _place(self) -> int:
        found = np.flatnonzero(self.table["name"].to_numpy() == self.name) if len(self.table) else []
        return int(found[0]) if len(found) else len(self.table) - 1

    def _excluded(self) -> bool:
        return bool(self.table["excluded"].iloc[self._place()]) if "excluded" in self.table else False

    @guarded
    def _choose(self) -> None:
        """Settle on a micrograph and load it when it, or its results, are not those on the page."""
        empty = not len(self.table)
        show(self.waits, empty)
        show(self.body, not empty)
        if empty:
            return
        if self.watch.value or self.name is None:
            self.name = str(self.table["name"].iloc[-1])
        place = self._place()
        entry = self.table.iloc[place].to_dict()
        self.name = str(entry["name"])
        self._say_where(place, entry)
        key = (self.name, entry.get("finished"), entry.get("revision"), entry.get("particles"))
        if key != self._drawn:
            self._drawn = key
            self._load()

    def _load(self) -> None:
        entry = self.table.iloc[self._place()].to_dict()
        self.live.fetch(lambda: load(self.session, entry), self._show)
        self._show_log()

    def _ring(self) -> None:
        show(self.class_bar, self.members is not None)
        if self.members is None:
            return self.image.mark(np.zeros((0, 2)))
        mine = self.members.names == self.name
        words = f"Class {int(self.class_entry['identity'])}: {int(mine.sum())} particles here"
        say(self.class_words, f"{words}, in {len(np.unique(self.members.names)):,} micrographs")
        return self.image.mark(self.members.centres[mine])

    def _show_log(self) -> None:
        name = self.name
        if name is None or not shown(self.log_card):
            return

        def told(events: list[Any]) -> None:
            say(self.log_lines, event_lines(events) if events else f"Nothing is written down about {name}.")

        self.live.fetch(lambda: self.session.events(movie=name), told)

    def _say_where(self, place: int, entry: dict[str, Any]) -> None:
        self._quiet = True
        self.index.value = place + 1
        self._quiet = False
        say(self.count, f"of {len(self.table):,}")
        self.exclude.description = "Include (x)" if self._excluded() else "Exclude (x)"
        note = f"{clock(entry.get('finished'))}"
        if self._excluded():
            note += " · excluded"
        alarms = alarm_words(entry, self.alarms.iloc[place])
        show(self.alarm_words, bool(alarms))
        say(self.alarm_words, f"▲ {' · '.join(alarms)}")
        say(
            self.title,
            markup(
                '<span class="nb-ellipsis"><b title="{name}">{name}</b> '
                '<span class="nb-muted nb-small">{note}</span></span>',
                name=entry["name"],
                note=note,
            ),
        )

    def _show(self, loaded: dict[str, Any]) -> None:
        entry = loaded["entry"]
        if entry["name"] != self.name:
            return
        self.loaded = loaded
        self._draw_loaded(loaded)
        self.tryout.follow(str(entry["name"]))

    def _show_tried(self, tried: dict[str, Any] | None) -> None:
        """Draw the micrograph as it was tried; None: as the session has it."""
        if tried is None or tried["entry"]["name"] == self.name:
            self._draw_loaded(tried or self.loaded)
            self.image.editable = tried is None and self.live.snapshot.writer

    def _draw_loaded(self, loaded: dict[str, Any]) -> None:
        entry = loaded["entry"]
        self.image.waiting = "" if loaded["picture"] else "There is no picture of this micrograph."
        self.image.show(entry, loaded["picture"], loaded["picks"], loaded["radius"])
        self._ring()
        self.ctf.draw(entry, loaded["ctf"])
        self.motion.draw(entry, path(loaded["motion"]), field(loaded["motion"]))
        self.spectrum.show(loaded["ctf"], entry)

    @guarded
    def _typed(self, change: Any) -> None:
        if not self._quiet:
            self.go(change["new"] - 1)

    @guarded
    def _search(self, change: Any) -> None:
        wanted = change["new"].strip().lower()
        if wanted and len(self.table):
            hits = np.flatnonzero(self.table["name"].str.lower().str.contains(wanted, regex=False))
            if len(hits):
                self.go(int(hits[-1]))
