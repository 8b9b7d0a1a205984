"""The plots beside a micrograph: its CTF over resolution, and its motion."""

from typing import Any

import numpy as np
from bqplot import Axis, LinearScale, Lines, Scatter
from ipywidgets import Box

from nextpyp_nb.views.markup import known, markup, number
from nextpyp_nb.views.pieces import say, text
from nextpyp_nb.views.plot_marks import figure

# Legible on white and on black; bqplot takes no CSS variables.
BLUE, BROWN, GREEN, RED, GREY = "#3b8fd6", "#c98a2b", "#3d9e6c", "#d9534a", "#8a94a0"
FRAME = {
    "fig_margin": {"top": 8, "bottom": 40, "left": 36, "right": 12},
    "padding_x": 0.0,
    "padding_y": 0.025,
}
RESOLUTIONS = (50, 20, 10, 7, 5, 4, 3.5, 3, 2.5, 2, 1.5, 1)


class CtfPlot(Box):
    """Radial average, fitted CTF and quality of fit over 1/Å, labelled in Å."""

    def __init__(self) -> None:
        self.title = text("", "nb-card-title")
        self.x, self.y = LinearScale(), LinearScale(min=-0.05, max=1.1)
        scales = {"x": self.x, "y": self.y}
        self.curves = {
            name: Lines(x=[0.0], y=[0.0], scales=scales, colors=[colour], stroke_width=1.4)
            for name, colour in (("radial_average", BLUE), ("fit", BROWN), ("quality", GREEN))
        }
        self.limit = Lines(
            x=[0.0], y=[0.0], scales=scales, colors=[RED], line_style="dashed", stroke_width=1.4
        )
        self.axis = Axis(scale=self.x, label="resolution, Å", grid_lines="none", label_offset="30px")
        level = Axis(
            scale=self.y,
            orientation="vertical",
            tick_values=[0, 0.5, 1],
            grid_lines="solid",
            tick_format=".1f",
        )
        self.figure = figure([*self.curves.values(), self.limit], [self.axis, level], **FRAME)
        legend = text(
            markup(
                '<span class="nb-legend">'
                + "".join(
                    f'<span><i style="background:{colour}"></i>{name}</span>'
                    for name, colour in (
                        ("radial average", BLUE),
                        ("fitted CTF", BROWN),
                        ("quality of fit", GREEN),
                        ("fit resolution", RED),
                    )
                )
                + "</span>"
            )
        )
        super().__init__([self.title, self.figure, legend])
        for name in ("nb-column", "nb-card", "nb-ctf"):
            self.add_class(name)

    def draw(self, row: dict[str, Any], profile: dict[str, Any] | None) -> None:
        """Draw a micrograph's CTF; without a fit say so."""
        say(self.title, markup("<b>CTF</b><span>{text}</span>", text=ctf_sentence(row)))
        curves = profile if profile is not None and "frequency" in profile else {}
        for name, mark in self.curves.items():
            with mark.hold_sync():
                mark.x = np.asarray(curves.get("frequency", [0.0]), np.float64)
                mark.y = np.nan_to_num(np.asarray(curves.get(name, [0.0]), np.float64)).clip(-0.05, 1.1)
        with self.limit.hold_sync():
            resolution = row.get("fit_resolution")
            at = 1 / resolution if known(resolution) and resolution and curves else 0.0
            self.limit.x, self.limit.y = np.array([at, at]), np.array([0.0, 1.05 if at else 0.0])
        if curves:
            self._label(np.asarray(curves["frequency"]))

    def _label(self, frequency: np.ndarray) -> None:
        low, high = float(frequency.min()), float(frequency.max())
        self.x.min, self.x.max = low, high
        ticks = [1 / r for r in RESOLUTIONS if low <= 1 / r <= high]
        apart = [t for i, t in enumerate(ticks) if i == 0 or t - ticks[i - 1] > 0.035 * (high - low)]
        with self.axis.hold_sync():
            self.axis.tick_values = np.array(apart)
            self.axis.tick_labels = {str(t): f"{1 / t:g}" for t in apart}


class MotionPlot(Box):
    """The path of the specimen over the frames, Å; equal scales, the first frame marked."""

    def __init__(self) -> None:
        self.title = text("", "nb-card-title")
        self.x, self.y = LinearScale(min=-1, max=1), LinearScale(min=-1, max=1)
        scales = {"x": self.x, "y": self.y}
        self.path = Lines(x=[0.0], y=[0.0], scales=scales, colors=[BROWN], stroke_width=1.4)
        self.frames = Scatter(x=[0.0], y=[0.0], scales=scales, colors=[BLUE], default_size=14, stroke_width=0)
        self.first = Scatter(x=[0.0], y=[0.0], scales=scales, colors=[RED], default_size=40, stroke_width=0)
        self.axes = [
            Axis(scale=self.x, label="x, Å", tick_format="~g", grid_lines="solid", label_offset="28px"),
            Axis(
                scale=self.y,
                label="y, Å",
                tick_format="~g",
                orientation="vertical",
                grid_lines="solid",
                label_offset="34px",
            ),
        ]
        self.figure = figure([self.path, self.frames, self.first], self.axes, height="220px", **FRAME)
        self.figure.fig_margin = {"top": 8, "bottom": 40, "left": 46, "right": 10}
        note = text(
            markup(
                '<span class="nb-legend"><span><i style="background:{c}"></i>first frame</span></span>', c=RED
            )
        )
        super().__init__([self.title, self.figure, note])
        for name in ("nb-column", "nb-card", "nb-motion"):
            self.add_class(name)

    def draw(self, row: dict[str, Any], shifts: np.ndarray | None) -> None:
        """Draw shifts (frames, 2) in (y, x) Å."""
        total, early = row.get("total_motion"), row.get("early_motion")
        words = (
            f"{number(total, 1, 'Å')} in all, {number(early, 1, 'Å')} early"
            if known(total)
            else "not measured"
        )
        say(self.title, markup("<b>Motion</b><span>{words}</span>", words=words))
        path = np.zeros((1, 2)) if shifts is None or not len(shifts) else np.asarray(shifts, np.float64)
        middle, half = (path.min(0) + path.max(0)) / 2, max(float(np.ptp(path, axis=0).max()), 1.0) * 0.58
        for scale, centre in ((self.y, middle[0]), (self.x, middle[1])):
            with scale.hold_sync():
                scale.min, scale.max = float(centre - half), float(centre + half)
        for axis, centre in zip(self.axes, middle[::-1], strict=True):
            axis.tick_values = round_ticks(float(centre - half), float(centre + half))
        for mark, points in ((self.path, path), (self.frames, path), (self.first, path[:1])):
            with mark.hold_sync():
                mark.x, mark.y = points[:, 1], points[:, 0]


def round_ticks(low: float, high: float) -> np.ndarray:
    """Three to six round numbers inside (low, high)."""
    wanted = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    step = power * next(s for s in (5, 2, 1) if s * power <= wanted)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def ctf_sentence(row: dict[str, Any]) -> str:
    """Defoci in µm, angle, astigmatism and fit resolution, as far as known."""
    if row.get("ctf_failed"):
        return f"no fit: {row['ctf_failed']}"
    if not known(row.get("defocus_u")):
        return "not fitted"
    u, v = row["defocus_u"], row["defocus_v"]
    parts = [f"{u / 1e4:.2f} / {v / 1e4:.2f} µm", f"{number(row.get('defocus_angle'))}°"]
    if known(row.get("defocus_error")):
        parts.append(f"±{number(row['defocus_error'])} Å")
    parts.append(f"fit {number(row.get('fit_resolution'), 1, 'Å')}")
    return " · ".join(parts)
