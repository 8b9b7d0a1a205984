"""Filters of micrographs: conditions on columns, all of which must hold."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_CONDITION = re.compile(r"\s*(!?)\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|==|<|>|=)\s*([^\s&<>=!]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``column`` from ``minimum`` to ``maximum``, both included; None is open, ``negate`` inverts."""

    column: str
    minimum: float | None = None
    maximum: float | None = None
    negate: bool = False

    def holds(self, table: pd.DataFrame) -> Any:
        """Which rows fulfil it; unknown values never do."""
        values = pd.to_numeric(table[self.column], errors="coerce").to_numpy(np.float64)
        inside = np.ones(len(values), bool)
        if self.minimum is not None:
            inside &= values >= self.minimum
        if self.maximum is not None:
            inside &= values <= self.maximum
        return (inside ^ self.negate) & ~np.isnan(values)

    def __str__(self) -> str:
        parts = []
        if self.minimum is not None and self.minimum == self.maximum:
            parts = [f"{self.column}=={_text(self.minimum)}"]
        elif self.minimum is not None and self.maximum is not None and self.negate:
            parts = [f"{self.column}={_text(self.minimum)}..{_text(self.maximum)}"]
        else:
            if self.minimum is not None:
                parts.append(f"{self.column}>={_text(self.minimum)}")
            if self.maximum is not None:
                parts.append(f"{self.column}<={_text(self.maximum)}")
        return " & ".join(("!" if self.negate else "") + part for part in parts)


def parse_filter(text: str) -> list[Condition]:
    """Conditions of "fit_resolution<=6 & particles=20..300"; ``!`` before one turns it round."""
    if not text.strip():
        return []
    return [_condition(part) for part in text.split("&")]


def filter_text(conditions: Sequence[Condition]) -> str:
    """The text that `parse_filter` reads back."""
    return " & ".join(text for c in conditions if (text := str(c)))


def apply_filter(table: pd.DataFrame, conditions: Sequence[Condition] | str) -> pd.DataFrame:
    """The rows that fulfil every condition and are not excluded."""
    if isinstance(conditions, str):
        conditions = parse_filter(conditions)
    keep = np.ones(len(table), bool)
    if "excluded" in table:
        keep &= ~table["excluded"].to_numpy(bool)
    for condition in conditions:
        if condition.column not in table:
            known = ", ".join(sorted(table.select_dtypes("number").columns))
            raise ValueError(f"no column {condition.column!r} to filter by; there are {known}")
        keep &= condition.holds(table)
    return table[keep]


def _condition(part: str) -> Condition:
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise ValueError(f"got {part.strip()!r}, expected a condition such as fit_resolution<=6")
    negate, column, sign, text = match.groups()
    if sign == "=" and ".." in text:
        low, high = (_value(piece, part) for piece in text.split("..", 1))
        return Condition(column=column, minimum=low, maximum=high, negate=bool(negate))
    value = _value(text, part)
    # Strictly less or more is up to the next number of the machine.
    below, above = math.nextafter(value, -math.inf), math.nextafter(value, math.inf)
    minimum = {">=": value, "==": value, "=": value, ">": above}.get(sign)
    maximum = {"<=": value, "==": value, "=": value, "<": below}.get(sign)
    return Condition(column=column, minimum=minimum, maximum=maximum, negate=bool(negate))


def _text(value: float) -> str:
    """The shortest text that reads back as ``value``."""
    return f"{value:.17g}" if float(f"{value:.15g}") != value else f"{value:.15g}"


def _value(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"got {text!r} in {part.strip()!r}, expected a number") from None
    if math.isnan(value):
        raise ValueError(f"got {part.strip()!r}, expected a number to compare with")
    return value
