"""Beside the settings: the microscope's notes, the gain check, profiles, earlier revisions."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from nextpyp_nb.metadata_commands import noted_settings
from nextpyp_nb.session import launch
from nextpyp_nb.session.profiles import profile_names, read_profile, save_profile
from nextpyp_nb.settings import Settings
from nextpyp_nb.views import settings_tools
from nextpyp_nb.views.new_session import NewSession
from nextpyp_nb.views.pieces import Banner
from nextpyp_nb.views.settings_page import SettingsPage

MDOC = "PixelSpacing = {pixel}\nVoltage = 300\n[FrameSet = 0]\nExposureDose = 48.5\nNumSubFrames = 40\n"


@pytest.fixture
def movies(tmp_path):
    folder = tmp_path / "movies"
    folder.mkdir()
    for number in range(3):
        (folder / f"m{number}.tif").write_bytes(b"")
        (folder / f"m{number}.tif.mdoc").write_text(MDOC.format(pixel=0.83))
    return folder


@pytest.fixture
def page(session, live, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    session.revisions = list
    return SettingsPage(session, live)


def test_side_files_tell_settings_and_where_they_disagree(movies):
    noted = noted_settings(f"{movies}/*.tif")
    assert noted["found"] == {
        "microscope.pixel_size": 0.83, "microscope.voltage": 300.0, "microscope.dose": 48.5
    }  # fmt: skip
    assert (noted["files"], noted["conflicts"]) == (3, {})
    (movies / "m1.tif.mdoc").write_text(MDOC.format(pixel=1.06))
    (movies / "m2.tif.mdoc").write_text("garbage")
    noted = noted_settings(f"{movies}/*.tif")
    assert noted["files"] == 2
    assert noted["conflicts"] == {"microscope.pixel_size": [0.83, 1.06]}
    assert "microscope.pixel_size" not in noted["found"]


def test_notes_fill_what_is_empty_and_show_what_differs(page, movies):
    page.form.fill({"raw_data.location": f"{movies}/*.tif"})
    page.noted.fill.click()
    assert page.form.fields["microscope.dose"].value == "48.5"
    assert page.form.fields["microscope.pixel_size"].value == "1.5"
    assert "conflicting: Pixel size" in page.noted.told.value
    assert "agreeing: " in page.noted.told.value
    (use,) = page.noted.choices.children
    assert use.description == "Pixel size: use 0.83 instead of 1.5 Å"
    use.click()
    assert page.form.fields["microscope.pixel_size"].value == "0.83"
    assert page.noted.choices.children == ()
    assert set(page.form.edits()) == {"raw_data.location", "microscope.dose", "microscope.pixel_size"}


def test_the_gain_is_checked_as_it_stands_in_the_form(page, session, monkeypatch):
    page.gain.start.click()
    assert "no gain reference" in page.banner.message.value
    asked = []

    def answer(*arguments, **_):
        asked.extend(arguments)
        Path(arguments[-1]).write_bytes(b"jpeg")
        return "differs: <b>rotation 1</b>"

    monkeypatch.setattr(settings_tools, "ask_program", answer)
    page.form.fill({"gain.reference": "/data/gain.mrc", "gain.rotation": 2})
    page.gain.start.click()
    assert asked[:6] == [
        "gain-check",
        "--root",
        str(session.folder.parent),
        "apof",
        "--gain",
        "/data/gain.mrc",
    ]
    assert "gain.rotation=2" in asked
    assert "&lt;b&gt;rotation 1" in page.gain.told.value
    assert "data:image/jpeg;base64,anBlZw==" in page.gain.told.value


def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no session nowhere"):
        launch.ask_program("status", "nowhere")


def test_a_profile_keeps_all_but_paths(page):
    page.form.fill({"picking.radius": "91", "raw_data.location": "/other/*.mrc"})
    page.profiles.name.value = "krios 2"
    page.profiles.keep()
    assert profile_names() == ["krios 2"]
    kept = read_profile("krios 2")
    assert (kept["picking.radius"], kept["microscope.voltage"]) == (91, 300)
    assert "raw_data.location" not in kept
    page.reset_form()
    page.profiles.load()
    assert page.form.edits() == {"picking.radius": "91"}
    page.profiles.forget()
    assert profile_names() == []


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".x"])
def test_a_profile_stays_in_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match="got profile name"):
        save_profile(name, Settings(), tmp_path)
    with pytest.raises(ValueError, match="got profile name"):
        read_profile(name, tmp_path)


def test_a_new_session_begins_with_a_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    save_profile("k3", Settings.from_flat({"microscope.voltage": 200, "ctf.tile": 1024}))
    made = []
    form = NewSession(Banner(), made.append, tmp_path / "sessions")
    form.name.value = "s1"
    form.form.fill({"raw_data.location": "/x/*.tif", "microscope.pixel_size": "1.1"})
    form.profiles.name.value = "k3"
    form.profiles.load()
    form.create_session()
    (session,) = made
    settings = session.settings
    assert (settings.microscope.voltage, settings.ctf.tile, settings.microscope.pixel_size) == (
        200,
        1024,
        1.1,
    )
    session.close()


def test_an_earlier_revision_is_put_into_the_form(page, session, live):
    before = session.settings.updated({"picking.radius": 60})
    saved = SimpleNamespace(number=1, time=datetime(2026, 1, 2, tzinfo=UTC), actor="ada")
    session.revisions = lambda: [saved]
    session.settings_of = lambda revision: before
    page.draw(live.snapshot)
    assert json.dumps(page.revisions.choice.options[1][0]).endswith('ada"')
    page.revisions.choice.value = 1
    assert page.form.edits() == {"picking.radius": "60"}
    assert "→ 60" in page.difference.value
