"""The Plots page: every number over time and against others; what is brushed in one is selected in all."""

from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.quality_limits import QUALITY, ctf_doubt, normal_ranges
from nextpyp_nb.views.late import Box, Dropdown
from nextpyp_nb.views.markup import clock, joined, known, markup
from nextpyp_nb.views.pieces import button, flag, group, guarded, row, say, show, shown, text
from nextpyp_nb.views.plot_base import Plot, Scene
from nextpyp_nb.views.plot_cards import Histogram, Pair, Polar, Series
from nextpyp_nb.views.plot_marks import GROUPS
from nextpyp_nb.views.quantities import measured, quantity, seconds, shot_groups
from nextpyp_nb.views.selection import TIME, Chip
from nextpyp_nb.views.selection_bar import SelectionBar
from nextpyp_nb.views.state import LiveState, Snapshot
from nextpyp_nb.views.widgets.plot_layer import PlotLayer

SERIES = ("fit_resolution", "defocus", "total_motion", "particles", "early_motion", "ice_thickness")
CARD = ("fit_resolution", "defocus", "astigmatism", "total_motion", "particles")
STEPS = (10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
HINT = "Drag in any plot: it selects in all, in the Table and the Gallery. A click opens."


class PlotsPage(Box):
    """Six series, and distributions below them."""

    def __init__(self, session: Any, live: LiveState) -> None:
        self.session, self.live, self.banner = session, live, live.banner
        self.selection = live.selection
        self.snapshot: Snapshot | None = None
        self.scene: Scene | None = None
        self._spans: dict[str, tuple[Chip, list[float]]] = {}
        self.bar = SelectionBar(session, live, HINT)
        self.over = Dropdown(options=["time", "order"], tooltip="What the series run over")
        self.colour = Dropdown(options=["none", "shot group"], tooltip="Colour by")
        for control, name in ((self.over, "nb-over"), (self.colour, "nb-colour")):
            control.add_class(name)
            control.observe(lambda _: self._draw(), "value")
        self.box = button("Box", lambda: self._lasso(False), "nb-box", "nb-on")
        self.lasso = button("Lasso", lambda: self._lasso(True), "nb-lasso")
        self.legend = text("", "nb-grow")
        self.tools = row(
            group(self.box, self.lasso), text("over", "nb-muted"), self.over, text("colour", "nb-muted"),
            self.colour, self.legend, classes=("nb-plot-tools",),
        )  # fmt: skip
        self.plots: dict[str, Plot] = {p.key: p for p in self._plots()}
        self.waits = text("Waits for the first micrograph: its numbers are drawn here.", "nb-nothing")
        self.grid = Box(list(self.plots.values()))
        self.grid.add_class("nb-plot-grid")
        self.layer = PlotLayer(self.heard)
        self.layer.observe(lambda _: self._draw(), "aspect")
        super().__init__([self.bar, self.tools, self.waits, self.grid, self.layer])
        for name in ("nb-column", "nb-plots"):
            self.add_class(name)
        self.selection.listen(self._draw)
        live.presence.observe(lambda _: self._draw(), "dark")

    def draw(self, snapshot: Snapshot) -> None:
        """Draw all plots in place."""
        self.snapshot = snapshot
        self.bar.draw(snapshot)
        self._draw()

    @guarded
    def heard(self, content: dict[str, Any]) -> None:
        """What the pointer did over a plot."""
        if self.scene is None:
            return
        if "hover" in content:
            self._hover(content)
        elif "click" in content:
            self._click(content)
        elif "box" in content:
            plot = self.plots[content["box"]]
            chip = plot.chip(content["span"], self.scene)
            if chip is not None:
                self._spans[plot.key] = (chip, plot.span(content["span"]))
                self.selection.add(chip)
        elif "lasso" in content:
            plot = self.plots[content["lasso"]]
            names = frozenset(self.scene.table["name"][plot.inside(content["path"])])
            self.selection.add(Chip(f"lasso: {len(names):,} micrographs", names=names, source=plot.key))

    def _plots(self) -> list[Plot]:
        series = [Series(f"series-{i}", column) for i, column in enumerate(SERIES)]
        series[-1].instead = "ice_ring"
        for plot in series:
            plot.choice.observe(lambda _, plot=plot: plot.offering or self._draw(), "value")
        return [
            *series,
            Histogram("resolution", "fit_resolution"),
            Histogram("score", "ctf_score"),
            Pair("defoci", "defocus_u", "defocus_v", title="Defocus 1 and 2", missing="not measured yet"),
            Polar("astigmatism"),
            Pair(
                "target", "acquired_defocus", "defocus", title="Defocus against target",
                missing="not recorded",
            ),
        ]  # fmt: skip

    @guarded
    def _draw(self) -> None:
        if self.snapshot is None or not shown(self):
            return
        table = self.snapshot.micrographs
        show(self.waits, not len(table))
        show(self.grid, len(table) > 0)
        if not len(table):
            return
        first, self.scene = self.scene is None, self._scene(table)
        say(self.legend, _legend(self.scene.group_names))
        steps = [partial(self._draw_one, plot, self.scene) for plot in self.plots.values()]
        if first:
            # A page is sent as it is drawn.
            for step in steps:
                step()
        else:
            self.live.in_turns(steps)
        self._boxes()

    @guarded
    def _draw_one(self, plot: Plot, scene: Scene) -> None:
        plot.draw(scene)

    def _scene(self, table: pd.DataFrame) -> Scene:
        groups, names = _numbered(shot_groups(table) if self.colour.value == "shot group" else None)
        if self.over.value == "time":
            taken = seconds(table)
            start = float(np.nanmin(taken))
            label = "acquisition time" if "acquired_time" in table else "time finished"
            over, column = taken - start, TIME
            limits = growing_limits(float(np.nanmax(over)), least=60.0)
            ticks = time_ticks(start, limits[1])
        else:
            start, label, column = 0.0, "order of arrival", "id"
            over = table["id"].to_numpy(np.float64) if "id" in table else np.arange(1.0, len(table) + 1)
            limits = growing_limits(float(over.max()), least=5.0)
            ticks = order_ticks(limits[1])
        return Scene(
            table=table, keep=self.selection.holds(table), groups=groups, group_names=names, over=over,
            over_label=label, over_column=column, over_start=start, over_limits=limits, ticks=ticks,
            columns=tuple(measured(table)), limits=alarm_limits(table),
            dark=self.live.presence.dark,
            aspect=self.layer.aspect,
        )  # fmt: skip

    def _boxes(self) -> None:
        """A box stays drawn as long as its chip is there."""
        self._spans = {key: (c, s) for key, (c, s) in self._spans.items() if c in self.selection.chips}
        boxes = {key: span for key, (_, span) in self._spans.items()}
        if boxes != self.layer.boxes:
            self.layer.boxes = boxes

    def _hover(self, asked: dict[str, Any]) -> None:
        plot, scene = self.plots[asked["hover"]], self.scene
        assert scene is not None
        found = plot.nearest(asked)
        if found is None:
            return self.layer.show_card(asked, [], (0, 0), b"")
        entry = scene.table.iloc[found].to_dict()
        at = plot.fractions()[found]
        lines = [str(entry["name"]), *card_lines(entry)]
        return self.live.fetch(
            lambda: thumbnail(self.session, str(entry["name"])),
            lambda picture: self.layer.show_card(asked, lines, (float(at[0]), float(at[1])), picture),
        )

    def _click(self, asked: dict[str, Any]) -> None:
        plot, scene = self.plots[asked["click"]], self.scene
        assert scene is not None
        found = plot.nearest(asked)
        if found is not None:
            self.live.open_micrograph(str(scene.table["name"].iloc[found]))
        else:
            for chip in [c for c in self.selection.chips if c.source == plot.key]:
                self.selection.remove(chip)

    @guarded
    def _lasso(self, on: bool) -> None:
        self.layer.lasso = on
        flag(self.lasso, "nb-on", on)
        flag(self.box, "nb-on", not on)


def thumbnail(session: Any, name: str) -> bytes:
    """A micrograph's small picture; empty where there is none."""
    try:
        return bytes(session.file("thumb", name).read_bytes())
    except FileNotFoundError:
        return b""


def card_lines(entry: dict[str, Any]) -> list[str]:
    """The key figures of a micrograph, each with its unit."""
    lines = [f"{quantity(c).label}: {quantity(c).words(entry[c])}" for c in CARD if c in entry]
    if entry.get("ctf_failed"):
        lines.append(f"no fit: {entry['ctf_failed']}")
    if doubt := ctf_doubt(entry):
        lines.append(doubt)
    if entry.get("excluded"):
        lines.append("excluded")
    return [*lines, clock(entry.get("acquired_time") or entry.get("finished"))]


def alarm_limits(table: pd.DataFrame) -> dict[str, tuple[float | None, float | None]]:
    """By column, below and above which values raise an alarm; without a limit, what is normal now."""
    limits: dict[str, tuple[float | None, float | None]] = {}
    normal = normal_ranges(table) if {"height", "particles"} <= set(table.columns) else None
    for figure in QUALITY:
        if figure.limit is not None:
            above = figure.worse == "above"
            limits[figure.name] = (None, figure.limit) if above else (figure.limit, None)
        elif normal is not None and known(normal.at[figure.name, "low"]):
            limits[figure.name] = (normal.at[figure.name, "low"], normal.at[figure.name, "high"])
    return limits


def growing_limits(last: float, *, least: float) -> tuple[float, float]:
    """From the first to a little beyond the last, so that the axis moves seldom."""
    last = max(last, least)
    step = 2.0 ** np.floor(np.log2(last)) / 32
    high = float(np.ceil(last / step + 0.5) * step)
    return -0.01 * high, high


def time_ticks(start: float, length: float) -> tuple[np.ndarray, list[str]]:
    """Places (seconds after ``start``) and names of four to eight round local times."""
    step = next((s for s in STEPS if length / s <= 6), STEPS[-1])
    offset = datetime.fromtimestamp(start).astimezone().utcoffset()
    shift = offset.total_seconds() if offset else 0.0
    first = np.ceil((start + shift) / step) * step - shift
    at = np.arange(first, start + length + 1, step)
    moments = [datetime.fromtimestamp(t) for t in at]
    form = (
        "%H:%M:%S" if step < 60 else "%H:%M" if step < 43200 else "%d %b" if step >= 86400 else "%d %b %H:%M"
    )
    names = [m.strftime("%d %b" if step < 43200 and m.hour == m.minute == 0 else form) for m in moments]
    # Half of the last name would stand beyond the plot.
    if names and at[-1] - start > length * (1 - 0.006 * len(names[-1])):
        at, names = at[:-1], names[:-1]
    return np.round(at - start, 3), names


def order_ticks(last: float) -> tuple[np.ndarray, list[str]]:
    """Round numbers up to the last."""
    step = next(s * 10**p for p in range(9) for s in (1, 2, 5) if last / (s * 10**p) <= 6)
    at = np.arange(step, last + 1, step, dtype=np.float64)
    return at, [f"{t:,.0f}" for t in at]


def _numbered(groups: np.ndarray | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Groups as numbers, the many small ones of too many together."""
    if groups is None:
        return None, ()
    names, numbers, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    if len(names) > len(GROUPS):
        large = np.sort(np.argsort(-counts)[: len(GROUPS) - 1])
        place = np.full(len(names), len(large))
        place[large] = np.arange(len(large))
        return place[numbers], (*names[large].tolist(), "others")
    return numbers, tuple(names.tolist())


def _legend(names: tuple[str, ...]) -> Any:
    swatches = joined(
        [
            markup('<span><i style="background:{colour}"></i>{name}</span>', colour=colour, name=name)
            for colour, name in zip(GROUPS, names, strict=False)
        ]
    )
    return markup('<div class="nb-swatches">{swatches}</div>', swatches=swatches)
