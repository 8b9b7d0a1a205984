"""Micrographs, Table and Gallery: navigator, image tools, marks by key, named filters that gate 2D."""

import contextlib

import pytest
from playwright.sync_api import expect

from tests.browser.made import MICROGRAPHS, PLACES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
expect.set_options(timeout=30_000)


@pytest.fixture
def micrographs(shown):
    """The Micrographs page at the last micrograph, drawn with its picks."""
    shown.locator(".nb-tab-micrographs").first.click()
    shown.locator(".nb-last").click()
    at(shown, MICROGRAPHS)
    expect(shown.locator(".nb-pick-count")).to_have_text(f"{len(PLACES)} particles")
    return shown


def at(page, place):
    """Wait until the page is at the micrograph of this number."""
    expect(page.locator(".nb-micrographs .nb-index input")).to_have_value(str(place))


def test_the_navigator_goes_everywhere(micrographs, session):
    page, names = micrographs, session.micrographs["name"].tolist()
    here = MICROGRAPHS
    for by in (-100, -10, -1, 1, 10, 100):
        page.locator(f".nb-step{by}").click()
        here += by
        at(page, here)
    page.locator(".nb-step-1").click()
    page.locator(".nb-step100").click()
    at(page, MICROGRAPHS)
    page.locator(".nb-first").click()
    at(page, 1)
    expect(page.locator(".nb-micrograph-name")).to_contain_text(names[0])
    page.locator(".nb-step-100").click()
    at(page, 1)
    number = page.locator(".nb-micrographs .nb-index input")
    number.fill("42")
    number.press("Tab")
    expect(page.locator(".nb-micrograph-name")).to_contain_text(names[41])
    find = page.locator(".nb-micrographs .nb-find input")
    find.fill(names[77])
    find.press("Tab")
    at(page, 78)
    find.fill("")
    find.press("Tab")
    page.locator(".nb-micrograph-canvas").click()
    page.keyboard.press("ArrowLeft")
    at(page, 77)
    page.keyboard.press("ArrowRight")
    at(page, 78)
    expect(page.locator(".nb-watch input")).not_to_be_checked()
    page.locator(".nb-watch input").check()
    at(page, MICROGRAPHS)
    expect(page.locator(".nb-micrographs .nb-count")).to_have_text(f"of {MICROGRAPHS}")


def test_ruler_contrast_zoom_and_circles(micrographs):
    page = micrographs
    canvas = page.locator(".nb-micrograph-canvas")
    drawn = "c => { let s = 0; for (const b of c.toDataURL()) s = (31 * s + b.charCodeAt(0)) | 0; return s; }"

    def changed(act):
        before = canvas.evaluate(drawn)
        act()
        page.wait_for_function(
            f"before => ({drawn})(document.querySelector('.nb-micrograph-canvas')) !== before", arg=before
        )

    box = canvas.bounding_box()
    page.locator(".nb-mode-ruler").click()
    expect(page.locator(".nb-mode-ruler")).to_have_attribute("aria-pressed", "true")
    page.mouse.move(box["x"] + 100, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 200, steps=3)
    page.mouse.up()
    # 5760 px of 0.83 Å fill the width, or 4092 px the height.
    angstrom = 200 * 0.83 / min(box["width"] / 5760, box["height"] / 4092)
    page.wait_for_function("document.querySelector('.nb-micrograph-canvas').dataset.ruler")
    assert float(canvas.get_attribute("data-ruler")) == pytest.approx(angstrom, rel=0.02)
    canvas.press("Escape")
    expect(page.locator(".nb-mode-ruler")).to_have_attribute("aria-pressed", "false")
    changed(lambda: page.locator(".nb-image-tools .nb-contrast").fill("2"))
    changed(lambda: page.locator(".nb-image-tools input[type=checkbox]").uncheck())
    changed(lambda: page.locator(".nb-image-tools input[type=checkbox]").check())
    changed(lambda: page.locator(".nb-image-tools").get_by_text("1:1").click())
    changed(lambda: page.locator(".nb-image-tools").get_by_text("fit").click())
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    changed(lambda: page.mouse.wheel(0, -400))
    changed(lambda: canvas.dblclick())
    page.locator(".nb-image-tools .nb-contrast").fill("1")


def test_curves_motion_and_log_of_a_micrograph(micrographs):
    page = micrographs
    expect(page.locator(".nb-micrographs .nb-ctf")).to_contain_text("to 9.5 Å")
    expect(page.locator(".nb-alarm-words")).to_contain_text("CTF fit resolution 9.50 Å, limit 8")
    motion = page.locator(".nb-micrographs .nb-motion")
    motion.get_by_text("local").click()
    expect(motion).to_contain_text("paths ×")
    motion.get_by_text("whole").click()
    expect(motion).to_contain_text("first frame; early")
    expect(page.locator(".nb-micrographs .nb-spectrum canvas").first).to_be_visible()
    page.locator(".nb-log-of-micrograph").click()
    log = page.locator(".nb-micrographs .nb-log")
    expect(log).to_be_visible()
    page.locator(".nb-log-of-micrograph").click()
    expect(log).to_be_hidden()


def test_a_threshold_is_used_for_the_session_once_that_is_confirmed(micrographs, session):
    before = session.settings
    micrographs.locator(".nb-threshold").fill("7.5")
    micrographs.locator(".nb-use-threshold").click()
    change = micrographs.locator(".nb-micrographs .nb-change").locator("visible=true")
    expect(change).to_contain_text("Threshold 7.5 σ for the whole session? When pre-processing is started")
    assert session.settings == before
    change.locator(".nb-sure").click()
    expect(change).to_have_count(0)
    expect(micrographs.locator(".nb-banner")).to_be_visible()
    micrographs.locator(".nb-banner-close").click()
    assert session.settings.picking.threshold == 7.5
    session.save_settings(before).wait(timeout=30)
    assert session.settings == before
    micrographs.locator(".nb-as-picked").click()


def test_a_micrograph_is_excluded_and_included_by_key_and_button(micrographs, session):
    page, name = micrographs, session.micrographs["name"].iloc[-1]
    page.locator(".nb-micrograph-canvas").click()
    page.keyboard.press("x")
    expect(page.locator(".nb-micrographs .nb-exclude")).to_have_text("Include (x)")
    assert session.micrograph(name)["excluded"]
    page.locator(".nb-micrographs .nb-exclude").click()
    expect(page.locator(".nb-micrographs .nb-exclude")).to_have_text("Exclude (x)")
    assert not session.micrograph(name)["excluded"]


@pytest.fixture
def table(shown):
    """The Table with all rows."""
    shown.locator(".nb-tab-table").first.click()
    expect(shown.locator(".nb-table .nb-selected-count")).to_have_text(f"{MICROGRAPHS} micrographs")
    return shown


def mark(table, place, name):
    """Click the row at ``place`` until it is marked: a grid hears nothing before it is drawn."""
    grid = table.locator(".nb-table .lm-DataGrid-viewport").first
    grid.wait_for()
    shown = table.locator(".nb-table .nb-detail .nb-card-title b")
    for _ in range(15):
        box = grid.bounding_box()
        table.mouse.click(box["x"] + 120, box["y"] + 28 + 24 * place + 12)
        with contextlib.suppress(AssertionError):
            return expect(shown).to_have_text(name, timeout=2_000)
    raise AssertionError(f"{name} is not marked")


def test_rows_are_excluded_and_taken_in_and_the_next_is_marked(table, session):
    names = session.micrographs["name"].tolist()[::-1]
    shown, figures = (table.locator(f".nb-table .nb-{n}") for n in ("detail .nb-card-title b", "figures"))
    mark(table, 3, names[3])
    table.keyboard.press("x")
    expect(shown).to_have_text(names[4])
    mark(table, 3, names[3])
    expect(figures).to_contain_text("excluded")
    assert session.micrograph(names[3])["excluded"]
    table.locator(".nb-table .nb-include").click()
    expect(shown).to_have_text(names[4])
    mark(table, 3, names[3])
    expect(figures).not_to_contain_text("excluded")
    table.locator(".nb-table .nb-exclude").first.click()
    expect(shown).to_have_text(names[4])
    mark(table, 3, names[3])
    expect(figures).to_contain_text("excluded")
    table.keyboard.press("c")
    expect(shown).to_have_text(names[4])
    mark(table, 3, names[3])
    expect(figures).not_to_contain_text("excluded")
    assert not session.micrograph(names[3])["excluded"]
    table.locator(".nb-table .nb-detail .nb-open").click()
    expect(table.locator(".nb-micrographs .nb-micrograph-name")).to_contain_text(names[3])


def test_a_named_filter_gates_2d_and_is_deleted(table, session):
    bar = table.locator(".nb-table .nb-selection-bar")
    bar.locator(".nb-add-condition").click()
    bar.locator(".nb-condition-column select").select_option(label="CTF fit resolution, Å")
    bar.locator(".nb-condition-low input").fill("9")
    bar.locator(".nb-condition-not input").check()
    bar.locator(".nb-condition-add").click()
    count = int((session.micrographs["fit_resolution"] < 9).sum())
    expect(bar.locator(".nb-selected-count")).to_have_text(f"{count} of {MICROGRAPHS} selected")
    expect(bar.locator(".nb-chip")).to_contain_text("not CTF fit resolution ≥ 9")
    bar.locator(".nb-save-filter").click()
    bar.locator(".nb-filter-name input").fill("fine")
    expect(bar.locator(".nb-gate-words")).to_have_text("2D classification takes all.")
    bar.locator(".nb-filter-gate").click()
    expect(bar.locator(".nb-gate-words")).to_contain_text("2D classification takes: !fit_resolution>=9")
    assert session.settings.class2d.filter == "!fit_resolution>=9"
    bar.locator(".nb-filter-save").click()
    expect(bar.locator(".nb-saved-filters option")).to_have_count(2)
    bar.locator(".nb-clear-selection").click()
    expect(bar.locator(".nb-selected-count")).to_have_text(f"{MICROGRAPHS} micrographs")
    bar.locator(".nb-saved-filters select").select_option("fine")
    expect(bar.locator(".nb-selected-count")).to_have_text(f"{count} of {MICROGRAPHS} selected")
    bar.locator(".nb-save-filter").click()
    expect(bar.locator(".nb-filter-name input")).to_have_value("fine")
    bar.locator(".nb-filter-delete").click()
    expect(bar.locator(".nb-saved-filters option")).to_have_count(1)
    assert session.filters == {}
    bar.locator(".nb-chip").click()
    expect(bar.locator(".nb-selected-count")).to_have_text(f"{MICROGRAPHS} micrographs")


def test_what_is_not_selected_is_excluded(table, session):
    bar = table.locator(".nb-table .nb-selection-bar")
    bar.locator(".nb-add-condition").click()
    bar.locator(".nb-condition-column select").select_option(label="CTF fit resolution, Å")
    bar.locator(".nb-condition-low input").fill("")
    bar.locator(".nb-condition-high input").fill("9")
    if bar.locator(".nb-condition-not input").is_checked():
        bar.locator(".nb-condition-not input").uncheck()
    bar.locator(".nb-condition-add").click()
    # One has no number: its fit failed, and that is what the Gallery says of it.
    fits = session.micrographs.set_index("name")["fit_resolution"]
    coarse = fits.index[~(fits <= 9)].tolist()
    expect(bar.locator(".nb-selected-count")).to_have_text(
        f"{MICROGRAPHS - len(coarse)} of {MICROGRAPHS} selected"
    )
    bar.locator(".nb-exclude-rest").click()
    bar.locator(".nb-clear-selection").click()
    table.locator(".nb-tab-gallery").first.click()
    table.locator(".nb-gallery-state select").select_option("excluded")
    expect(table.locator(".nb-gallery-count")).to_have_text(f"{(fits > 9).sum()} shown")
    assert session.micrographs.loc[session.micrographs["excluded"], "name"].tolist() == coarse
    session.exclude(coarse, False).wait(10)
    expect(table.locator(".nb-gallery-count")).to_have_text("0 shown")
    table.locator(".nb-gallery-state select").select_option("all")


def test_plots_over_order_and_coloured_by_shot_group(shown):
    shown.locator(".nb-tab-plots").first.click()
    series = shown.locator(".nb-plot-series-1")
    expect(series).to_be_visible()
    shown.locator(".nb-over select").select_option("order")
    expect(series).to_contain_text("order of arrival")
    shown.locator(".nb-colour select").select_option("shot group")
    legend = shown.locator(".nb-plot-tools .nb-swatches span")
    expect(legend).to_have_text(["1", "2", "3"])
    shown.locator(".nb-colour select").select_option("none")
    expect(legend).to_have_count(0)
    shown.locator(".nb-over select").select_option("time")
    expect(series).not_to_contain_text("order of arrival")


def test_a_column_of_ones_own_is_offered_by_itself(table, session):
    session.set_column("early_share", dict.fromkeys(session.micrographs["name"], 0.25)).wait(10)
    bar = table.locator(".nb-table .nb-selection-bar")
    expect(bar.locator(".nb-condition-column option", has_text="early share")).to_have_count(1)
    table.locator(".nb-columns").click()
    choice = table.locator(".nb-column-choice")
    own = choice.get_by_label("early share")
    expect(own).to_be_checked()
    own.uncheck()
    own.check()
    table.locator(".nb-columns").click()
    expect(choice).to_be_hidden()


def test_the_gallery_is_sorted_filtered_and_sized(shown, session):
    shown.locator(".nb-tab-gallery").first.click()
    count, tiles = shown.locator(".nb-gallery-count"), shown.locator(".nb-gallery-tile")
    expect(count).to_have_text(f"{MICROGRAPHS} shown")
    shown.locator(".nb-gallery-state select").select_option("alarm")
    alarms = int(session.alarms.any(axis=1).sum())
    expect(count).to_have_text(f"{alarms} shown")
    shown.locator(".nb-gallery-state select").select_option("all")
    expect(count).to_have_text(f"{MICROGRAPHS} shown")
    wide = tiles.first.bounding_box()["width"]
    shown.locator(".nb-gallery-size select").select_option("large")
    shown.wait_for_function(
        "wide => document.querySelector('.nb-gallery-tile')?.getBoundingClientRect().width > 1.2 * wide",
        arg=wide,
    )
    shown.locator(".nb-gallery-size select").select_option("medium")
    shown.locator(".nb-gallery-order select").select_option("particles")
    best = session.micrographs.sort_values("particles")["name"].iloc[-1]
    shown.wait_for_function(
        "name => document.querySelector('.nb-gallery-tile')?.title.startsWith(name)", arg=best
    )
    expect(shown.locator(".nb-gallery-turn")).to_have_text("greatest first")
    shown.locator(".nb-gallery-turn").click()
    expect(shown.locator(".nb-gallery-turn")).to_have_text("least first")
    shown.locator(".nb-gallery-turn").click()
    shown.locator(".nb-gallery-order select").select_option("time")
