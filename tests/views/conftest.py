"""A session as the panels see it, without a runner: tables in memory, commands written down."""

import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

with warnings.catch_warnings():
    # bqscales declares its traits in a way that traitlets calls old.
    warnings.simplefilter("ignore", DeprecationWarning)
    import bqplot  # noqa: F401

from nextpyp_nb.session.quality_limits import alarms
from nextpyp_nb.session.traffic import BINS, Traffic
from nextpyp_nb.settings import Settings
from nextpyp_nb.views.micrographs import MicrographsPage
from nextpyp_nb.views.pieces import Banner
from nextpyp_nb.views.state import LiveState, read_snapshot

MICROGRAPH_COLUMNS = (
    "name",
    "revision",
    "height",
    "width",
    "pixel_size",
    "defocus_u",
    "defocus_v",
    "defocus_angle",
    "fit_resolution",
    "ctf_score",
    "ctf_failed",
    "total_motion",
    "early_motion",
    "particles",
    "finished",
    "excluded",
)


@dataclass(frozen=True)
class Track:
    name: str
    state: str = "stopped"
    since: datetime | None = None
    message: str = "Not started yet."
    counts: dict = field(default_factory=lambda: dict.fromkeys(("done", "running", "waiting", "failed"), 0))
    rate_per_hour: float = 0.0
    backlog: int = 0
    eta_s: float | None = None


def micrograph_row(name, number=0, **values):
    row = {
        "name": name,
        "revision": 1,
        "height": 400,
        "width": 600,
        "pixel_size": 1.5,
        "defocus_u": 12000.0,
        "defocus_v": 11500.0,
        "defocus_angle": 30.0,
        "fit_resolution": 4.2,
        "ctf_score": 0.1,
        "ctf_failed": None,
        "total_motion": 9.0,
        "early_motion": 3.0,
        "particles": 50,
        "finished": datetime(2026, 1, 2, 3, 4, number, tzinfo=UTC),
        "excluded": False,
    }
    return row | values


class FakeSession:
    name, group, owner = "apof", "beamline-a", "ada"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.settings = Settings.from_flat(
            {"raw_data.location": "/data/*.tiff", "microscope.pixel_size": 1.5, "microscope.voltage": 300}
        )
        self.revision = 1
        self.size_estimate = None
        self.changed = 0
        self.commands = []
        self.answer = SimpleNamespace(ok=True, message="")
        self.tracks = {name: Track(name) for name in ("transfer", "preprocess", "classify")}
        self.runner, self.error = "stopped", None
        self.micrographs = pd.DataFrame(columns=list(MICROGRAPH_COLUMNS))
        self.classes = pd.DataFrame()
        self.rounds = pd.DataFrame(columns=["number", "state", "particles", "finished", "revision"])
        self.history = pd.DataFrame()
        self.tried = {}
        self.exports = pd.DataFrame(
            columns=["id", "name", "state", "path", "filter", "message", "created", "finished"]
        )
        self.failures = pd.DataFrame(columns=["movie", "stage", "reason", "attempts"])
        self.happened = []
        self.filters = {}

    def touch(self):
        self.changed += 1

    def track(self, name, **values):
        self.tracks[name] = replace(self.tracks[name], **values)
        self.touch()

    def put(self, *rows):
        self.micrographs = pd.DataFrame(list(rows))
        self.touch()

    def version(self):
        return self.changed

    def status(self):
        return SimpleNamespace(
            name=self.name,
            runner=self.runner,
            raised={},
            sums="",
            since=None,
            host="here",
            pid=1,
            revision=self.revision,
            error=self.error,
            tracks=dict(self.tracks),
        )

    def failed(self):
        return self.failures

    def try_out(self, name, changes):
        self._command("try_out", name, changes)
        return SimpleNamespace(uuid="n1", wait=lambda timeout=5: self.answer)

    def tryout(self, number):
        return self.tried[number]

    def tryouts(self, name):
        return [t for t in self.tried.values() if t.micrograph == name]

    @property
    def alarms(self):
        return alarms(self.micrographs)

    def class_history(self):
        return self.history

    def role(self):
        return "owner"

    def events(self, **_):
        return self.happened

    def settings_of(self, revision):
        return self.settings

    def file(self, kind, name):
        return self.folder / f"{kind}-{name}"

    def traffic(self):
        return Traffic(
            steps={}, total=None, since=0.0, bin_seconds=60.0, movies=(0,) * BINS, bytes=(0,) * BINS,
            copied=False, under_way=(),
        )  # fmt: skip

    def revisions(self):
        return []

    def save_settings(self, settings):
        self.settings, self.revision = settings, self.revision + 1
        self.touch()
        return self._command("save_settings", settings)

    def __getattr__(self, name):
        if name in (
            "start",
            "stop",
            "restart",
            "clear",
            "cancel",
            "retry",
            "ignore",
            "exclude",
            "update_classes",
            "export",
            "report",
            "cancel_export",
            "accept_classes",
            "reject_classes",
            "unmark_classes",
            "set_class_rule",
            "use_classes_as_templates",
            "add_pick",
            "remove_pick",
            "save_filter",
        ):
            return lambda *args, **kwargs: self._command(name, *args, *kwargs.values())
        raise AttributeError(name)

    def _command(self, name, *arguments):
        self.commands.append((name, *arguments))
        return SimpleNamespace(wait=lambda timeout=5: self.answer)


@pytest.fixture
def micrograph():
    return micrograph_row


@pytest.fixture
def session(tmp_path):
    return FakeSession(tmp_path)


@pytest.fixture
def live(session):
    made = LiveState(lambda: read_snapshot(session), session.version, banner=Banner())
    made.refresh()
    return made


@pytest.fixture
def write_files(session):
    """Write the files of a micrograph as the worker does."""

    def write(name, centres=((10.0, 20.0),), height=400):
        session.file("preview", name).write_bytes(b"jpeg")
        shifts = np.array([[0, 0], [1, 2]], np.float32)
        arrays = {
            "picks": {
                "centres": np.array(centres),
                "scores": np.arange(len(centres)) + 5.0,
                "radius": 60.0,
                "pixel_size": 1.5,
                "threshold": 4.0,
            },
            "ctf": {
                "frequency": np.linspace(0.02, 0.3, 20),
                "radial_average": np.ones(20),
                "fit": np.ones(20),
                "quality": np.ones(20),
                "spectrum": np.full((16, 16), 7, np.uint8),
            },
            "trajectory": {"shifts": shifts, "pixel_size": 1.5},
        }
        for kind, content in arrays.items():
            with session.file(kind, name).open("wb") as stream:
                np.savez(stream, **content)

    return write


@pytest.fixture
def micrographs(session, live):
    made = MicrographsPage(session, live)
    live.subscribe(made.draw)
    return made
