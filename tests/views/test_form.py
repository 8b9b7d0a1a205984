"""Settings ↔ form: both ways, the difference, and errors beside their field."""

import pytest

from nextpyp_nb.session.particle_size import SizeEstimate
from nextpyp_nb.settings import Settings
from nextpyp_nb.views.form import FileBrowser, Form, written
from nextpyp_nb.views.header import Header
from nextpyp_nb.views.settings_page import SettingsPage


@pytest.fixture
def form():
    return Form(Settings.items(), Settings())


def problem(form, key):
    return form.fields[key].problem.value


def test_every_setting_has_a_field_and_survives_the_way_through_it(form):
    chosen = Settings.from_flat(
        {
            "picking.radius": 82.5,
            "gain.rotation": 3,
            "gain.flip_vertical": True,
            "transfer.operation": "move",
            "class2d.seed": 2**31 - 1,
            "raw_data.location": "/d/<x>*.tiff",
            "microscope.pixel_size": 1.0605,
        }
    )
    assert set(form.fields) == set(Settings().flat())
    form.put(chosen)
    assert form.edits() == {}
    assert form.read() == chosen
    blank = Form(Settings.items(), Settings())
    for key, field in blank.fields.items():
        field.put(chosen.flat()[key])
    assert blank.read() == chosen


def test_an_estimated_radius_is_seen_and_used_and_gives_way_to_one_that_is_typed(session, live, micrograph):
    header, page = Header(session, lambda: None), SettingsPage(session, live)
    live.subscribe(header.draw)
    live.subscribe(page.draw)
    control = page.form.fields["picking.radius"].control
    assert (control.placeholder, page.size.value) == ("empty: automatic", "")
    session.size_estimate = SizeEstimate(radius=83.0, micrographs=5, pixel_size=1.5)
    session.put(micrograph("m"))
    live.refresh()
    assert control.placeholder == "83, estimated"
    assert "Particle radius estimated: 83 Å from 5 micrographs" in page.size.value
    assert "83 Å (estimated)" in header.facts.value
    control.value = "83"
    assert "redo nothing" in page.difference.value
    control.value = "60"
    assert "redo picks of 1 micrograph" in page.difference.value


def test_what_is_typed_is_converted_and_marked(form):
    field = form.fields["picking.radius"]
    field.control.value = " 75 "
    assert form.read().picking.radius == 75.0
    assert "nb-changed" in field._dom_classes
    field.control.value = ""
    assert form.read().picking.radius is None
    assert "nb-changed" not in field._dom_classes


def test_errors_stand_beside_their_field_and_nothing_is_read(form):
    form.fields["ctf.tile"].control.value = "99"
    form.fields["microscope.voltage"].control.value = "<b>"
    assert form.read() is None
    assert "128" in problem(form, "ctf.tile")
    assert "&lt;b&gt;" in problem(form, "microscope.voltage")
    assert problem(form, "ctf.defocus_step") == ""
    form.fields["ctf.tile"].control.value = "256"
    form.fields["microscope.voltage"].control.value = "300"
    assert form.read() is not None
    assert problem(form, "ctf.tile") == ""


def test_a_complete_form_names_what_is_missing(form):
    assert form.read(complete=True) is None
    assert "missing" in problem(form, "raw_data.location")
    assert "missing" in problem(form, "microscope.pixel_size")


def test_numbers_are_written_as_typed():
    assert [written(v) for v in (None, 2.0, 0.07, 5000, True)] == ["", "2", "0.07", "5000", "True"]


def test_the_browser_stays_below_the_data_roots(tmp_path):
    (tmp_path / "grid" / "deep").mkdir(parents=True)
    (tmp_path / "grid" / "a<b>.tiff").touch()
    control = Form(Settings.items(), Settings()).fields["raw_data.location"].control
    browser = FileBrowser(control, "movies", [tmp_path / "grid"])
    browser.toggle()
    assert browser.folder == tmp_path / "grid"
    assert [label for label, _ in browser.choice.options] == ["deep/", "a<b>.tiff"]
    browser.choice.value = tmp_path / "grid" / "deep"
    assert [label for label, _ in browser.choice.options] == [".."]
    browser.choice.value = tmp_path / "grid"
    browser.choice.value = tmp_path / "grid" / "a<b>.tiff"
    assert control.value == str(tmp_path / "grid" / "*.tiff")
    control.value = "/etc/passwd"
    browser.toggle()
    assert browser.folder == tmp_path / "grid"


@pytest.fixture
def page(session, live):
    made = SettingsPage(session, live)
    live.subscribe(made.draw)
    return made


def type_into(page, key, value):
    page.form.fields[key].control.value = value


def test_the_page_shows_the_difference_and_saves_it(session, page):
    assert page.save.disabled
    type_into(page, "ctf.max_resolution", "4.5")
    assert "→ 4.5 Å" in page.difference.value
    page.save_settings()
    assert session.settings.ctf.max_resolution == 4.5
    assert page.save.disabled
    assert page.revision == 2


def test_what_is_wrong_is_not_saved_but_shown(session, page):
    type_into(page, "ctf.tile", "99")
    page.choose("gain")
    page.save_settings()
    assert session.commands == []
    assert page.current == "ctf"
    assert "nb-hidden" not in page.form.fields["ctf.tile"]._dom_classes


def test_settings_saved_elsewhere_appear_unless_one_is_editing(session, live, page):
    session.save_settings(session.settings.updated({"picking.radius": 90}))
    live.refresh()
    assert page.form.fields["picking.radius"].value == "90"
    type_into(page, "ctf.tile", "256")
    session.save_settings(session.settings.updated({"picking.radius": 60}))
    live.refresh()
    assert page.form.fields["ctf.tile"].value == "256"
    page.reset_form()
    assert page.form.fields["picking.radius"].value == "60"
    assert page.form.edits() == {}


def test_advanced_settings_show_on_demand(page):
    page.choose("ctf")
    tile = page.form.fields["ctf.tile"]
    assert "nb-hidden" in tile._dom_classes
    page.advanced.value = True
    assert "nb-hidden" not in tile._dom_classes
    assert "nb-hidden" in page.form.fields["gain.rotation"]._dom_classes
