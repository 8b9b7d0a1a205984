"""The Micrographs page: one micrograph at a time, the newest as they come."""

from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import Box, Checkbox, IntText, Text

from nextpyp_nb.views.curves import CtfPlot, MotionPlot
from nextpyp_nb.views.markup import clock, markup
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.widgets.micrograph import MicrographImage
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
        self.index = IntText(value=0)
        self.index.add_class("nb-index")
        self.index.observe(self._typed, "value")
        self.count = text("of 0", "nb-muted", "nb-count")
        self.watch = Checkbox(value=True, description="Watch", indent=False, tooltip="Follow the newest")
        self.watch.add_class("nb-watch")
        self.watch.observe(lambda _: self._choose(), "value")
        self.find = Text(placeholder="find a name")
        self.find.add_class("nb-find")
        self.find.observe(self._search, "value")
        self.title = text("", "nb-grow", "nb-micrograph-name")
        self.exclude = button("Exclude", self.toggle_excluded, "nb-exclude")
        self.image = MicrographImage(waiting=WAITING)
        self.ctf, self.motion, self.spectrum = CtfPlot(), MotionPlot(), SpectrumImage()
        self.waits = text(WAITING, "nb-nothing")
        self.body = Box([column(self.image, classes=("nb-card",)), self._side()])
        self.body.add_class("nb-micrograph-page")
        super().__init__([self._navigator(), self.waits, self.body])
        for name in ("nb-column", "nb-micrographs"):
            self.add_class(name)
        show(self.body, False)

    def draw(self, snapshot: Snapshot) -> None:
        """Follow the newest while Watch is on; else stay, and say how many there are."""
        self.table = snapshot.micrographs
        self._choose()

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

    @guarded
    def toggle_excluded(self) -> None:
        """Exclude the micrograph from what follows, or take it in again."""
        if self.name is not None:
            name, excluded = self.name, not self._excluded()
            self.live.do(lambda: self.session.exclude(name, excluded), doing=name)

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
            self.exclude,
            classes=("nb-navigator",),
        )

    def _side(self) -> Box:
        spectrum = column(
            text(markup("<b>Spectrum</b>"), "nb-card-title"),
            self.spectrum,
            classes=("nb-card", "nb-spectrum"),
        )
        side = Box([self.ctf, self.motion, spectrum])
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
        key = (self.name, entry.get("finished"), entry.get("revision"))
        if key != self._drawn:
            self._drawn = key
            self.live.do(lambda: load(self.session, entry), self._show, doing=f"Show {self.name}")

    def _say_where(self, place: int, entry: dict[str, Any]) -> None:
        self._quiet = True
        self.index.value = place + 1
        self._quiet = False
        say(self.count, f"of {len(self.table):,}")
        self.exclude.description = "Include" if self._excluded() else "Exclude"
        note = f"{clock(entry.get('finished'))}"
        if self._excluded():
            note += " · excluded"
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
        picks = loaded["picks"] or {"centres": np.zeros((0, 2)), "scores": np.zeros(0), "radius": 0.0}
        self.image.waiting = "" if loaded["picture"] else "There is no picture of this micrograph."
        self.image.show(
            loaded["picture"],
            shape=(int(entry["height"]), int(entry["width"])),
            pixel_size=float(entry["pixel_size"]),
            centres=picks["centres"],
            scores=picks["scores"],
            radius=float(picks["radius"]),
        )
        profile, motion = loaded["ctf"], loaded["trajectory"]
        self.ctf.draw(entry, profile)
        self.motion.draw(entry, None if motion is None else motion["shifts"] * float(motion["pixel_size"]))
        resolution = entry.get("fit_resolution")
        ring = 2 * float(entry["pixel_size"]) / resolution if resolution and np.isfinite(resolution) else 0.0
        self.spectrum.show(None if profile is None else profile.get("spectrum"), ring)

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


def load(session: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """Read the picture, picks, CTF curves and trajectory of one micrograph; None for what is not there."""
    name = entry["name"]
    try:
        picture = session.file("preview", name).read_bytes()
    except FileNotFoundError:
        picture = b""
    arrays = {kind: _arrays(session, kind, name) for kind in ("picks", "ctf", "trajectory")}
    return {"entry": entry, "picture": picture, **arrays}


def _arrays(session: Any, kind: str, name: str) -> dict[str, Any] | None:
    try:
        with np.load(session.file(kind, name), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except FileNotFoundError:
        return None
