"""Settings, Operation, Export: each control beside the live tracks, on a made-up session without a runner."""

import pytest
from playwright.sync_api import expect

from tests.browser.made import MICROGRAPHS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
expect.set_options(timeout=30_000)


@pytest.fixture
def settings(shown):
    """The Settings page, with nothing changed before and after."""
    shown.locator(".nb-tab-settings").first.click()
    expect(shown.locator(".nb-difference")).to_contain_text("Nothing is changed")
    yield shown
    reset = shown.locator(".nb-reset")
    if reset.is_enabled():
        reset.click()
    expect(shown.locator(".nb-difference")).to_contain_text("Nothing is changed")


def field(page, name):
    return page.locator(f".nb-settings .nb-field-{name}")


def side(page, name):
    page.locator(f".nb-side-tab.nb-tab-{name}").click()


def test_what_the_microscope_noted_fills_fields_and_what_differs_is_a_choice(settings):
    side(settings, "microscope")
    expect(field(settings, "microscope-pixel_size").locator("input")).to_have_value("0.83")
    settings.locator(".nb-settings .nb-from-metadata").click()
    expect(settings.locator(".nb-settings")).to_contain_text("conflicting: Pixel size")
    expect(settings.locator(".nb-settings")).to_contain_text("agreeing: Voltage")
    settings.locator(".nb-settings .nb-use-noted").click()
    expect(field(settings, "microscope-pixel_size").locator("input")).to_have_value("0.9")
    expect(settings.locator(".nb-difference")).to_contain_text("redo motion, CTF")
    expect(settings.locator(".nb-settings .nb-use-noted")).to_have_count(0)


def test_files_are_chosen_by_looking_through_folders(settings, whole):
    side(settings, "raw_data")
    location = field(settings, "raw_data-location")
    location.locator(".nb-browse").click()
    files = location.locator(".nb-browser select")
    expect(location.locator(".nb-browser")).to_contain_text(str(whole[1] / "movies"))
    files.select_option("..")
    files.locator("option", has_text="movies/").wait_for(state="attached")
    files.select_option("movies/")
    files.locator("option", has_text="other.mrc").wait_for(state="attached")
    files.select_option("other.mrc")
    expect(location.locator("input")).to_have_value(str(whole[1] / "movies" / "*.mrc"))
    expect(location.locator(".nb-browser")).to_be_hidden()


def test_a_profile_is_kept_loaded_and_forgotten(settings, whole):
    side(settings, "picking")
    radius = field(settings, "picking-radius").locator("input")
    radius.fill("91")
    radius.press("Tab")
    expect(settings.locator(".nb-difference")).to_contain_text("→ 91")
    settings.locator(".nb-settings .nb-profile input").fill("k3")
    settings.locator(".nb-profile-keep").click()
    expect(settings.locator(".nb-banner")).to_contain_text("Kept as profile k3")
    settings.locator(".nb-banner-close").click()
    expect(settings.locator(".nb-banner")).to_be_hidden()
    kept = whole[1] / "config" / "nextpyp-nb" / "profiles" / "k3.json"
    assert "91" in kept.read_text()
    settings.locator(".nb-reset").click()
    expect(radius).to_have_value("65")
    settings.locator(".nb-profile-load").click()
    expect(radius).to_have_value("91")
    settings.locator(".nb-profile-forget").click()
    expect(settings.locator(".nb-settings .nb-profile input")).to_have_value("")
    assert not kept.exists()


def test_saving_says_what_it_redoes_and_can_be_taken_back(settings, session):
    side(settings, "picking")
    before = session.revision
    radius = field(settings, "picking-radius").locator("input")
    radius.fill("70")
    radius.press("Tab")
    expect(settings.locator(".nb-difference")).to_contain_text(f"redo picks of {MICROGRAPHS} micrographs")
    settings.locator(".nb-save").click()
    expect(settings.locator(".nb-difference")).to_contain_text(f"Revision {before + 1} of")
    assert session.settings.picking.radius == 70
    earlier = settings.locator(".nb-revisions select")
    expect(earlier.locator("option")).to_have_count(before + 2)
    earlier.select_option(index=2)
    expect(radius).to_have_value("65")
    settings.locator(".nb-save").click()
    expect(settings.locator(".nb-difference")).to_contain_text(f"Revision {before + 2} of")
    assert session.settings.picking.radius == 65
    settings.locator(".nb-python-open").click()
    lines = settings.locator(".nb-python-lines")
    expect(lines).to_contain_text("session = open_session('grid'")
    expect(lines).to_contain_text("session.settings.updated({'picking.radius': 65.0})")
    settings.locator(".nb-python-open").click()
    expect(lines).to_be_hidden()


def test_advanced_settings_and_what_is_wrong(settings):
    side(settings, "ctf")
    advanced = field(settings, "ctf-tile")
    expect(advanced).to_be_hidden()
    settings.locator(".nb-advanced input").check()
    advanced.locator("input").fill("7")
    advanced.locator("input").press("Tab")
    expect(advanced.locator(".nb-field-error")).to_contain_text("expected")
    expect(settings.locator(".nb-side-tab.nb-tab-ctf.nb-invalid")).to_be_visible()
    settings.locator(".nb-advanced input").uncheck()
    expect(advanced).to_be_hidden()
    settings.locator(".nb-save").click()
    # What cannot be is shown, not saved.
    expect(advanced).to_be_visible()
    settings.locator(".nb-advanced input").uncheck()


def test_alerts_and_cards_of_operation(shown):
    shown.locator(".nb-tab-operation").first.click()
    expect(shown.locator(".nb-alerts")).to_contain_text("CTF fit resolution")
    expect(shown.locator(".nb-alerts")).to_contain_text("12 of the last 20 micrographs above 8 Å")
    cards = shown.locator(".nb-thirds")
    for words in ("From shutter to page", "Slowest:", "Transfer", "Storage", "free"):
        expect(cards).to_contain_text(words)
    expect(shown.locator(".nb-cancel")).to_be_disabled()
    shown.locator(".nb-alert-show").click()
    expect(shown.locator(".nb-micrographs .nb-index input")).to_have_value(str(MICROGRAPHS))


def test_failed_movies_are_looked_at_ignored_and_tried_again(shown, session):
    shown.locator(".nb-tab-operation").first.click()
    rows = shown.locator(".nb-attention .nb-entries > .nb-entry")
    expect(rows).to_have_count(2)
    first, second = (rows.filter(has_text=f"broken_{n}") for n in (1, 2))
    expect(first).to_contain_text("truncated: 37 of 40 frames readable")
    first.locator(".nb-movie-log").click()
    log = shown.locator(".nb-operation > .nb-log")
    expect(log).to_contain_text("broken_1")
    log.locator(".nb-close").click()
    expect(log).to_be_hidden()
    expect(shown.locator(".nb-retry-all")).to_be_visible()
    second.locator(".nb-ignore").click()
    expect(rows).to_have_count(1)
    expect(shown.locator(".nb-retry-all")).to_be_hidden()
    first.locator(".nb-retry").click()
    expect(rows).to_have_count(0)
    states = session.movies.set_index("name")["state"]
    assert states["broken_2"] == "ignored"
    assert states["broken_1"] != "failed"


def test_the_export_dialog_says_what_a_choice_comes_to(shown):
    shown.locator(".nb-export-open").click()
    dialog, size = shown.locator(".nb-export"), shown.locator(".nb-export-size")
    expect(size).to_contain_text(f"{MICROGRAPHS} micrographs")
    chosen = dialog.locator(".nb-export-filter input")
    chosen.fill("fit_resolution<>5")
    chosen.press("Tab")
    expect(size).to_contain_text("such as")
    expect(dialog.locator(".nb-export-start")).to_be_disabled()
    chosen.fill("fit_resolution>=9")
    chosen.press("Tab")
    expect(size).to_contain_text("12 micrographs")
    particles, stack = (
        dialog.get_by_label(words) for words in ("Particles (particles.star)", "Extracted stacks")
    )
    particles.uncheck()
    expect(stack).to_be_disabled()
    particles.check()
    expect(stack).to_be_enabled()
    expect(dialog.locator(".nb-report-start")).to_be_enabled()
    chosen.fill("")
    chosen.press("Tab")
    dialog.locator(".nb-export-close").click()
    expect(dialog).to_be_hidden()
    # It lies over one page only: what is opened beside it can be pressed everywhere.
    shown.locator(".nb-export-open").click()
    expect(dialog).to_be_visible()
    shown.locator(".nb-tab-gallery").first.click()
    expect(dialog).to_be_hidden()
    shown.locator(".nb-tab-operation").first.click()
