import pytest

from nextpyp_nb.settings import TABS, Settings, SettingsError, read_site


def test_our_names_and_nextpyps_names_set_the_same_field():
    ours = Settings.from_flat({"picking.radius": 75, "microscope.amplitude_contrast": 0.1})
    theirs = Settings.from_flat({"detect_rad": "75", "scope_wgh": "0.1"})
    assert ours == theirs
    assert ours.picking.radius == 75.0


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"picking.radius": -3}, "picking.radius", "got -3 Å, expected 10 to 2000 Å"),
        ({"ctf.tile": "large"}, "ctf.tile", "expected a whole number px"),
        ({"transfer.operation": "steal"}, "transfer.operation", "expected one of link, copy, move"),
        ({"picking.raduis": 75}, "picking.raduis", "unknown setting"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_got_and_expected(given, name, words):
    with pytest.raises(SettingsError) as caught:
        Settings.from_flat(given)
    assert words in caught.value.problems[name]


def test_settings_survive_json():
    settings = Settings.from_flat({"scope_pixel": 0.83, "picking.distance": "none", "gain_fliph": "true"})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_what_a_session_cannot_run_without_is_named():
    problems = Settings().missing()
    assert set(problems) == {"raw_data.location", "microscope.pixel_size", "microscope.voltage"}
    given = {"data_path": "/d/*.tif", "scope_pixel": 1, "scope_voltage": 300}
    assert Settings.from_flat(given).missing() == {}


def test_every_setting_has_a_label_a_sentence_and_a_tab():
    items = list(Settings.items())
    assert {item.section for item in items} == set(TABS)
    assert all(item.label and item.explanation for item in items)
    aliases = [item.alias for item in items if item.alias]
    assert len(set(aliases)) == len(aliases)


def test_changes_name_both_values():
    before = Settings.from_flat({"detect_rad": 75})
    assert before.changes(before.updated({"detect_rad": 80})) == {"picking.radius": (75.0, 80.0)}


def test_site_file(tmp_path, monkeypatch):
    path = tmp_path / "site.toml"
    path.write_text('root = "/data/sessions"\n[groups.a]\noperators = ["ada"]\n')
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(path))
    site = read_site()
    assert str(site.sessions_root) == "/data/sessions"
    assert site.groups["a"]["operators"] == ("ada",)
    path.write_text("rot = 1")
    with pytest.raises(ValueError, match="cannot be read"):
        read_site()
