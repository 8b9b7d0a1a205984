"""How the classes became what they are: a slider over the rounds."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from nextpyp_nb.views.late import Box, Image, IntSlider
from nextpyp_nb.views.markup import clock, known, markup, number
from nextpyp_nb.views.pieces import column, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState, Snapshot


class ClassHistory(Box):
    """Figures of each round; an earlier one shows its picture, at the end are the tiles."""

    def __init__(self, session: Any, live: LiveState, show_round: Callable[..., Any]) -> None:
        self.session, self.live, self.banner, self.show_round = session, live, live.banner, show_round
        self.rounds, self._quiet, self._seen = pd.DataFrame(), False, -1
        self.slider = IntSlider(value=1, min=1, max=1, readout=False, tooltip="Round")
        self.slider.add_class("nb-history-slider")
        self.slider.observe(lambda _: self._moved(), "value")
        self.words = text("", "nb-round", "nb-grow")
        self.picture = Image(format="jpeg")
        self.picture.add_class("nb-round-picture")
        self.card = column(self.picture, classes=("nb-card", "nb-hidden"))
        line = row(text("History", "nb-muted"), self.slider, self.words)
        super().__init__([self.card, line])
        for name in ("nb-column", "nb-grow", "nb-history", "nb-hidden"):
            self.add_class(name)

    @property
    def at_end(self) -> bool:
        """Whether the last round is looked at."""
        return bool(self.slider.value >= self.slider.max)

    def draw(self, snapshot: Snapshot) -> None:
        """Follow the rounds; at the end the slider stays at the end."""
        done = int((snapshot.rounds["state"] == "done").sum()) if len(snapshot.rounds) else 0
        show(self, done > 0)
        if done and done != self._seen:
            self._seen = done
            self.live.fetch(self.session.class_history, self._take)

    def _take(self, rounds: pd.DataFrame) -> None:
        at_end, self.rounds, self._quiet = self.at_end, rounds, True
        if len(rounds):
            self.slider.max = len(rounds)
            if at_end:
                self.slider.value = len(rounds)
        self._quiet = False
        self.slider.disabled = len(rounds) < 2
        self._moved()

    @guarded
    def _moved(self) -> None:
        if self._quiet or not len(self.rounds):
            return None
        entry = self.rounds.iloc[min(self.slider.value, len(self.rounds)) - 1].to_dict()
        say(self.words, _words(entry))
        show(self.card, not self.at_end)
        if self.at_end:
            return None
        path = entry.get("picture")
        if not known(path):
            self.picture.value = b""
            return say(self.words, markup("{words} · no picture is kept", words=_words(entry)))
        return self.live.fetch(path.read_bytes, lambda picture: setattr(self.picture, "value", picture))


def _words(entry: dict[str, Any]) -> str:
    parts = [f"{number(entry['particles'])} particles", clock(entry["finished"])]
    if known(entry.get("churn")):
        parts.append(f"{100 * entry['churn']:.1f} % changed class")
    if known(entry.get("resolution")):
        parts.append(f"best {number(entry['resolution'], 1, 'Å')}")
    return markup(
        '<b class="nb-strong">round {round}</b> <span class="nb-muted">{parts}</span>',
        round=int(entry["round"]),
        parts=" · ".join(parts),
    )
