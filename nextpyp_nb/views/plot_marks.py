"""Dots, curves and figures of bqplot that stay smooth with ten thousand points."""

from typing import Any

import numpy as np

from nextpyp_nb.views.late import Axis, Figure, LinearScale, Lines

# bqplot takes no CSS variables; accent, rest, curve and alarm of the light and the dark theme.
INKS = {
    False: {"accent": "#1f6fb2", "rest": "#c9d1da", "curve": "#1f2328", "alarm": "#c0392b"},
    True: {"accent": "#5aa9e6", "rest": "#3a4450", "curve": "#e4e8ee", "alarm": "#ee6a5b"},
}
GROUPS = ("#3b8fd6", "#c98a2b", "#3d9e6c", "#b86bc9", "#d9534a", "#3aa6a6", "#9a7b5c", "#8a94a0")
FRESH = 400
FRAME = {"fig_margin": {"top": 6, "bottom": 38, "left": 46, "right": 10}, "padding_x": 0, "padding_y": 0}
# A curve must have a point; this one is far outside of what is clipped.
NOWHERE = np.zeros(1, np.float32), np.full(1, -1e9, np.float32)


class Dots:
    """Points drawn as one path: a curve broken after each point, which a round cap makes a dot.

    New points at the end are sent alone, until there are `FRESH` of them.
    """

    def __init__(self, scales: dict[str, Any], colour: str, *, size: float = 3.2) -> None:
        self.marks = [curve(scales, colour, width=size) for _ in range(2)]
        self.drawn = [_broken(np.zeros(0), np.zeros(0))] * 2

    def draw(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draw the points that have both numbers."""
        known = np.isfinite(x) & np.isfinite(y)
        points = _broken(x[known], y[known])
        old = self.drawn[0]
        length = old.shape[1]
        grown = points.shape[1] - length
        same = 0 <= grown <= 2 * FRESH and np.array_equal(points[:, :length], old, equal_nan=True)
        parts = [old, points[:, length + (length > 0) :]] if same else [points, points[:, :0]]
        for mark, part, before in zip(self.marks, parts, self.drawn, strict=True):
            if part is not before and not np.array_equal(part, before, equal_nan=True):
                put(mark, *part)
        self.drawn = parts

    def paint(self, colour: str, size: float) -> None:
        """Change colour and size."""
        for mark in self.marks:
            if (mark.colors, mark.stroke_width) != ([colour], size):
                with mark.hold_sync():
                    mark.colors, mark.stroke_width = [colour], size


def put(mark: Any, x: Any, y: Any) -> None:
    """Change a curve in place, in one message; without points one that is not drawn."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    if not len(x):
        x, y = NOWHERE
    with mark.hold_sync():
        mark.x, mark.y = x, y


def curve(scales: dict[str, Any], colour: str, *, width: float = 1.5, **more: Any) -> Lines:
    """A curve without points as yet."""
    x, y = NOWHERE
    return Lines(x=x, y=y, scales=scales, colors=[colour], stroke_width=width, **more)


def scales() -> dict[str, LinearScale]:
    """Two scales with limits of their own, which the marks do not move."""
    return {"x": LinearScale(min=0, max=1), "y": LinearScale(min=0, max=1)}


def figure(marks: list[Any], axes: list[Axis], *, height: str = "200px", **more: Any) -> Figure:
    """A figure without animation, toolbar or background."""
    return Figure(
        marks=marks,
        axes=axes,
        height=height,
        animation_duration=0,
        background_style={"fill": "none"},
        min_aspect_ratio=0.01,
        max_aspect_ratio=100,
        display_toolbar=False,
        **FRAME | more,
    )


def axis(scale: LinearScale, label: str = "", *, vertical: bool = False) -> Axis:
    """An axis whose ticks are given."""
    return Axis(
        scale=scale,
        label=label,
        orientation="vertical" if vertical else "horizontal",
        grid_lines="solid" if vertical else "none",
        label_offset="36px" if vertical else "28px",
        tick_format="~g",
    )


def fit(scale: LinearScale, low: float, high: float) -> None:
    """Move a scale's limits, when they differ."""
    if (scale.min, scale.max) != (low, high):
        with scale.hold_sync():
            scale.min, scale.max = float(low), float(high)


def spread(numbers: np.ndarray, *also: float | None) -> tuple[float, float]:
    """Limits that show nearly all: a few far off do not squeeze the rest, and lie on the edge instead."""
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return 0.0, 1.0
    low, middle, high = np.percentile(numbers, (1, 50, 99))
    wide = max(high - low, abs(middle) * 1e-3, 1e-9)
    low, high = max(numbers.min(), low - 0.6 * wide), min(numbers.max(), high + 0.6 * wide)
    near = [a for a in also if a is not None and low - wide < a < high + wide]
    low, high = min(low, *near, low), max(high, *near, high)
    # On round limits a new point moves the axis seldom.
    step = 10.0 ** np.floor(np.log10(max(high - low, 1e-9))) / 10
    return float(np.floor(low / step - 0.5) * step), float(np.ceil(high / step + 0.5) * step)


def _broken(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.full((2, 2 * len(x)), np.nan, np.float32)
    out[0, ::2], out[0, 1::2], out[1, ::2] = x, x, y
    # bqplot puts a label, even an empty one, at the last point: it must be one.
    return out[:, :-1]
