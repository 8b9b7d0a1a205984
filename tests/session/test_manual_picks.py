"""Picks by hand: kept apart, merged when read, stable through another picking."""

import numpy as np
import pytest

from nextpyp_nb.session import commands
from nextpyp_nb.session.inbox import collect, drop
from nextpyp_nb.session.manual_picks import FIRST_ADDED, MANUAL_SCORE, merged_picks
from nextpyp_nb.settings import Site


def picked(session, name, centres, radius=10.6, pixel_size=1.06):
    np.savez(
        session.file("picks", name), centres=np.array(centres, np.float32),
        scores=np.arange(len(centres), 0, -1, dtype=np.float32), radius=radius, pixel_size=pixel_size,
    )  # fmt: skip


@pytest.fixture
def name(session, store, arrive, process):
    arrive(1)
    process(height=100, width=200, particles=2)
    picked(session, "m000", [[10, 20], [50, 60]])
    return "m000"


def told(session, store, command, *place):
    receipt = drop(session.folder, command, dict(zip(("movie", "y", "x"), place, strict=True)))
    for taken in collect(store, session.folder, owner=session.owner, group=None, site=Site()):
        commands.apply(store, taken)
    return receipt.wait(1)


def places(session):
    return session.particles()[["y", "x", "pick"]].to_numpy().tolist()


def test_added_and_removed_picks_are_merged_and_counted(session, store, name):
    assert told(session, store, "add_pick", name, 80.0, 150.5).ok
    assert told(session, store, "remove_pick", name, 11.0, 21.0).ok
    assert places(session) == [[50, 60, 1], [80, 150.5, FIRST_ADDED]]
    assert session.particles()["score"].tolist() == [1, MANUAL_SCORE]
    assert session.micrographs["particles"].tolist() == [2]
    assert store.pending_particles(10.0, "").particles == 2
    answer = told(session, store, "add_pick", name, 30.0, 30.0)
    assert answer.message == f"A pick is added: {name} has 3 particles."


def test_they_survive_another_picking(session, store, name):
    told(session, store, "add_pick", name, 80.0, 150.0)
    told(session, store, "remove_pick", name, 10.0, 20.0)
    picked(session, name, [[20, 180], [12, 21], [50, 60]])
    assert places(session) == [[20, 180, 0], [50, 60, 2], [80, 150, FIRST_ADDED]]


def test_each_takes_the_other_back(session, store, name):
    told(session, store, "remove_pick", name, 10.0, 20.0)
    told(session, store, "add_pick", name, 11.0, 20.0)
    assert places(session) == [[10, 20, 0], [50, 60, 1]]
    told(session, store, "add_pick", name, 80.0, 150.0)
    told(session, store, "remove_pick", name, 80.0, 151.0)
    told(session, store, "add_pick", name, 70.0, 100.0)
    assert places(session) == [[10, 20, 0], [50, 60, 1], [70, 100, FIRST_ADDED + 1]]


@pytest.mark.parametrize(
    ("command", "place", "said"),
    [
        ("add_pick", ("m000", 10.0, 22.0), "there is a pick within"),
        ("remove_pick", ("m000", 80.0, 80.0), "there is no pick within"),
        ("add_pick", ("m000", 100.0, 0.0), "outside"),
        ("add_pick", ("m000", float("nan"), 0.0), "has not answered"),
        ("add_pick", ("nobody", 1.0, 1.0), "no micrograph 'nobody'"),
    ],
)
def test_what_cannot_be_is_answered(session, store, name, command, place, said):
    answer = told(session, store, command, *place)
    assert not answer.ok
    assert said in answer.message
    assert merged_picks(session.folder, name).number.tolist() == [0, 1]
