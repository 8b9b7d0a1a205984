"""Text for the page: everything that is not markup of ours is escaped, so a file name is only ever text."""

import html
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd


class Markup(str):
    """HTML made by `markup`, which is not escaped again."""

    __slots__ = ()


def escape(value: Any) -> Markup:
    """Any value as plain text for HTML."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def markup(template: str, **values: Any) -> Markup:
    """Fill ``template`` with escaped values."""
    return Markup(template.format(**{name: escape(value) for name, value in values.items()}))


def joined(parts: list[Markup], between: str = "") -> Markup:
    """Pieces of markup in a row."""
    return Markup(between.join(parts))


def known(value: Any) -> bool:
    """False for None, NaN, NaT and infinity."""
    return value is not None and not pd.isna(value) and value not in (np.inf, -np.inf)


def number(value: Any, digits: int = 0, unit: str = "") -> str:
    """A number with thousands marked and its unit; a dash when it is not known."""
    if not known(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−") + (f" {unit}" if unit else "")


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} GB" if unit == "GB" else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """A length of time as people say it: 12 s, 6 min, 6 h 12 min, 2 d 3 h."""
    minutes, s = divmod(int(max(0, seconds)), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h} h"
    if hours:
        return f"{h} h {m} min"
    return f"{m} min" if m else f"{s} s"


def since(moment: Any) -> float:
    """Seconds from ``moment`` (a datetime, or seconds of the epoch) until now."""
    return max(0.0, (datetime.now(UTC) - _moment(moment)).total_seconds())


def clock(moment: Any) -> str:
    """Local time of day, with the date when it is another day."""
    if not known(moment) or moment == "":
        return "–"
    local = _moment(moment).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%d %b %H:%M")


def _moment(moment: Any) -> datetime:
    if isinstance(moment, pd.Timestamp):
        moment = moment.to_pydatetime(warn=False)
    elif isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    elif isinstance(moment, (int, float, np.number)):
        moment = datetime.fromtimestamp(float(moment), UTC)
    return moment if moment.tzinfo else moment.astimezone()
