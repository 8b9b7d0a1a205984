"""A page that tells people apart: they see and do what they may, not what the account that serves it may."""

import pytest

from nextpyp_nb.session import (
    create_session,
    delete_session,
    list_sessions,
    list_trash,
    open_session,
    trash_session,
)
from nextpyp_nb.session.groups import PERSON_IN, user_name
from nextpyp_nb.session.store import Reader
from nextpyp_nb.settings import Settings

SETTINGS = Settings.from_flat(
    {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
)


@pytest.fixture
def people(tmp_path, monkeypatch):
    """Makes this process act for a person; ada operates and bob reads the group of the session "grid"."""
    (tmp_path / "site.toml").write_text(
        f'root = "{tmp_path}/sessions"\nservice_accounts = ["{user_name()}"]\n'
        '[groups.cryo]\noperators = ["ada"]\nreaders = ["bob"]\n'
    )
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(tmp_path / "site.toml"))
    create_session("grid", settings=SETTINGS, group="cryo").close()
    monkeypatch.setenv(PERSON_IN, "HTTP_REMOTE_USER")
    return lambda name: monkeypatch.setenv("HTTP_REMOTE_USER", name)


def _names():
    return [summary.name for summary in list_sessions()]


def test_an_operator_commands_under_their_own_name_and_is_no_owner(people):
    people("ada")
    session = open_session("grid")
    assert session.role() == "operator"
    assert session.stop().wait(10).ok
    reader = Reader(session.folder / "session.db")
    assert reader.rows("SELECT actor, name FROM command") == [{"actor": "ada", "name": "stop"}]
    reader.close()
    session.close()
    # Not even where the page is served by the superuser.
    with pytest.raises(PermissionError, match="ada may operate this session; this is for its owner"):
        delete_session("grid", confirm="grid")
    assert _names() == ["grid"]


def test_a_reader_sees_and_commands_nothing(people):
    people("bob")
    session = open_session("grid")
    assert session.role() == "reader"
    with pytest.raises(PermissionError, match="bob may look at this session"):
        session.stop()
    session.close()
    with pytest.raises(PermissionError, match="bob may make sessions of groups in which bob operates"):
        create_session("more", settings=SETTINGS, group="cryo")


@pytest.mark.parametrize("name", ["eve", "", None])
def test_others_and_the_unknown_see_nothing(people, monkeypatch, name):
    monkeypatch.delenv(PERSON_IN)
    trash_session(create_session("old", settings=SETTINGS, group="cryo").name, confirm="old")
    monkeypatch.setenv(PERSON_IN, "HTTP_REMOTE_USER")
    if name is not None:
        people(name)
    assert _names() == []
    assert list_trash() == []
    with pytest.raises(PermissionError, match="is not a member of the group of session grid"):
        open_session("grid")


def test_who_operates_a_group_makes_sessions_in_it_and_in_no_other(people):
    people("ada")
    create_session("more", settings=SETTINGS, group="cryo").close()
    assert sorted(_names()) == ["grid", "more"]
    for group in (None, "others"):
        with pytest.raises(PermissionError, match="ada may make sessions of groups"):
            create_session("else", settings=SETTINGS, group=group)
