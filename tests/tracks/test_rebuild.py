"""A lost database is made anew from the journal and the files, and nothing is computed that is there."""

import pytest

from nextpyp_nb.bench.faults.pretend import pretend_session, run, write_movies
from nextpyp_nb.bench.faults.promises import broken, results, unfinished
from nextpyp_nb.session import Session
from nextpyp_nb.session.journal import rebuild
from nextpyp_nb.session.places import place


def lose(session):
    session.close()
    (session.folder / "session.db").write_bytes(b"no database any more")


def averages(session):
    """The pretended kernels write no averages; what stands for them says when a movie was processed."""
    for name in session.movies["name"]:
        place(session.folder, "average", name).touch()


@pytest.mark.parametrize("operation", ["copy", "move", "link"])
def test_everything_is_there_again_and_only_what_is_missing_is_done(tmp_path, operation):
    written = write_movies(tmp_path / "camera", 5, folders=2)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera", transfer__operation=operation)
    assert run(session) == 0
    before, names = results(session, written), session.movies.set_index("source")["name"].to_dict()
    averages(session)
    lost = sorted(session.movies["name"])[0]
    place(session.folder, "average", lost).unlink()
    files = {name: place(session.folder, "ctf", name).stat().st_mtime_ns for name in session.movies["name"]}
    lose(session)
    assert "5 of 5 movies, 1 to process" in rebuild(session.folder)
    session = Session(session.folder)
    assert run(session) == 0
    assert results(session, written) == before
    assert session.movies.set_index("source")["name"].to_dict() == names
    if operation != "link":
        assert broken(session, written, moved=operation == "move") == []
    again = {name for name, t in files.items() if place(session.folder, "ctf", name).stat().st_mtime_ns != t}
    assert again == {lost}


def test_a_torn_journal_and_a_lost_file_cost_only_themselves(tmp_path):
    written = write_movies(tmp_path / "camera", 4)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    assert run(session) == 0
    averages(session)
    lose(session)
    journal = session.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    next((session.folder / "raw").glob("*.tiff")).unlink()
    assert "3 of 4 movies" in rebuild(session.folder)
    session = Session(session.folder)
    assert run(session) == 0
    assert broken(session, written) + unfinished(session, written) == []


def test_without_a_journal_it_says_so_and_touches_nothing(tmp_path):
    session = pretend_session(tmp_path / "sessions", tmp_path)
    content = (session.folder / "session.db").read_bytes()
    session.close()
    with pytest.raises(FileNotFoundError, match="cannot be made anew"):
        rebuild(session.folder)
    assert (session.folder / "session.db").read_bytes() == content
