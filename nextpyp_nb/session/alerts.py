"""What is wrong with a session as a whole, not with one movie; raised and taken back at different levels."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import pandas as pd

from nextpyp_nb.session.disk import volumes
from nextpyp_nb.session.quality_limits import QUALITY
from nextpyp_nb.session.status import SessionStatus

LAST = 20
RAISE, TAKE_BACK = 0.5, 0.25
STALLED_FOR = 600.0
STALLED_GAPS = 5.0
FULL, NEARLY_FULL, ROOM_AGAIN = 0.02, 0.05, 0.07
_NEVER = pd.Series(dtype="datetime64[ns, UTC]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something a person should look at; ``kind`` is its code, ``movie`` is where to begin looking."""

    kind: str
    title: str
    text: str
    movie: str | None = None


def session_alerts(
    status: SessionStatus,
    micrographs: pd.DataFrame,
    alarms: pd.DataFrame,
    folder: Path,
) -> list[Alert]:
    """What is wrong with a session just now."""
    found = quality_alerts(micrographs, alarms)
    given: list[Alert | None] = []
    if status.sums:
        given.append(Alert(kind="sums", title="Movies and files do not add up", text=status.sums))
    if status.runner == "running" and status.tracks["transfer"].state == "running":
        given.append(stalled(micrographs.get("found", _NEVER), pd.Timestamp.now(UTC)))
    given += [
        full_disk(volume.uses[0], volume.free, volume.total, raised="disk" in status.raised)
        for volume in volumes({"the session": folder})
    ]
    return found + [alert for alert in given if alert is not None]


def paused_tracks(status: SessionStatus) -> list[Alert]:
    """Tracks that wait for a person, or for what they lack."""
    return [
        Alert(kind=f"paused_{track.name}", title=f"Track {track.name} paused", text=track.message)
        for track in status.tracks.values()
        if track.state == "paused"
    ]


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


def full_disk(use: str, free: int, total: int, *, raised: bool = False) -> Alert | None:
    """A file system that is full, or nearly so; once ``raised``, until there is clearly room again."""
    share = free / total if total else 1.0
    if share >= (ROOM_AGAIN if raised else NEARLY_FULL):
        return None
    word = "full" if share < FULL else "nearly full"
    return Alert(kind="disk", title=f"Disk of {use} {word}", text=f"{free / 1e9:.1f} GB are free")
