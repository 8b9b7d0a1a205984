"""The plots beside a micrograph: its CTF over resolution, and its motion."""

from typing import Any

import numpy as np

from nextpyp_nb.session.quality_limits import ctf_doubt
from nextpyp_nb.views.late import Axis, Box, LinearScale, Lines, Scatter
from nextpyp_nb.views.markup import Markup, joined, known, markup, number
from nextpyp_nb.views.micrograph_files import PLACES
from nextpyp_nb.views.pieces import button, flag, group, row, say, show, text
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
        # All labels from the beginning: bqplot misses those that come while it makes the axis.
        self.axis.tick_labels = {str(1 / r): f"{r:g}" for r in RESOLUTIONS}
        level = Axis(
            scale=self.y,
            orientation="vertical",
            tick_values=[0, 0.5, 1],
            grid_lines="solid",
            tick_format=".1f",
        )
        self.figure = figure([*self.curves.values(), self.limit], [self.axis, level], **FRAME)
        legend = text(
            _legend(
                ("radial average", BLUE), ("fitted CTF", BROWN), ("quality of fit", GREEN),
                ("fit resolution", RED),
            )
        )  # fmt: skip
        super().__init__([self.title, self.figure, legend])
        for name in ("nb-column", "nb-card", "nb-ctf"):
            self.add_class(name)

    def draw(self, entry: dict[str, Any], profile: dict[str, Any] | None) -> None:
        """Draw a micrograph's CTF; without a fit say so."""
        say(self.title, markup("<b>CTF</b><span>{text}</span>", text=ctf_sentence(entry)))
        curves = profile if profile is not None and "frequency" in profile else {}
        for name, mark in self.curves.items():
            with mark.hold_sync():
                mark.x = np.asarray(curves.get("frequency", [0.0]), np.float64)
                mark.y = np.nan_to_num(np.asarray(curves.get(name, [0.0]), np.float64)).clip(-0.05, 1.1)
        with self.limit.hold_sync():
            resolution = entry.get("fit_resolution")
            at = 1 / resolution if known(resolution) and resolution and curves else 0.0
            self.limit.x, self.limit.y = np.array([at, at]), np.array([0.0, 1.05 if at else 0.0])
        if curves:
            self._label(np.asarray(curves["frequency"]))

    def _label(self, frequency: np.ndarray) -> None:
        low, high = float(frequency.min()), float(frequency.max())
        self.x.min, self.x.max = low, high
        ticks = [1 / r for r in RESOLUTIONS if low <= 1 / r <= high]
        apart = [t for i, t in enumerate(ticks) if i == 0 or t - ticks[i - 1] > 0.035 * (high - low)]
        self.axis.tick_values = np.array(apart)


class MotionPlot(Box):
    """The path of the specimen over the frames, Å; or how its parts moved besides, much enlarged."""

    def __init__(self) -> None:
        self.title = text("", "nb-grow")
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
        self.note = text("")
        self.local = False
        self._drawn: tuple[Any, ...] | None = None
        self.which = [button("whole", lambda: self._turn(False)), button("local", lambda: self._turn(True))]
        self.choice = group(*self.which, classes=("nb-motion-choice",))
        head = row(self.title, self.choice, classes=("nb-card-title",))
        super().__init__([head, self.figure, self.note])
        for name in ("nb-column", "nb-card", "nb-motion"):
            self.add_class(name)

    def draw(self, entry: dict[str, Any], path: np.ndarray | None, field: np.ndarray | None = None) -> None:
        """Draw a path (frames, 2) in (y, x) Å, or what `local` chooses: parts (place, frame, 2) besides."""
        self._drawn = entry, path, field
        show(self.choice, field is not None)
        local = self.local and field is not None
        for made, on in zip(self.which, (not local, local), strict=True):
            flag(made, "nb-on", on)
        total, early = entry.get("total_motion"), entry.get("early_motion")
        words = number(total, 1, "Å") if known(total) else "not measured"
        if local:
            assert field is not None
            return self._draw_field(entry, field)
        say(self.title, markup("<b>Motion</b><span>{words}</span>", words=words))
        say(self.note, _legend((f"first frame; early {number(early, 1, 'Å')}", RED)))
        shown = np.zeros((1, 2)) if path is None else path
        middle, half = (shown.min(0) + shown.max(0)) / 2, max(float(np.ptp(shown, axis=0).max()), 1.0) * 0.58
        self._fit(middle, np.array([half, half]), "Å")
        return self._put(shown, shown, shown[:1])

    def _draw_field(self, entry: dict[str, Any], field: np.ndarray) -> None:
        """The paths of all places at their places in the micrograph, nm, enlarged alike."""
        size = np.array([entry["height"], entry["width"]], np.float64) * entry["pixel_size"] / 10
        furthest = float(np.linalg.norm(field, axis=-1).max())
        times = 0.08 * float(size.min()) / max(furthest / 10, 1e-6)
        times = float(f"{times:.1g}")
        tracks = PLACES[:, None] * size + field / 10 * times
        say(
            self.title,
            markup("<b>Motion</b><span>up to {most}</span>", most=number(furthest, 1, "Å")),
        )
        say(self.note, _legend(("first frame", RED), (f"paths × {times:,.0f}", BROWN)))
        self._fit(np.zeros(2), 0.52 * np.array([size.max(), size.max()]), "nm")
        broken = np.concatenate([tracks, np.full((len(tracks), 1, 2), np.nan)], axis=1).reshape(-1, 2)[:-1]
        # The marks of single frames lie far outside: there must be one.
        self._put(broken, np.full((1, 2), -1e9), tracks[:, 0])

    def _fit(self, middle: np.ndarray, half: np.ndarray, unit: str) -> None:
        for scale, axis, name, centre, reach in zip(
            (self.y, self.x), self.axes[::-1], "yx", middle, half, strict=True
        ):
            low, high = float(centre - reach), float(centre + reach)
            with scale.hold_sync():
                scale.min, scale.max = low, high
            with axis.hold_sync():
                axis.tick_values, axis.label = round_ticks(low, high), f"{name}, {unit}"

    def _put(self, path: np.ndarray, frames: np.ndarray, first: np.ndarray) -> None:
        for mark, points in ((self.path, path), (self.frames, frames), (self.first, first)):
            with mark.hold_sync():
                mark.x, mark.y = points[:, 1], points[:, 0]

    def _turn(self, local: bool) -> None:
        self.local = local
        if self._drawn is not None:
            self.draw(*self._drawn)


def _legend(*colours: tuple[str, str]) -> Markup:
    swatches = [markup('<span><i style="background:{c}"></i>{name}</span>', c=c, name=n) for n, c in colours]
    return markup('<span class="nb-legend">{swatches}</span>', swatches=joined(swatches))


def round_ticks(low: float, high: float) -> np.ndarray:
    """Three to nine round numbers inside (low, high)."""
    wanted = (high - low) / 4 * (1 + 1e-9)  # a power of ten may come out a little less
    power = 10.0 ** np.floor(np.log10(wanted))
    step = power * next(s for s in (5, 2, 1) if s * power <= wanted)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def ctf_sentence(entry: dict[str, Any]) -> str:
    """Defoci in µm, angle, astigmatism and fit resolution, as far as known."""
    if entry.get("ctf_failed"):
        return f"no fit: {entry['ctf_failed']}"
    if not known(entry.get("defocus_u")):
        return "not fitted"
    u, v = entry["defocus_u"], entry["defocus_v"]
    parts = [f"{u / 1e4:.2f} / {v / 1e4:.2f} µm", f"{number(entry.get('defocus_angle'))}°"]
    if known(entry.get("defocus_error")):
        parts.append(f"±{number(entry['defocus_error'])} Å")
    parts.append(f"to {number(entry.get('fit_resolution'), 1, 'Å')}")
    doubt = ctf_doubt(entry)
    return " · ".join([doubt, *parts] if doubt else parts)
