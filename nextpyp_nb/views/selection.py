"""What is selected, for Plots, Table and Gallery alike: conditions and lassoed micrographs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.filters import Condition, filter_text, parse_filter
from nextpyp_nb.views.quantities import quantity, seconds

TIME = "taken"


@dataclass(frozen=True, slots=True)
class Chip:
    """One part of the selection: conditions that must all hold, or micrographs by name.

    ``source`` is the plot it was drawn in: drawing there again replaces it.
    """

    label: str
    conditions: tuple[Condition, ...] = ()
    names: frozenset[str] | None = None
    source: str = ""

    def holds(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows of the table are in it."""
        if self.names is not None:
            return table["name"].isin(self.names).to_numpy(bool)
        keep = np.ones(len(table), bool)
        for condition in self.conditions:
            if condition.column == TIME:
                keep &= condition.holds(pd.DataFrame({TIME: seconds(table)}))
            else:
                keep &= condition.column in table and condition.holds(table)
        return keep


class Selection:
    """The chips of a session's pages, and who wants to hear when they change."""

    def __init__(self) -> None:
        self.chips: tuple[Chip, ...] = ()
        self._listeners: list[Callable[[], Any]] = []

    def listen(self, changed: Callable[[], Any]) -> None:
        """Call ``changed`` after every change."""
        self._listeners.append(changed)

    def add(self, chip: Chip) -> None:
        """Narrow the selection; a chip from the same plot is replaced."""
        kept = [c for c in self.chips if not chip.source or c.source != chip.source]
        self._set((*kept, chip))

    def remove(self, chip: Chip) -> None:
        """Take a part away."""
        self._set(tuple(c for c in self.chips if c is not chip))

    def clear(self) -> None:
        """Select everything."""
        self._set(())

    def load(self, expression: str) -> None:
        """Select by a filter's text, and nothing else."""
        self._set(tuple(Chip(label(c), (c,)) for c in parse_filter(expression)))

    def holds(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows are selected."""
        keep = np.ones(len(table), bool)
        for chip in self.chips:
            keep &= chip.holds(table)
        return keep

    def expression(self) -> str:
        """The selection as a filter's text; a lasso or a span of time cannot be one."""
        conditions = [c for chip in self.chips for c in chip.conditions]
        if any(chip.names is not None for chip in self.chips) or any(c.column == TIME for c in conditions):
            raise ValueError("a lasso or a span of time cannot be kept as a filter: take it away first")
        return filter_text(conditions)

    def _set(self, chips: tuple[Chip, ...]) -> None:
        self.chips = chips
        for changed in tuple(self._listeners):
            changed()


def label(condition: Condition) -> str:
    """A condition in words: CTF fit resolution ≤ 4.0 Å."""
    known_as = quantity(condition.column)
    low, high = condition.minimum, condition.maximum
    if low is not None and high is not None:
        span = (
            f"= {known_as.words(low)}"
            if low == high
            else f"{known_as.words(low).removesuffix(known_as.unit).strip()} to {known_as.words(high)}"
        )
    elif high is not None:
        span = f"≤ {known_as.words(high)}"
    else:
        span = f"≥ {known_as.words(low)}" if low is not None else "any"
    return f"{'not ' * condition.negate}{known_as.label} {span}"
