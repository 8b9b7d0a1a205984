"""The list of sessions: search, copy, delete, trash, and the form for a new one."""

import json

import pytest
from playwright.sync_api import expect

from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def listed(chromium, whole):
    """The list with two small sessions beside the made one."""
    flat = {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    for name in ("bgal-1", "old-2"):
        create_session(name, settings=Settings.from_flat(flat), root=whole[1]).close()
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(whole[0])
    line(page, "bgal-1").wait_for()
    yield page
    page.close()


def line(page, name):
    """A session's line, with what opens below it."""
    return page.locator(".nb-session-lines > *", has=page.get_by_title(name, exact=True))


def names(page):
    return page.locator(".nb-session-lines b.nb-ellipsis")


def test_sessions_are_searched_filtered_and_sorted(listed):
    search = listed.locator(".nb-session-search input")
    search.fill("bgal")
    expect(names(listed)).to_have_text(["bgal-1"])
    search.fill("")
    expect(names(listed)).to_have_count(3)
    listed.get_by_label("Status").select_option("something failed")
    expect(names(listed)).to_have_text(["grid"])
    listed.get_by_label("Status").select_option("running")
    expect(listed.locator(".nb-nothing")).to_have_text("None matches.")
    listed.get_by_label("Status").select_option("any status")
    listed.get_by_label("Type of session").select_option("single particle")
    heading = listed.locator(".nb-heading", has_text="Name")
    heading.click()
    expect(names(listed)).to_have_text(["bgal-1", "grid", "old-2"])
    heading.click()
    expect(names(listed)).to_have_text(["old-2", "grid", "bgal-1"])
    expect(line(listed, "grid")).to_contain_text("260 of 26")
    expect(line(listed, "grid")).to_contain_text("MB")


def test_a_session_is_copied_deleted_restored_and_removed(listed, whole):
    old = line(listed, "old-2")
    old.locator(".nb-more").click()
    expect(old.locator(".nb-session-path")).to_contain_text(str(whole[1] / "old-2"))
    old.get_by_placeholder("name of the new session").fill("old-3")
    old.get_by_placeholder("name of the new session").press("Tab")
    old.locator(".nb-copy").click()
    expect(listed.locator(".nb-banner")).to_contain_text("Session old-3 is made")
    line(listed, "old-3").wait_for()
    copied = open_session("old-3", root=whole[1])
    assert copied.settings.raw_data.location == "/x/*.tiff"
    copied.close()
    delete = old.locator(".nb-delete")
    expect(delete).to_be_disabled()
    expect(old.locator(".nb-deleting")).to_contain_text("0 micrographs")
    old.get_by_placeholder("type old-2").fill("old-2")
    expect(delete).to_be_enabled()
    delete.click()
    expect(names(listed).filter(has_text="old-2")).to_have_count(0)
    trash = listed.locator(".nb-trash")
    expect(trash).to_contain_text("old-2")
    trash.locator(".nb-restore").click()
    line(listed, "old-2").wait_for()
    expect(trash).to_be_hidden()
    line(listed, "old-2").locator(".nb-more").click()
    line(listed, "old-2").get_by_placeholder("type old-2").fill("old-2")
    line(listed, "old-2").locator(".nb-delete").click()
    trash.locator(".nb-remove").click()
    expect(trash).to_contain_text("This takes for ever")
    trash.locator(".nb-sure").click()
    expect(trash).to_be_hidden()
    assert not [p for p in whole[1].iterdir() if "old-2" in p.name]


def test_a_new_session_is_made_from_the_form(listed, whole):
    listed.locator(".nb-new").click()
    form = listed.locator(".nb-new-session")
    form.locator(".nb-create").click()
    expect(form).to_contain_text("give the session a name")
    expect(form.locator(".nb-field-microscope-pixel_size")).to_contain_text("missing")
    form.locator(".nb-field-raw_data-location input").fill(str(whole[1] / "movies" / "*.tiff"))
    form.locator(".nb-field-raw_data-location input").press("Tab")
    form.locator(".nb-from-metadata").click()
    expect(form.locator(".nb-field-microscope-pixel_size input")).to_have_value("0.9")
    expect(form.locator(".nb-field-microscope-voltage input")).to_have_value("300")
    form.locator(".nb-field-name input").fill("fresh")
    form.locator(".nb-field-name input").press("Tab")
    form.locator(".nb-create").click()
    expect(listed.locator(".nb-header")).to_contain_text("fresh")
    expect(listed.locator(".nb-start-all")).to_be_enabled()
    assert json.loads((whole[1] / "fresh" / "session.json").read_text())["name"] == "fresh"
    listed.locator(".nb-to-sessions").click()
    line(listed, "fresh").wait_for()
