"""An empty radius: the first micrographs tell it, everything is picked with it, and everybody sees it."""

import asyncio

import numpy as np
import pytest

from nextpyp_nb.kernels.particle_size import DIAMETERS
from nextpyp_nb.session import create_session
from nextpyp_nb.session.journal import note, rebuild
from nextpyp_nb.session.store import Store
from nextpyp_nb.simulate import Microscope
from nextpyp_nb.tracks.export import export_plan
from nextpyp_nb.tracks.runner import run_session
from nextpyp_nb.tracks.sizing import FIRST, LAST, PATIENCE, Sizing
from nextpyp_nb.tracks.track import Live


@pytest.fixture
def store(tmp_path, settings):
    session = create_session("empty", settings=settings.updated({"picking.radius": None}), root=tmp_path)
    with Store(session.folder / "session.db") as store:
        yield store
    session.close()


@pytest.fixture
def live(store):
    revision, settings = store.apply_settings()
    return Live(store.path.parent, store, {}, settings, revision)


def curve(diameter):
    """What a micrograph tells that holds particles of this diameter (Å); None: nothing."""
    return [0.0 if diameter is None else float(np.exp(-(np.log(d / diameter) ** 2))) for d in DIAMETERS]


def arrive(store, count):
    for movie in store.add_movies([{"name": f"m{i}", "source": f"/c/m{i}.tiff"} for i in range(count)]):
        store.movie_done(movie, path=f"raw/{movie}.tiff", size=1, hash=str(movie), operation="copy")


def process(live, sizing, count, diameter=130.0):
    for task in live.store.claim_tasks(count, "w", live.revision, live.settings):
        live.store.commit_micrograph(task, {"particles": 0})
        sizing.take(task, curve(diameter) if sizing.wanted() else None)


def test_a_session_without_a_radius_estimates_it_and_picks_everything(tmp_path, settings):
    camera = Microscope(
        tmp_path / "camera", layout="flat", height=512, width=576, frames=4, dose_per_frame=8.0, seed=3,
        pixel_size=2.0,
    )  # fmt: skip
    camera.prepare()
    asyncio.run(camera.run(3, interval=0))
    changes = {
        "raw_data.location": str(camera.folder / "*.tiff"), "gain.reference": str(camera.gain_path),
        "microscope.pixel_size": 2.0, "picking.radius": None, "class2d.enable": False,
    }  # fmt: skip
    session = create_session("s", settings=settings.updated(changes), root=tmp_path / "sessions")
    run = lambda: asyncio.run(run_session(session.folder, until_idle=True, signals=False))  # noqa: E731
    assert run() == 0
    # The simulator's proteins are 128 and 180 Å wide.
    found = session.size_estimate
    assert found.radius == pytest.approx(77, rel=0.2)
    assert found.micrographs == 3
    table = session.micrographs
    assert (table["particles"] > 0).all()
    picks = [np.load(session.file("picks", name)) for name in table["name"]]
    assert {float(stored["radius"]) for stored in picks} == {found.radius}
    told = [event.text for event in session.events() if event.code == "size_estimated"]
    assert told == [f"Particle radius estimated: {found.radius:g} Å from 3 micrographs."]
    assert export_plan(session, tmp_path / "out")["settings"]["picking"]["radius"] == found.radius
    assert session.settings.picking.radius is None
    before = table["finished"].tolist()
    assert run() == 0
    assert session.micrographs["finished"].tolist() == before


def test_the_first_micrographs_tell_and_those_in_flight_are_picked_again(live, store):
    arrive(store, FIRST + 2)
    sizing = Sizing(live)
    flying = store.claim_tasks(1, "w", live.revision, live.settings)
    process(live, sizing, FIRST - 1)
    sizing.step(flying, None)
    assert f"{FIRST - 1} of {FIRST}" in sizing.message()
    process(live, sizing, 1)
    sizing.step(flying, None)
    assert live.settings.picking.radius == pytest.approx(75, abs=1)
    assert sizing.message() == ""
    assert not sizing.wanted()
    assert not sizing.pending()
    assert store.task_counts() == {"ready": FIRST + 1, "running": 1}
    store.commit_micrograph(flying[0], {"particles": 0})
    sizing.take(flying[0], None)
    assert store.task_counts() == {"ready": FIRST + 2}
    again = store.claim_tasks(FIRST + 2, "w", live.revision, live.settings)
    assert sorted(task.first_stage for task in again) == ["motion"] + ["picking"] * (FIRST + 1)
    assert store.applied_settings()[1] == live.settings
    assert store.latest_settings()[1].picking.radius is None


def test_fewer_micrographs_do_when_no_more_come(live, store, monkeypatch):
    arrive(store, 2)
    sizing = Sizing(live)
    process(live, sizing, 2)
    now = 1e6
    monkeypatch.setattr("time.monotonic", lambda: now)
    sizing.step([], now - 0.5 * PATIENCE)
    assert live.settings.picking.radius is None
    (coming,) = store.add_movies([{"name": "late", "source": "/c/late.tiff"}])
    sizing.step([], now - 1.5 * PATIENCE)
    assert live.settings.picking.radius is None
    store.movie_failed(coming, "cannot be read")
    sizing.step([], now - 1.5 * PATIENCE)
    assert live.settings.picking.radius is not None


def test_empty_micrographs_tell_nothing_and_at_last_it_says_so(live, store):
    arrive(store, LAST + 1)
    sizing = Sizing(live)
    process(live, sizing, LAST, diameter=None)
    sizing.step([], 0.0)
    assert not sizing.wanted()
    assert not sizing.pending()
    assert f"no particles stand out in {LAST} micrographs" in sizing.message()


def test_a_database_that_is_lost_takes_no_estimate_with_it(live, store):
    arrive(store, FIRST)
    sizing = Sizing(live)
    process(live, sizing, FIRST)
    note(live.folder, "settings", {"settings": store.latest_settings()[1].model_dump()})
    sizing.step([], None)
    rebuild(live.folder)
    with Store(live.folder / "session.db") as anew:
        assert anew.applied_settings()[1].picking.radius == live.settings.picking.radius


def test_an_estimate_holds_until_the_pixel_size_changes_or_all_is_cleared(live, store):
    arrive(store, FIRST)
    sizing = Sizing(live)
    process(live, sizing, FIRST)
    sizing.step([], None)
    given, empty = (live.settings.updated({"picking.radius": r}) for r in (90, None))
    assert store.with_estimate(given) == given
    assert store.with_estimate(empty) == live.settings
    for other in ({"microscope.pixel_size": 1.1}, {"picking.method": "none"}):
        assert store.with_estimate(empty.updated(other)).picking.radius is None
    store.clear_preprocess()
    assert store.with_estimate(empty).picking.radius is None
    assert store.size_curves(empty) == []
