"""What a watcher of many sessions wants to know of one, as a record and as a Prometheus text file."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from nextpyp_nb.session.alerts import Alert, paused_tracks, session_alerts
from nextpyp_nb.session.disk import volumes
from nextpyp_nb.session.gain_check import gain_alert
from nextpyp_nb.session.ledger import TRACK_STATES
from nextpyp_nb.session.quality_limits import alarms
from nextpyp_nb.session.status import SessionStatus

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from nextpyp_nb.session.session import Session

# Micrographs that alerts are looked for in, the 200 of a normal range among them: who watches for days must
# not hold them all.
LATEST = 400
# Counts of classify that are of particles, and what they are called outside.
PARTICLES = {"particles": "picked"} | {name: name for name in ("classified", "new", "leaving", "accepted")}
# Name, help, names of labels, and values by their labels.
_Gauge: TypeAlias = tuple[str, str, tuple[str, ...], Mapping[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known at one moment; bytes are None when the session's file system is out of reach.

    ``latency_s`` is the median s of each step of the last micrographs, ``shutter_to_row_s`` of all of them
    together; ``particles`` are picked, ``classes`` of the last round.
    """

    status: SessionStatus
    latency_s: dict[str, float]
    shutter_to_row_s: float | None
    particles: int
    classes: int
    free_bytes: int | None
    total_bytes: int | None
    alerts: tuple[Alert, ...]


def observe(session: "Session") -> Observation:
    """What there is to know of ``session`` now."""
    status, traffic = session.status(), session.traffic()
    disk = next(iter(volumes({"session": session.folder})), None)
    latest = session.latest(LATEST)
    alerts = session_alerts(status, latest, alarms(latest) if len(latest) else latest, session.folder)
    gain = gain_alert(session.folder, session.settings)
    if gain is not None:
        alerts.append(Alert(kind="gain", title="Gain reference", text=gain["text"]))
    return Observation(
        status=status, latency_s=traffic.steps, shutter_to_row_s=traffic.total,
        particles=status.tracks["classify"].counts["particles"], classes=len(session.classes),
        free_bytes=disk.free if disk else None, total_bytes=disk.total if disk else None,
        alerts=(*alerts, *paused_tracks(status)),
    )  # fmt: skip


def write_metrics(session: "Session", seen: Observation) -> None:
    """Put ``seen`` into metrics.prom in the session's folder, whole or not at all; raises OSError."""
    from prometheus_client import write_to_textfile

    write_to_textfile(str(session.folder / "metrics.prom"), _Gauges(seen))


class _Gauges:
    """An observation as prometheus_client wants it."""

    def __init__(self, seen: Observation) -> None:
        self._seen = seen

    def collect(self) -> "Iterable[GaugeMetricFamily]":
        """All gauges; those of which nothing is known have no value."""
        from prometheus_client.core import GaugeMetricFamily

        session = self._seen.status.name
        for name, said, labels, values in (*_of_tracks(self._seen.status), *_of_session(self._seen)):
            gauge = GaugeMetricFamily(f"nextpyp_{name}", said, labels=("session", *labels))
            for label, value in values.items():
                if value is not None:
                    gauge.add_metric((session, *label), float(value))
            yield gauge


def _of_tracks(status: SessionStatus) -> Iterator[_Gauge]:
    tracks = status.tracks.values()
    counts = {(track.name, what): n for track in tracks for what, n in track.counts.items()}
    particles = {key: n for key, n in counts.items() if key[0] == "classify" and key[1] in PARTICLES}
    yield "track_state", "1 for the state that a track is in.", ("track", "state"), {
        (track.name, state): track.state == state for track in tracks for state in TRACK_STATES
    }  # fmt: skip
    yield "track_items", "Movies, micrographs or rounds of a track, by what became of them.", (
        "track", "state",
    ), {key: n for key, n in counts.items() if key not in particles}  # fmt: skip
    yield "track_rate_per_hour", "Items an hour over the last ten minutes.", ("track",), {
        (track.name,): track.rate_per_hour for track in tracks
    }  # fmt: skip
    yield "track_backlog", "Items that wait or are in work; of classify, new particles.", ("track",), {
        (track.name,): track.backlog for track in tracks
    }  # fmt: skip
    yield "particles", "Particles picked, and of them classified, new, leaving, accepted.", ("state",), {
        (PARTICLES[what],): n for (_, what), n in particles.items()
    }  # fmt: skip


def _of_session(seen: Observation) -> Iterator[_Gauge]:
    beat = seen.status.heartbeat.timestamp() if seen.status.heartbeat else None
    steps: dict[tuple[str, ...], float | None] = {
        (step,): seconds for step, seconds in seen.latency_s.items()
    }
    yield "step_seconds", "Median time of a step of the last micrographs.", ("step",), steps
    yield "alert", "1 for each alert that stands.", ("code",), {(alert.kind,): 1 for alert in seen.alerts}
    for name, said, value in (
        ("runner_up", "1 while the runner works.", seen.status.runner == "running"),
        ("runner_heartbeat_timestamp_seconds", "The runner's last heartbeat.", beat),
        ("shutter_to_row_seconds", "Median time from shutter to result.", seen.shutter_to_row_s),
        ("classes", "2D classes of the last round.", seen.classes),
        ("disk_free_bytes", "Free bytes of the session's file system.", seen.free_bytes),
        ("disk_size_bytes", "Bytes of the session's file system.", seen.total_bytes),
    ):
        yield name, said, (), {(): value}
