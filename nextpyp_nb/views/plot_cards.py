"""The plots of the Plots page: series over time, distributions, defoci, astigmatism."""

import re
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.filters import Condition
from nextpyp_nb.views.curves import round_ticks
from nextpyp_nb.views.late import Dropdown
from nextpyp_nb.views.markup import Markup, joined, markup, number
from nextpyp_nb.views.pieces import say
from nextpyp_nb.views.plot_base import EDGE, Cloud, Plot, Scene
from nextpyp_nb.views.plot_marks import INKS, curve, fit, put, scales, spread
from nextpyp_nb.views.quantities import Quantity, quantity, values
from nextpyp_nb.views.selection import Chip

MEDIAN_POINTS = 250


class Series(Cloud):
    """A number over time or order, with its running median and alarm limits; the number can be chosen."""

    kind = "series"

    def __init__(self, key: str, column: str) -> None:
        super().__init__(key)
        self.offering, self.instead = False, column
        inks = INKS[False]
        self.median = curve(self.scales, inks["curve"])
        self.limits = [curve(self.scales, inks["alarm"], width=1.2, line_style="dashed") for _ in range(2)]
        self.over = [self.median, *self.limits]
        self.figure.marks = [*self.rest.marks, *self.over]
        self.choice = Dropdown(
            options=[(quantity(column).label, column)], value=column, tooltip="Which number this plot shows"
        )
        self.head.children = (self.choice, self.title)

    @property
    def quantity(self) -> Quantity:
        """What is plotted."""
        return quantity(self.choice.value)

    def draw(self, scene: Scene) -> None:
        """Draw the series in place."""
        self._offer(scene.columns)
        what = self.quantity
        y = values(scene.table, what.column) / what.scale
        if not np.isfinite(y).any():
            self._lacks("none")
            return say(self.title, "not measured yet")
        self._lacks("")
        limits = [None if v is None else v / what.scale for v in scene.limits.get(what.column, (None, None))]
        low, high = spread(y, *limits)
        fit(self.scales["y"], low, high)
        fit(self.scales["x"], *scene.over_limits)
        _name(self.axes[0], scene.over_label, *scene.ticks)
        _name(self.axes[1], what.unit or what.label, round_ticks(low, high))
        self.points = np.column_stack([scene.over, y])
        self._dots(scene)
        self._lines(scene, y, limits)
        return say(self.title, _series_words(what, y, limits, low, high))

    def chip(self, span: list[float], scene: Scene) -> Chip | None:
        """A span of time or order, and of the number."""
        x = self.scales["x"]
        chip = self._conditions(span, ("y", self.quantity, span[2], span[3]))
        conditions, words = (chip.conditions, [chip.label]) if chip else ((), [])
        if span[0] > EDGE or span[1] < 1 - EDGE:
            ends = [x.min + f * (x.max - x.min) for f in span[:2]]
            conditions += (
                Condition(
                    column=scene.over_column,
                    minimum=scene.over_start + ends[0],
                    maximum=scene.over_start + ends[1],
                ),
            )
            words.append(_span_words(scene, *ends))
        return Chip(", ".join(words), conditions, source=self.key) if conditions else None

    def _offer(self, columns: tuple[str, ...]) -> None:
        """Offer all that is measured; until the first choice is, what comes instead."""
        options = [(quantity(c).label, c) for c in dict.fromkeys((*columns, self.choice.value))]
        if list(self.choice.options) != options:
            self.offering, chosen = True, self.choice.value
            if chosen not in columns and self.instead in columns:
                chosen = self.instead
            self.choice.options = options
            self.choice.value, self.offering = chosen, False

    def _lines(self, scene: Scene, y: np.ndarray, limits: list[float | None]) -> None:
        inks, x = INKS[scene.dark], self.scales["x"]
        self.median.colors = [inks["curve"]]
        put(self.median, *running_median(scene.over, y))
        for mark, at in zip(self.limits, limits, strict=True):
            mark.colors = [inks["alarm"]]
            put(mark, *(([x.min, x.max], [at, at]) if at is not None else ([], [])))


class Pair(Cloud):
    """One number against another."""

    def __init__(self, key: str, x: str, y: str, *, title: str, missing: str) -> None:
        super().__init__(key)
        self.x, self.y, self.name, self.missing = quantity(x), quantity(y), title, missing

    def draw(self, scene: Scene) -> None:
        """Draw both numbers, or say why there is nothing."""
        x, y = (values(scene.table, q.column) / q.scale for q in (self.x, self.y))
        both = np.isfinite(x) & np.isfinite(y)
        if not both.any():
            self._lacks(self.missing)
            return say(self.title, markup("<b>{name}</b>{why}", name=self.name, why=self.missing))
        self._lacks("")
        for which, numbers, at in (("x", x[both], 0), ("y", y[both], 1)):
            low, high = spread(numbers)
            fit(self.scales[which], low, high)
            _name(self.axes[at], (self.x, self.y)[at].heading, round_ticks(low, high))
        self.points = np.column_stack([x, y])
        self._dots(scene)
        return say(self.title, markup("<b>{name}</b>", name=self.name))

    def chip(self, span: list[float], scene: Scene) -> Chip | None:
        """A span of both numbers."""
        return self._conditions(span, ("x", self.x, *span[:2]), ("y", self.y, *span[2:]))


class Polar(Cloud):
    """Astigmatism by angle: distance from the middle of the base is how much, direction is where to."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.rings = [curve(self.scales, INKS[False]["rest"], width=1) for _ in range(2)]
        self.over = self.rings
        self.axes[1].grid_lines = "none"
        self.add_class("nb-round")

    def draw(self, scene: Scene) -> None:
        """Draw magnitude (nm) and angle in the upper half plane, with two rings."""
        size = np.abs(values(scene.table, "astigmatism")) / 10
        angle = np.deg2rad(values(scene.table, "defocus_angle") % 180)
        if not np.isfinite(size * angle).any():
            self._lacks("none")
            return say(self.title, Markup("<b>Astigmatism</b>not measured yet"))
        self._lacks("")
        reach = max(spread(size)[1], 1e-3)
        # As many nm a pixel across as up.
        fit(self.scales["x"], -reach * max(1.0, scene.aspect / 2), reach * max(1.0, scene.aspect / 2))
        fit(self.scales["y"], 0.0, reach * max(1.0, 2 / scene.aspect))
        ticks = round_ticks(0, reach)[1:]
        across = np.concatenate([-ticks[::-1], [0], ticks])[:: 1 if len(ticks) < 4 else 2]
        _name(self.axes[0], "nm along 0° and 180°", across, [f"{abs(t):g}" for t in across])
        _name(self.axes[1], "nm along 90°", ticks)
        size = size.clip(max=reach)
        self.points = np.column_stack([size * np.cos(angle), size * np.sin(angle)])
        self._dots(scene)
        turn = np.linspace(0, np.pi, 60)
        for ring, radius in zip(self.rings, (ticks[len(ticks) // 2], ticks[-1]), strict=True):
            ring.colors = [INKS[scene.dark]["rest"]]
            put(ring, radius * np.cos(turn), radius * np.sin(turn))
        median = number(np.nanmedian(size), 0, "nm")
        return say(self.title, markup("<b>Astigmatism</b>median {median}", median=median))

    def chip(self, span: list[float], scene: Scene) -> Chip | None:
        """The micrographs in the box: a box here is no condition on a column."""
        x, y = self.fractions().T
        hit = (x >= span[0]) & (x <= span[1]) & (y >= span[2]) & (y <= span[3])
        names = frozenset(scene.table["name"][hit])
        return Chip(f"astigmatism: {len(names):,} micrographs", names=names, source=self.key)


class Histogram(Plot):
    """How often each value comes; those selected in the accent's colour."""

    def __init__(self, key: str, column: str, bins: int = 32) -> None:
        self.scales, self.quantity, self.bins = scales(), quantity(column), bins
        inks = INKS[False]
        self.bars = [
            curve(self.scales, inks[ink], width=0, fill="bottom", fill_colors=[inks[ink]], fill_opacities=[1])
            for ink in ("rest", "accent")
        ]
        super().__init__(key, list(self.bars))

    def draw(self, scene: Scene) -> None:
        """Count all, and those selected, into the same bins."""
        what = self.quantity
        numbers = values(scene.table, what.column) / what.scale
        if not np.isfinite(numbers).any():
            self._lacks("none")
            return say(self.title, markup("<b>{name}</b>not measured yet", name=what.label))
        self._lacks("")
        low, high = spread(numbers)
        edges = np.linspace(low, high, self.bins + 1)
        # A hair's gap between two bars.
        x = np.repeat(edges, 2)
        inks = INKS[scene.dark]
        top = 1
        for mark, part, ink in zip(
            self.bars, (numbers, numbers[scene.keep]), ("rest", "accent"), strict=True
        ):
            counts = np.histogram(part[np.isfinite(part)].clip(low, high), edges)[0]
            top = max(top, int(counts.max()))
            mark.fill_colors = [inks[ink]]
            put(mark, x, np.concatenate([[0], np.repeat(counts, 2), [0]]))
        fit(self.scales["x"], low, high)
        fit(self.scales["y"], 0, _round_up(1.05 * top))
        _name(self.axes[0], what.unit or what.label, round_ticks(low, high))
        _name(self.axes[1], "micrographs", _whole(round_ticks(0, self.scales["y"].max)))
        median = what.words(np.nanmedian(numbers) * what.scale)
        return say(self.title, markup("<b>{name}</b>median {median}", name=what.label, median=median))

    def span(self, box: list[float]) -> list[float]:
        """A box has the height of the plot."""
        return [*box[:2], 0.0, 1.0]

    def chip(self, span: list[float], scene: Scene) -> Chip | None:
        """A span of the number; how high the box is does not matter."""
        return self._conditions(span, ("x", self.quantity, *span[:2]))


def running_median(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median of the neighbours in order of x, at no more than `MEDIAN_POINTS` places."""
    known = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[known], kind="stable")
    x, y = x[known][order], y[known][order]
    if len(x) < 8:
        return x[:0], y[:0]
    window = min(max(len(x) // 40, 7), 151)
    smooth = pd.Series(y).rolling(window, center=True, min_periods=3).median().to_numpy()
    every = max(1, len(x) // MEDIAN_POINTS)
    return x[::every], smooth[::every]


def _round_up(value: float) -> float:
    step = 10.0 ** np.floor(np.log10(max(value, 1.0))) / 2
    return float(np.ceil(value / step) * step)


def _whole(ticks: np.ndarray) -> np.ndarray:
    return ticks[ticks == np.round(ticks)]


def _name(made: Any, words: str, ticks: np.ndarray, labels: list[str] | None = None) -> None:
    """Give an axis its label and ticks, when they differ."""
    # The browser looks labels up by its own way of writing numbers.
    keys = [str(int(t)) if t == int(t) else repr(float(t)) for t in ticks]
    named = dict(zip(keys, labels, strict=True)) if labels else {}
    with made.hold_sync():
        if (made.label, made.tick_labels) != (words, named):
            made.label, made.tick_labels = words, named
        if made.tick_values is None or not np.array_equal(made.tick_values, ticks):
            made.tick_values = np.asarray(ticks, np.float64)


def _span_words(scene: Scene, first: float, last: float) -> str:
    if scene.over_column == "id":
        return f"micrographs {first:,.0f} to {last:,.0f}"
    ends = [datetime.fromtimestamp(scene.over_start + s) for s in (first, last)]
    form = "%H:%M" if ends[0].date() == ends[1].date() else "%d %b %H:%M"
    return f"{ends[0].strftime(form)} to {ends[1].strftime(form)}"


def _series_words(
    what: Quantity, y: np.ndarray, limits: list[float | None], low: float, high: float
) -> Markup:
    middle = what.words(np.nanmedian(y) * what.scale)
    ends = [None if limit is None else what.words(limit * what.scale) for limit in limits]
    alarms = [f"alarm {word} {at}" for word, at in zip(("below", "above"), ends, strict=True) if at]
    if None not in ends:
        # Three numbers of one unit, which the axis names.
        middle, least, most = (str(words).removesuffix(what.unit).strip() for words in (middle, *ends))
        alarms = [f"outside {least} to {most}"]
    parts = [markup("median {m}", m=middle)]
    outside = int((y < low).sum() + (y > high).sum())
    if outside:
        parts.append(markup("{n} beyond the axis", n=outside))
    parts += [markup('<span class="nb-alarm">{words}</span>', words=words) for words in alarms]
    return markup("<span title='{plain}'>{words}</span>", plain=_plain(parts), words=joined(parts, " · "))


def _plain(parts: list[Markup]) -> str:
    return " · ".join(re.sub("<[^>]*>", "", part) for part in parts)
