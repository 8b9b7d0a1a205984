"""JupyterLab with the side bar, the launcher card and the previews, in Chromium."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from nextpyp_nb.bench.browser import jupyterlab
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.star_text import write_star
from nextpyp_nb.session import create_session
from nextpyp_nb.settings import Settings
from tests.browser.axe import problems
from tests.browser.made import CLASSES, MICROGRAPHS, made_session
from tests.browser.test_one_micrograph import mark
from tests.browser.test_plots_gallery import drag

pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)
READY = "() => window.jupyterapp && document.querySelector('.jp-LauncherCard')"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as a user starts it, with the extension of this checkout: (address, folder, sessions)."""
    top = tmp_path_factory.mktemp("lab")
    with jupyterlab(top, top / "sessions") as address:
        yield address, top / "home", top / "sessions"


def _window(chromium, lab):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{lab[0]}lab?reset")
    page.wait_for_function(READY)
    return page


@pytest.fixture
def page(chromium, lab):
    page = _window(chromium, lab)
    yield page
    page.close()


def test_side_bar_starts_and_stops_a_session(lab, page, tmp_path):
    settings = Settings.from_flat(
        {"raw_data.location": str(tmp_path / "*.tiff"), "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    create_session("grid-7", settings=settings, root=lab[2])
    page.get_by_title("Cryo-EM sessions").click()
    line = page.locator("[data-session=grid-7]")
    expect(line.locator(".nb-lab-state")).to_have_text("stopped")
    assert not problems(page, ".nb-lab-panel")
    line.get_by_text("Start", exact=True).click()
    page.wait_for_selector("[data-session=grid-7] .nb-lab-light.nb-lab-running")
    line.get_by_text("Stop", exact=True).click()
    expect(line.locator(".nb-lab-state")).to_have_text("stopped")
    page.fill(".nb-lab-filter", "no such")
    page.get_by_text("None of 1 sessions matches.").wait_for()


def test_launcher_card_opens_the_form_for_a_new_session(page):
    page.locator(".jp-LauncherCard", has_text="New Single-Particle Session").click()
    page.wait_for_selector(".nb-new-session .nb-create")
    palette = page.evaluate("() => window.jupyterapp.commands.label('nextpyp-nb:new')")
    assert palette == "New Single-Particle Session"


def test_previews_show_an_image_and_a_table(lab, page):
    rng = np.random.default_rng(1)
    write_mrc(lab[1] / "classes.mrcs", rng.normal(size=(7, 64, 64)).astype("f4"), pixel_size=1.5, stack=True)
    table = pd.DataFrame({"rlnMicrographName": [f"m{n}.mrc" for n in range(450)], "rlnDefocusU": 1.5})
    write_star(lab[1] / "micrographs.star", {"optics": {"rlnVoltage": 300.0}, "micrographs": table})
    for name in ("classes.mrcs", "micrographs.star"):
        page.evaluate("path => { window.jupyterapp.commands.execute('docmanager:open', {path}); }", name)
    page.get_by_text("rlnDefocusU").wait_for()
    expect(page.locator(".nb-lab-table tbody tr")).to_have_count(200)
    page.get_by_title("Forward").last.click()
    page.get_by_text("m200.mrc").wait_for()
    page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:open', {path: 'classes.mrcs'}); }")
    picture = page.locator(".nb-lab-picture img")
    picture.wait_for()
    page.wait_for_function("document.querySelector('.nb-lab-picture img').naturalWidth > 7 * 64")
    expect(page.locator(".nb-lab-facts").first).to_contain_text("64 × 64 px · 1.500 Å/px")
    assert not problems(page, ".nb-lab-viewer")


DOTS = """() => [...document.querySelectorAll('.nb-plot-series-1 path.line')]
    .some(path => (path.getAttribute('d') || '').length > 1000)"""
DRAWN = {
    "operation": ".nb-track-classify .nb-count-done",
    "settings": ".nb-field-raw_data-location input",
    "plots": ".nb-plot-series-1 .plotarea_background",
    "table": ".nb-table .lm-DataGrid-viewport canvas",
    "gallery": ".nb-gallery-tile:not(.nb-blank) img",
    "micrographs": ".nb-micrograph-canvas",
    "classes": ".nb-tile canvas",
}


def wait_for_brightness(page, right):
    """Until the Table is drawn in the colours of a theme: ``right`` for its mean brightness, 0 to 255."""
    table = page.locator(".nb-app .nb-table canvas").first
    for _ in range(30):
        brightness = np.asarray(Image.open(io.BytesIO(table.screenshot())).convert("L")).mean()
        if right(brightness):
            return
        page.wait_for_timeout(1000)
    pytest.fail(f"the Table has a brightness of {brightness:.0f}")


@pytest.fixture(scope="module")
def opened(chromium, lab):
    """The session "grid", opened from the side bar: (page of JupyterLab, the pages in it, session)."""
    session = made_session(lab[2])
    page = _window(chromium, lab)
    page.get_by_title("Cryo-EM sessions").click()
    page.locator("[data-session=grid]").get_by_text("Open", exact=True).click()
    page.wait_for_selector(".nb-app .nb-track-classify .nb-count-done", timeout=120_000)
    yield page, page.locator(".nb-app"), session
    session.close()
    page.close()


def test_the_side_bar_opens_a_session_with_all_its_pages(opened):
    page, app, session = opened
    for tab, drawn in DRAWN.items():
        app.locator(f".nb-tab-{tab}").first.click(timeout=120_000)
        expect(app.locator(drawn).first).to_be_visible()
        if tab == "plots":
            page.wait_for_function(DOTS)
    expect(app.locator(".nb-tile")).to_have_count(CLASSES)
    app.locator(".nb-tile").nth(1).click()
    page.keyboard.press("r")
    expect(app.locator(".nb-tile").nth(1)).to_have_class("nb-tile nb-rejected nb-by-hand")
    app.locator(".nb-tab-micrographs").first.click()
    app.locator(".nb-last").click()
    expect(app.locator(".nb-micrographs .nb-index input")).to_have_value(str(MICROGRAPHS))
    app.locator(".nb-micrographs .nb-exclude").click()
    expect(app.locator(".nb-micrographs .nb-exclude")).to_have_text("Include (x)")
    assert session.micrographs["excluded"].iloc[-1]


def test_a_second_window_on_the_same_kernel_shows_the_session_too(chromium, lab, page):
    settings = Settings.from_flat(
        {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    create_session("grid-8", settings=settings, root=lab[2]).close()
    second, sent = _window(chromium, lab), []
    second.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(bytes(frame))))
    # The first page is still making those behind its tabs when the second window comes.
    for window in (page, second):
        window.get_by_title("Cryo-EM sessions").click()
        window.locator("[data-session=grid-8]").get_by_text("Open", exact=True).click()
        window.wait_for_selector(".nb-app .nb-track-classify .nb-count-done", timeout=150_000)
    # It must know the first page's widgets before there are more: JupyterLab would ask for each alone.
    known, ran = (
        next(n for n, frame in enumerate(sent) if said in frame) for said in (b"request_states", b"App(")
    )
    assert known < ran
    second.locator(".nb-app .nb-tab-settings").first.click()
    expect(second.locator(".nb-app .nb-field-raw_data-location input")).to_be_visible()
    second.close()


def test_settings_are_saved_and_exports_weighed_in_jupyterlab(opened):
    _, app, session = opened
    app.locator(".nb-tab-settings").first.click()
    app.locator(".nb-side-tab.nb-tab-picking").click()
    radius = app.locator(".nb-settings .nb-field-picking-radius input")
    radius.fill("70")
    radius.press("Tab")
    expect(app.locator(".nb-difference")).to_contain_text("redo picks of")
    app.locator(".nb-save").click()
    expect(app.locator(".nb-difference")).to_contain_text("Nothing is changed")
    assert session.settings.picking.radius == 70
    app.locator(".nb-export-open").click()
    expect(app.locator(".nb-export-size")).to_contain_text("micrographs")
    app.locator(".nb-export-close").click()


def test_a_box_a_key_and_a_tile_do_in_jupyterlab_what_they_do_elsewhere(opened):
    page, app, session = opened
    app.locator(".nb-tab-plots").first.click()
    app.locator(".nb-plot-series-0").scroll_into_view_if_needed()
    page.wait_for_function(DOTS)
    drag(page, "series-0", (0.3, 0.002), (0.7, 0.999))
    expect(app.locator(".nb-plots .nb-chip")).to_have_count(1)
    expect(app.locator(".nb-plots .nb-selected-count")).to_contain_text(f"of {MICROGRAPHS} selected")
    app.locator(".nb-plots .nb-chip").click()
    expect(app.locator(".nb-plots .nb-selected-count")).to_have_text(f"{MICROGRAPHS} micrographs")
    names = session.micrographs["name"].tolist()[::-1]
    app.locator(".nb-tab-table").first.click()
    app.locator(".nb-table-body").scroll_into_view_if_needed()
    mark(page, 2, names[2])
    page.keyboard.press("x")
    expect(app.locator(".nb-table .nb-detail .nb-card-title b")).to_have_text(names[3])
    mark(page, 2, names[2])
    expect(app.locator(".nb-table .nb-figures")).to_contain_text("excluded")
    assert session.micrograph(names[2])["excluded"]
    app.locator(".nb-tab-gallery").first.click()
    app.locator(".nb-gallery-tile").nth(1).click()
    expect(app.locator(".nb-micrographs .nb-micrograph-name")).to_contain_text(names[1])


def test_the_table_follows_the_theme_of_jupyterlab(opened):
    page, app, session = opened
    app.locator(".nb-tab-table").first.click()
    app.locator(".nb-table-body").scroll_into_view_if_needed()
    # What hears a click is drawn.
    mark(page, 4, session.micrographs["name"].tolist()[-5])
    wait_for_brightness(page, lambda value: value > 200)
    page.evaluate(
        "() => { window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'}); }"
    )
    wait_for_brightness(page, lambda value: value < 80)


def test_the_palette_opens_the_list_of_sessions(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('apputils:activate-command-palette'); }")
    page.locator(".lm-CommandPalette-input").fill("All Sessions")
    page.locator(".lm-CommandPalette-item[data-command='nextpyp-nb:sessions']").click()
    page.locator(".nb-sessions .nb-session-search").wait_for(timeout=120_000)
