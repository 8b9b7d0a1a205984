"""Which classes are accepted without being marked: up to a resolution, and from a share of particles on."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from nextpyp_nb.session.filters import parse_filter
from nextpyp_nb.views.class_files import passes, rule_text
from nextpyp_nb.views.late import Box, FloatSlider
from nextpyp_nb.views.pieces import button, group, guarded, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot

COARSEST = 40.0


class ClassRule(Box):
    """Two sliders whose effect is shown at once, and holds when *Set rule* is pressed."""

    def __init__(self, session: Any, live: LiveState, changed: Callable[[], None]) -> None:
        self.session, self.live, self.banner, self.changed = session, live, live.banner, changed
        self.inforce, self._quiet = "", False
        self._asked: str | None = None
        self.resolution = _slider(
            "Coarsest resolution, Å", COARSEST, 4.0, COARSEST, 0.5, "nb-rule-resolution"
        )
        self.share = _slider("Least share, %", 0.0, 0.0, 10.0, 0.1, "nb-rule-share")
        for slider in (self.resolution, self.share):
            slider.observe(lambda _: self._moved(), "value")
        self.words = [text("", "nb-rule-words"), text("", "nb-rule-words")]
        self.set = button("Set rule", lambda: self.save(self.text()), "nb-primary", "nb-set-rule")
        self.none = button("No rule", lambda: self.save(""), "nb-no-rule")
        self.buttons = group(self.set, self.none)
        super().__init__(
            [text("accept if resolution ≤", "nb-muted"), self.resolution, self.words[0],
             text("and share ≥", "nb-muted"), self.share, self.words[1], self.buttons]
        )  # fmt: skip
        for name in ("nb-row", "nb-class-rule"):
            self.add_class(name)
        self._say()

    def draw(self, snapshot: Snapshot) -> None:
        """Follow the rule that is set, unless the sliders were moved away from it."""
        rule = snapshot.settings.class2d.accept
        show(self, snapshot.writer)
        if rule != self.inforce:
            self.inforce = rule
            # A rule that was asked for here is on the sliders already, and they may have been moved since.
            if rule != self._asked:
                self._put(rule)
            self._asked = None
        self._say()

    def text(self) -> str:
        """The rule that the sliders say."""
        finest = self.resolution.value if self.resolution.value < COARSEST else None
        return rule_text(finest, round(self.share.value / 100, 4))

    def preview(self, classes: pd.DataFrame) -> dict[int, bool]:
        """By identity, what the sliders' rule would accept; empty when it is the one that is set."""
        rule = self.text()
        if rule == self.inforce or not rule or not _plain(self.inforce):
            return {}
        return dict(zip(classes["identity"], passes(classes, rule).tolist(), strict=True))

    @guarded
    def save(self, rule: str) -> None:
        """Let the rule hold, now and in the rounds to come."""
        self._put(rule)
        self._asked = rule
        self.live.do(lambda: self.session.set_class_rule(rule), doing="Set the rule")

    def _moved(self) -> None:
        if not self._quiet:
            self._say()
            self.changed()

    def _put(self, rule: str) -> None:
        resolution, share = _plain(rule) or (COARSEST, 0.0)
        self._quiet = True
        self.resolution.value, self.share.value = min(resolution, COARSEST), 100 * share
        self._quiet = False

    def _say(self) -> None:
        coarsest = self.resolution.value >= COARSEST
        say(self.words[0], "any" if coarsest else f"{self.resolution.value:.1f} Å")
        say(self.words[1], f"{self.share.value:.1f} %")
        self.set.disabled = self.text() in ("", self.inforce)
        self.none.disabled = not self.inforce
        self.none.tooltip = f"The rule is {self.inforce}" if self.inforce else None


def _plain(rule: str) -> tuple[float, float] | None:
    """Resolution (Å) and share of a rule that the sliders can say."""
    values = {"resolution": COARSEST, "share": 0.0}
    for condition in parse_filter(rule):
        end = {"resolution": condition.maximum, "share": condition.minimum}.get(condition.column)
        if end is None or condition.negate or rule.count("&") > 1:
            return None
        values[condition.column] = end
    return values["resolution"], values["share"]


def _slider(words: str, value: float, low: float, high: float, step: float, name: str) -> FloatSlider:
    made = FloatSlider(value=value, min=low, max=high, step=step, readout=False, tooltip=words)
    made.add_class(name)
    return made
