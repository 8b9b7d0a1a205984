"""What every plot of the Plots page is: a card, its points, what a box or lasso in it means."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.filters import Condition
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.pieces import flag, row, text
from nextpyp_nb.views.plot_marks import GROUPS, INKS, Dots, axis, figure, scales
from nextpyp_nb.views.quantities import Quantity
from nextpyp_nb.views.selection import Chip, label

EDGE = 0.015


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all plots of one drawing share; ``over`` is the axis of the series."""

    table: pd.DataFrame
    keep: np.ndarray
    groups: np.ndarray | None
    group_names: tuple[str, ...]
    over: np.ndarray
    over_label: str
    over_column: str
    over_start: float
    over_limits: tuple[float, float]
    ticks: tuple[np.ndarray, list[str]]
    columns: tuple[str, ...]
    limits: dict[str, tuple[float | None, float | None]]
    dark: bool
    aspect: float


class Plot(Box):
    """A card with a title and a figure; `points` (n, 2) are the places of the rows, NaN where none is."""

    kind = "distribution"

    def __init__(self, key: str, marks: list[Any], **more: Any) -> None:
        self.key, self.points = key, np.zeros((0, 2))
        self.title = text("", "nb-grow")
        self.head = row(self.title, classes=("nb-plot-title",))
        self.axes = [axis(self.scales["x"]), axis(self.scales["y"], vertical=True)]
        self.figure = figure(marks, self.axes, **more)
        super().__init__([self.head, self.figure])
        for name in ("nb-column", "nb-card", "nb-plot", f"nb-plot-{key}", f"nb-{self.kind}"):
            self.add_class(name)

    def fractions(self) -> np.ndarray:
        """The points in fractions of the plot's area, y up."""
        x, y = self.scales["x"], self.scales["y"]
        return (self.points - (x.min, y.min)) / (x.max - x.min or 1.0, y.max - y.min or 1.0)

    def nearest(self, asked: dict[str, Any], within: float = 12.0) -> int | None:
        """The row of the point that is at most ``within`` px from the pointer."""
        if not len(self.points):
            return None
        away = (self.fractions() - (asked["x"], asked["y"])) * (asked["width"], asked["height"])
        squares = np.nan_to_num((away**2).sum(axis=1), nan=np.inf)
        best = int(squares.argmin())
        return best if squares[best] <= within**2 else None

    def inside(self, path: list[list[float]]) -> np.ndarray:
        """Which rows lie in a closed path of fractions."""
        x, y = self.fractions().T
        crossed = np.zeros(len(x), bool)
        for (x0, y0), (x1, y1) in zip(path, path[1:] + path[:1], strict=True):
            if y0 != y1:
                crossed ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        return crossed

    def span(self, box: list[float]) -> list[float]:
        """The part of a box that counts."""
        return box

    def chip(self, span: list[float], scene: Scene) -> Chip | None:
        """The condition that a box (x0, x1, y0, y1) of fractions stands for; None where it spans all."""
        raise NotImplementedError

    def _conditions(self, span: list[float], *of: tuple[str, Quantity, float, float]) -> Chip | None:
        """Conditions for axes given as (x or y, quantity, low and high fraction); an edge leaves it open."""
        conditions = []
        for which, what, low, high in of:
            scale = self.scales[which]
            ends = [scale.min + f * (scale.max - scale.min) for f in (low, high)]
            minimum = what.rounded(ends[0]) if low > EDGE else None
            maximum = what.rounded(ends[1]) if high < 1 - EDGE else None
            if minimum is not None or maximum is not None:
                conditions.append(Condition(column=what.column, minimum=minimum, maximum=maximum))
        if not conditions:
            return None
        return Chip(", ".join(label(c) for c in conditions), tuple(conditions), source=self.key)

    def _lacks(self, why: str) -> None:
        self.points = np.zeros((0, 2))
        flag(self, "nb-plot-none", bool(why))


class Cloud(Plot):
    """A plot of dots: those not selected greyed, the others by group."""

    def __init__(self, key: str, **more: Any) -> None:
        self.scales = scales()
        self.rest = Dots(self.scales, INKS[False]["rest"])
        self.groups: list[Dots] = []
        self.over: list[Any] = []
        super().__init__(key, list(self.rest.marks), **more)

    def _dots(self, scene: Scene) -> None:
        shown = self.points.copy()
        x, y = self.scales["x"], self.scales["y"]
        # What lies beyond the axes is drawn on their edge, not left out.
        shown[:, 0], shown[:, 1] = shown[:, 0].clip(x.min, x.max), shown[:, 1].clip(y.min, y.max)
        self.points = shown
        inks, size = INKS[scene.dark], 3.4 if len(shown) < 2000 else 2.6 if len(shown) < 6000 else 2.0
        count = max(1, len(scene.group_names))
        if count > len(self.groups):
            self.groups += [Dots(self.scales, inks["accent"]) for _ in range(count - len(self.groups))]
            dots = [mark for dots in (self.rest, *self.groups) for mark in dots.marks]
            self.figure.marks = dots + self.over
        self.rest.paint(inks["rest"], size)
        self.rest.draw(*_where(shown, ~scene.keep))
        for i, dots in enumerate(self.groups):
            mine = scene.keep & (scene.groups == i) if scene.groups is not None else scene.keep & (i == 0)
            dots.paint(GROUPS[i] if scene.groups is not None else inks["accent"], size)
            dots.draw(*_where(shown, mine))


def _where(points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points[rows, 0], points[rows, 1]
