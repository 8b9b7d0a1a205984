"""Every page has names for a screen reader and texts that stand out, light and dark."""

import pytest
from playwright.sync_api import expect

from tests.browser.axe import problems

pytestmark = pytest.mark.browser
# Page: what is opened on it, and what is there when that is drawn.
PAGES = {
    "operation": ((".nb-track-preprocess .nb-logs", ".nb-log"),),
    "settings": (
        (".nb-advanced input", ".nb-field-raw_data-binning"),
        (".nb-python-open", ".nb-python-lines"),
    ),
    "plots": ((None, ".nb-plot-series-1 .plotarea_background"),),
    "table": ((".nb-columns", ".nb-table canvas"), (".nb-add-condition", ".nb-condition-column")),
    "gallery": ((None, ".nb-gallery-tile img"),),
    "micrographs": ((".nb-last", ".nb-alarm-words"), (".nb-log-of-micrograph", ".nb-micrographs .nb-log")),
    "classes": ((".nb-tile", ".nb-tile[aria-pressed=true]"), (".nb-class-particles", ".nb-particles")),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong(chromium, whole, theme):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{whole[0]}?theme={theme}")
    line = page.locator(".nb-session-line", has=page.get_by_title("grid", exact=True))
    line.locator(".nb-more").click()
    found = {"sessions": problems(page, ".nb-app")}
    page.locator(".nb-new").click()
    page.wait_for_selector(".nb-new-session .nb-create")
    found["new session"] = problems(page, ".nb-app")
    page.locator(".nb-back").click()
    line.locator(".nb-open").click()
    page.wait_for_selector(".nb-track-transfer .nb-count-done")
    for name, steps in PAGES.items():
        page.locator(f".nb-tab-{name}").first.click()
        for press, drawn in steps:
            if press:
                page.locator(press).locator("visible=true").first.click()
            expect(page.locator(drawn).locator("visible=true").first).to_be_visible(timeout=30_000)
        found[name] = problems(page, ".nb-app")
    for tab in page.locator(".nb-side-tab").all():
        page.locator(".nb-tab-settings").first.click()
        tab.click()
        found[tab.inner_text()] = problems(page, ".nb-app")
    page.locator(".nb-export-open").click()
    page.wait_for_selector(".nb-export-filter")
    found["export"] = problems(page, ".nb-app")
    page.close()
    assert not any(found.values()), found
