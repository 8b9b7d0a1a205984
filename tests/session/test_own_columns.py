"""Columns that people make: stored, filtered by, followed, and gone when their micrograph is done again."""

import time

import pytest

from nextpyp_nb.session import commands
from nextpyp_nb.session.columns import Column
from nextpyp_nb.session.inbox import collect
from nextpyp_nb.settings import Site


@pytest.fixture
def told(session, store):
    """Carry out what lies in the inbox, as the runner does."""

    def told(receipt):
        for taken in collect(store, session.folder, owner=session.owner, group=None, site=Site()):
            commands.apply(store, taken)
        return receipt.wait(1)

    return told


@pytest.fixture
def three(arrive, process):
    arrive(3)
    process(particles=100)


def test_a_column_is_in_the_table_and_in_filters(session, told, three):
    assert told(session.set_column("sharpness", {"m000": 1.5, "m002": 4})).ok
    assert session.micrographs["sharpness"].fillna(-1).tolist() == [1.5, -1, 4]
    assert session.filtered("sharpness>=2")["name"].tolist() == ["m002"]
    assert told(session.set_column("sharpness", {"m000": 3.0, "m002": None})).ok
    assert session.filtered("sharpness>=2")["name"].tolist() == ["m000"]
    assert told(session.drop_column("sharpness")).message == "1 micrographs had sharpness."
    assert session.micrographs.get("sharpness", []).count() == 0


@pytest.mark.parametrize("name", ["defocus_u", "latency", "name", "no spaces", "", "Upper"])
def test_names_that_cannot_be_are_refused(session, told, three, name):
    answer = told(session.set_column(name, {"m000": 1.0}))
    assert not answer.ok
    assert name in answer.message


def test_numbers_go_when_the_micrograph_is_done_again(session, store, told, three, settings, process):
    told(session.set_column("sharpness", {"m000": 1.5, "m001": 2.5}))
    other = settings.updated({"ctf.min_defocus": 4000})
    store.save_revision(other, "ada")
    store.apply_settings()
    store.reset_stages(other)
    process(other, revision=2)
    table = session.micrographs
    assert len(table) == 3
    assert table.get("sharpness", table["defocus"] * float("nan")).isna().all()


def test_a_function_follows_and_its_failures_cost_only_their_number(session, three, arrive, process):
    sent, calls = {}, []

    def ratio(row):
        calls.append(row["name"])
        if row["name"] == "m001":
            raise ZeroDivisionError("nothing there")
        return row["particles"] / 4

    column = Column(session, ratio, "ratio")
    column._send = sent.update
    with pytest.warns(UserWarning, match="m001"):
        assert column.update() == 3
    assert sent == {"m000": 25.0, "m001": None, "m002": 25.0}
    assert isinstance(column.errors["m001"], ZeroDivisionError)
    assert column.update() == 0
    arrive(1, first=3)
    process(particles=8)
    assert column.update() == 1
    assert sent["m003"] == 2.0
    assert len(calls) == 4


def test_add_column_tries_first_and_then_works_beside(session, store, told, three):
    with pytest.raises(KeyError):
        session.add_column(lambda row: row["nowhere"], "wrong")
    column = session.add_column(lambda row: row["particles"] / 4, "quarter")
    until = time.monotonic() + 30
    while session.micrographs.get("quarter") is None:
        assert time.monotonic() < until, "no numbers"
        for taken in collect(store, session.folder, owner=session.owner, group=None, site=Site()):
            commands.apply(store, taken)
        time.sleep(0.05)
    column.stop()
    assert session.micrographs["quarter"].tolist() == [25.0] * 3
    assert column({"particles": 8}) == 2
