"""Every ten minutes the movies and the files are counted against each other."""

import os

import pytest

from nextpyp_nb.bench.faults.pretend import pretend_session, run, write_movies
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.observation import observe
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.self_check import PERIOD, SelfCheck
from nextpyp_nb.tracks.track import Live


@pytest.fixture(params=["copy", "link"])
def checked(request, tmp_path):
    """A session of four movies, and its check."""
    write_movies(tmp_path / "camera", 4)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera", transfer__operation=request.param)
    run(session)
    logs = Logbook(session.folder)
    with Store(session.folder / "session.db") as store, acquire(store):
        revision, settings = store.applied_settings()
        yield SelfCheck(Live(session.folder, store, logs, settings, revision)), session, store
    logs.close()
    session.close()


def sums_alert(session):
    return [alert.text for alert in observe(session).alerts if alert.kind == "sums"]


def test_a_session_as_it_should_be_adds_up(checked):
    check, session, store = checked
    assert PERIOD == 600
    assert check.look() == ""
    # Under way, in conflict, hidden or not a movie: none of it is strange.
    (session.folder / "raw" / "late.tiff").write_bytes(b"x")
    store.add_movies([{"name": "late", "source": "/c/late.tiff"}])
    (session.folder / "raw" / ".mov_00001.tiff.nextpyp.part").write_bytes(b"x")
    (session.folder / "raw" / "mov_00001.xml").write_bytes(b"x")
    assert check.look() == ""
    assert sums_alert(session) == []


def test_missing_and_strange_files_are_an_alert_until_they_are_gone(checked):
    check, session, store = checked
    one, two, three, _ = sorted((session.folder / "raw").glob("*.tiff"))
    one.rename(one.with_name("strange.tiff"))
    two.unlink()
    if not three.is_symlink():
        os.truncate(three, 7)
    found = check.look()
    assert f"2 files in raw missing: {one.name}, {two.name}" in found
    assert "1 file in raw of no movie: strange.tiff" in found
    assert (f"1 file in raw of another size: {three.name}" in found) == (not three.is_symlink())
    assert sums_alert(session) == [found]
    check.look()
    SelfCheck(check._live).look()
    assert [event.code for event in session.events(limit=50)].count("self_check") == 1
    for row in store.movies():
        (session.folder / "raw" / "strange.tiff").unlink(missing_ok=True)
        path = session.folder / "raw" / f"{row['name']}.tiff"
        path.unlink(missing_ok=True)
        path.write_bytes(bytes(row["size"]))
    assert check.look() == ""
    assert sums_alert(session) == []
    assert session.events(limit=1)[0].text == "movies and files add up again"
