"""Which classes are accepted: marked so by hand, or by a rule over their figures."""

from typing import Any

from nextpyp_nb.session.filters import Condition, parse_filter
from nextpyp_nb.session.reader import Reader

COLUMNS = ("count", "share", "resolution", "score")


def class_rule(text: str) -> list[Condition]:
    """Conditions of "resolution<=12 & share>=0.02"; ValueError if they are none on classes."""
    conditions = parse_filter(text)
    for condition in conditions:
        if condition.column not in COLUMNS:
            raise ValueError(f"no column {condition.column!r} of classes; there are {', '.join(COLUMNS)}")
    return conditions


def judged_classes(reader: Reader) -> tuple[str, list[float]]:
    """SQL of all classes of all rounds, with ``mark`` and ``accepted`` (1, 0, NULL: undecided), and values.

    The rule is that of the newest settings; marks by hand stand above it, unknown figures never pass.
    """
    saved = "SELECT json_extract(settings, '$.class2d.accept') FROM revision ORDER BY number DESC LIMIT 1"
    held, values = _held(class_rule(reader.value(saved) or ""))
    return (
        f"SELECT c.*, k.accepted AS mark, COALESCE(k.accepted, {held}) AS accepted"
        " FROM class c LEFT JOIN class_mark k ON k.identity = c.identity",
        values,
    )


def _held(conditions: list[Condition]) -> tuple[str, list[float]]:
    """SQL: 1 where all conditions hold, else 0; NULL without any."""
    parts: list[str] = []
    values: list[Any] = []
    for condition in conditions:
        inside = []
        for limit, sign in ((condition.minimum, ">="), (condition.maximum, "<=")):
            if limit is not None:
                inside.append(f"c.{condition.column} {sign} ?")
                values.append(limit)
        parts.append(f"{'NOT ' * condition.negate}({' AND '.join(inside)})")
    return (f"CASE WHEN {' AND '.join(parts)} THEN 1 ELSE 0 END" if parts else "NULL"), values
