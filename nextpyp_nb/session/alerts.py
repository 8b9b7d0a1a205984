"""What is wrong with a session as a whole, not with one movie; raised and taken back at different levels."""

from dataclasses import dataclass

import pandas as pd

from nextpyp_nb.session.quality_limits import QUALITY

LAST = 20
RAISE, TAKE_BACK = 0.5, 0.25
STALLED_FOR = 600.0
STALLED_GAPS = 5.0
FULL, NEARLY_FULL = 0.02, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something a person should look at; ``movie`` is where to begin looking."""

    kind: str
    title: str
    text: str
    movie: str | None = None


def quality_alerts(micrographs: pd.DataFrame, alarms: pd.DataFrame) -> list[Alert]:
    """A figure that alarms in half of the last micrographs, until it does in less than a quarter of them.

    ``alarms`` is True where a figure (column) of a micrograph (row of ``micrographs``, by time) alarms.
    """
    if len(micrographs) < LAST:
        return []
    labels = {figure.name: figure for figure in QUALITY}
    found = []
    for name in alarms.columns:
        share = alarms[name].astype(float).rolling(LAST, min_periods=LAST).mean()
        raised, calm = share[share >= RAISE], share[share < TAKE_BACK]
        if name not in labels or raised.empty or (len(calm) and calm.index[-1] > raised.index[-1]):
            continue
        figure = labels[name]
        limit = (
            f"{figure.worse} {figure.limit:g} {figure.unit}" if figure.limit else "far from what is normal"
        )
        count = int(alarms[name].tail(LAST).sum())
        found.append(
            Alert(
                kind=name, title=figure.label, movie=str(micrographs["name"].iloc[-1]),
                text=f"{count} of the last {LAST} micrographs {limit.strip()}",
            )
        )  # fmt: skip
    return found


def stalled(times: "pd.Series[pd.Timestamp]", now: pd.Timestamp) -> Alert | None:
    """No movie for much longer than they used to come; ``times`` is when the movies were found."""
    known = times.dropna().sort_values()
    if len(known) < 5:
        return None
    usual = float(known.tail(50).diff().dt.total_seconds().median())
    silent = float((now - known.iloc[-1]).total_seconds())
    if silent < max(STALLED_FOR, STALLED_GAPS * usual):
        return None
    return Alert(
        kind="stalled", title="No new movies",
        text=f"the last one came {silent / 60:.0f} min ago, before that one each {usual:.0f} s",
    )  # fmt: skip


def full_disk(use: str, free: int, total: int) -> Alert | None:
    """A file system that is full, or nearly so."""
    share = free / total if total else 1.0
    if share >= NEARLY_FULL:
        return None
    word = "full" if share < FULL else "nearly full"
    return Alert(kind=f"disk {use}", title=f"Disk of {use} {word}", text=f"{free / 1e9:.1f} GB are free")
