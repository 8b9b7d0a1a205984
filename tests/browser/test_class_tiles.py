"""2D Classes: selecting, marking, the rule, particles of a class, history, what can be taken along."""

import numpy as np
import pytest
from playwright.sync_api import expect

from nextpyp_nb.formats.mrc import read_mrc
from tests.browser.made import CLASSES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
expect.set_options(timeout=30_000)


@pytest.fixture
def classes(shown):
    """The page with the tiles of the last round, none selected."""
    shown.locator(".nb-tab-classes").first.click()
    expect(shown.locator(".nb-tile")).to_have_count(CLASSES)
    shown.locator(".nb-select-none").click()
    expect(pressed(shown)).to_have_count(0)
    return shown


def tile(page, identity):
    return page.locator(f".nb-tile[data-identity='{identity}']")


def pressed(page):
    return page.locator(".nb-tile[aria-pressed=true]")


def test_tiles_are_sorted_and_selected_by_mouse_and_in_a_row(classes):
    first = classes.locator(".nb-tile").first
    expect(first).to_have_attribute("data-identity", "0")
    tile(classes, 2).click()
    expect(classes.locator(".nb-chosen-classes")).to_contain_text("1 class selected")
    tile(classes, 4).click(modifiers=["Shift"])
    expect(pressed(classes)).to_have_count(3)
    tile(classes, 3).click(modifiers=["Control"])
    expect(pressed(classes)).to_have_count(2)
    classes.locator(".nb-select-below").click()
    expect(pressed(classes)).to_have_count(CLASSES - 2)
    tile(classes, 4).click()
    classes.locator(".nb-select-above").click()
    expect(pressed(classes)).to_have_count(5)
    classes.locator(".nb-select-all").click()
    expect(pressed(classes)).to_have_count(CLASSES)
    expect(classes.locator(".nb-chosen-classes")).to_contain_text("100.0 % of particles")


def test_classes_are_marked_by_keys_and_by_a_rule(classes, session):
    tile(classes, 0).click()
    classes.keyboard.press("a")
    expect(tile(classes, 0)).to_have_class("nb-tile nb-accepted nb-by-hand")
    tile(classes, 1).click()
    classes.locator(".nb-reject").click()
    expect(tile(classes, 1)).to_have_class("nb-tile nb-rejected nb-by-hand")
    expect(classes.locator(".nb-class-summary")).to_contain_text(f"1 of {CLASSES} classes")
    handle = classes.locator(".nb-rule-share .noUi-handle")
    handle.focus()
    handle.press("End")
    # It is seen before it holds.
    expect(classes.locator(".nb-tile.nb-rejected:not(.nb-by-hand)").first).to_be_visible()
    assert session.settings.class2d.accept == ""
    classes.locator(".nb-set-rule").click()
    expect(classes.locator(".nb-no-rule")).to_be_enabled()
    assert session.settings.class2d.accept.startswith("share>=")
    classes.locator(".nb-no-rule").click()
    expect(classes.locator(".nb-tile.nb-rejected:not(.nb-by-hand)")).to_have_count(0)
    resolution = classes.locator(".nb-rule-resolution .noUi-handle")
    resolution.focus()
    resolution.press("Home")
    expect(classes.locator(".nb-tile.nb-rejected:not(.nb-by-hand)").first).to_be_visible()
    resolution.press("End")
    expect(classes.locator(".nb-tile.nb-rejected:not(.nb-by-hand)")).to_have_count(0)
    classes.locator(".nb-select-all").click()
    expect(pressed(classes)).to_have_count(CLASSES)
    classes.keyboard.press("u")
    expect(classes.locator(".nb-tile.nb-by-hand")).to_have_count(0)
    assert session.classes["accepted"].isna().all()


def test_particles_of_a_class_are_shown_alone_and_on_their_micrographs(classes):
    tile(classes, 3).click()
    classes.locator(".nb-class-particles").click()
    card = classes.locator(".nb-class-members")
    expect(card).to_contain_text("Class 3")
    particle = card.locator(".nb-particles button").first
    expect(particle).to_be_visible()
    name = particle.get_attribute("title")
    particle.click()
    expect(classes.locator(".nb-micrograph-name")).to_contain_text(name)
    bar = classes.locator(".nb-class-bar")
    expect(bar).to_contain_text("Class 3: ")
    bar.get_by_text("next").click()
    expect(classes.locator(".nb-micrograph-name")).not_to_contain_text(name)
    bar.get_by_text("previous").click()
    expect(classes.locator(".nb-micrograph-name")).to_contain_text(name)
    bar.locator(".nb-unmark-class").click()
    expect(bar).to_be_hidden()
    classes.locator(".nb-tab-classes").first.click()
    classes.locator(".nb-class-on-micrographs").click()
    expect(bar).to_contain_text("Class 3: ")
    bar.locator(".nb-unmark-class").click()
    classes.locator(".nb-tab-classes").first.click()
    card.locator(".nb-close").click()
    expect(card).to_be_hidden()


def test_the_history_shows_the_round_before(classes):
    words = classes.locator(".nb-history .nb-round")
    expect(words).to_contain_text("round 2")
    handle = classes.locator(".nb-history-slider .noUi-handle")
    handle.focus()
    handle.press("ArrowLeft")
    expect(words).to_contain_text("round 1")
    picture = classes.locator("img.nb-round-picture, .nb-round-picture img")
    expect(picture).to_be_visible()
    handle.press("ArrowRight")
    expect(words).to_contain_text("round 2")
    expect(picture).to_be_hidden()


def test_averages_are_handed_over_with_a_star_of_those_selected(classes, tmp_path):
    tile(classes, 1).click()
    tile(classes, 5).click(modifiers=["Control"])
    expect(pressed(classes)).to_have_count(2)
    files = []
    classes.on("download", lambda download: files.append(download))
    with classes.expect_event("download", lambda found: found.suggested_filename.endswith(".star")):
        classes.locator(".nb-download-averages").click()
    kept = {}
    for download in files:
        kept[download.suggested_filename] = tmp_path / download.suggested_filename
        download.save_as(kept[download.suggested_filename])
    stack, pixel = read_mrc(kept["grid_round0002.mrcs"])
    assert (stack.shape[0], pixel) == (CLASSES, pytest.approx(3.0))
    assert np.isfinite(stack).all()
    lines = kept["grid_round0002.star"].read_text().splitlines()
    assert [line.split()[0] for line in lines if "@" in line] == [
        "000002@grid_round0002.mrcs", "000006@grid_round0002.mrcs"
    ]  # fmt: skip
