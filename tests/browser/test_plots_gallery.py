"""Plots, Table and Gallery in a browser, on a made-up session of 10,000 micrographs."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from nextpyp_nb.bench.synthetic import HOSTILE, add_micrographs, synthetic_session
from nextpyp_nb.demo import _page
from nextpyp_nb.session import open_session

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
COUNT = 10_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """(the session, the address of its page)."""
    root = tmp_path_factory.mktemp("many")
    (root / "site.toml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTPYP_NB_SITE", str(root / "site.toml"))
        session = synthetic_session(root, COUNT)
        with _page(session, 18876) as url:
            yield session, url


@pytest.fixture(scope="module")
def shared_page(chromium, many):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.errors, page.replies = [], []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: note_reply(page, frame)))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.goto(many[1])
    page.wait_for_selector(".nb-tab-plots")
    yield page
    page.close()


def note_reply(page, frame):
    """Keep when rows of the table came."""
    if b"data-reply" in (frame.encode() if isinstance(frame, str) else frame):
        page.replies.append(time.monotonic())


@pytest.fixture
def page(shared_page):
    """The page with nothing selected, and no script of a file name run."""
    yield shared_page
    clear = shared_page.locator(".nb-plots .nb-clear-selection, .nb-table .nb-clear-selection").locator(
        "visible=true"
    )
    if clear.count() and clear.first.is_enabled():
        clear.first.click()
    assert shared_page.evaluate("window.hacked") is None
    # anywidget gives a model two seconds, and says so when a busy machine takes longer.
    ours = [e for e in shared_page.errors if "favicon" not in e and "Failed to initialize model" not in e]
    assert ours == []


def tab(page, name):
    page.locator(f".nb-tab-{name}").first.click()
    page.locator(f".nb-{name}").locator("visible=true").first.wait_for()


def wait(page, condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        page.wait_for_timeout(20)


def dots(page, key):
    """How many points a plot's paths draw: one move each."""
    return page.evaluate(
        """key => [...document.querySelectorAll(`.nb-plot-${key} path.line`)]
            .map(p => (p.getAttribute('d') || '').split('M').length - 1).reduce((a, b) => a + b, 0)""",
        key,
    )


def area(page, key):
    return page.locator(f".nb-plot-{key} .plotarea_background").bounding_box()


def drag(page, key, *path):
    box = area(page, key)
    at = [(box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]) for x, y in path]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def ink(page, box):
    """The share of dark pixels in the column of names, on the screen."""
    clip = {"x": box["x"] + 60, "y": box["y"] + 40, "width": 150, "height": 300}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L")
    return float((np.asarray(picture) < 100).mean())


def selected(page, where):
    words = page.locator(f".nb-{where} .nb-selected-count").inner_text()
    found = re.match(r"([\d,]+) of ([\d,]+) selected", words)
    return int(found[1].replace(",", "")) if found else None


def test_every_point_is_drawn_and_a_box_selects_everywhere(page):
    tab(page, "plots")
    # Besides the points: a curve and a line or two of limits, and what is put outside.
    wait(page, lambda: dots(page, "series-1") >= COUNT - 20, 20, "not all points are drawn")
    drag(page, "series-0", (0.002, 0.002), (0.999, 0.35))
    wait(page, lambda: selected(page, "plots"), 30, "nothing is selected")
    count = selected(page, "plots")
    assert 100 < count < COUNT
    chip = page.locator(".nb-plots .nb-chip")
    wait(page, lambda: "CTF fit resolution ≤" in chip.inner_text(), 30, "the chip says nothing of it")
    tab(page, "table")
    wait(page, lambda: selected(page, "table") == count, 30, "the Table has another selection")
    tab(page, "gallery")
    wait(page, lambda: selected(page, "gallery") == count, 30, "the Gallery has another selection")
    tab(page, "plots")
    page.locator(".nb-plots .nb-chip").click()
    wait(page, lambda: selected(page, "plots") is None, 30, "the chip stays")
    page.locator(".nb-plots .nb-lasso").click()
    # The kernel passes the choice on to the layer over the plots.
    page.wait_for_timeout(1500)
    drag(page, "defoci", (0.05, 0.0), (0.6, 0.0), (0.6, 0.7), (0.05, 0.7))
    wait(page, lambda: selected(page, "plots"), 30, "the lasso selects nothing")
    wait(page, lambda: "lasso" in page.locator(".nb-plots .nb-chip").inner_text(), 30, "no chip of the lasso")
    page.locator(".nb-plots .nb-box").click()


def test_hover_shows_a_card_and_a_click_opens_the_micrograph(page):
    tab(page, "plots")
    box = area(page, "series-1")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    card = page.locator(".nb-hover").locator("visible=true")
    card.wait_for(timeout=10_000)
    name = card.locator("div div").first.inner_text()
    assert name.startswith("FoilHole_")
    wait(page, lambda: card.locator("img").evaluate("i => i.naturalWidth") > 0, 30, "no thumbnail")
    page.mouse.down()
    page.mouse.up()
    page.locator(".nb-micrographs").locator("visible=true").wait_for(timeout=10_000)
    wait(page, lambda: name in page.locator(".nb-micrograph-name").inner_text(), 30, "another is opened")


def test_a_new_micrograph_appears_in_place(page, many):
    session, _ = many
    count = page.locator(".nb-plots .nb-selected-count")
    tab(page, "plots")
    wait(page, lambda: dots(page, "series-1") >= COUNT - 20, 20, "no points")
    figures = page.evaluate(
        "[...document.querySelectorAll('.nb-plot svg')].map((s, i) => s.nbMark = i).length"
    )
    before = dots(page, "series-1")
    page.evaluate(
        """() => { window.nbDrawn = 0; new MutationObserver(() => { window.nbDrawn = Date.now(); }).observe(
            document.querySelector('.nb-plot-series-1'),
            { subtree: true, attributes: true, attributeFilter: ['d'] }); }"""
    )
    took = []
    for _ in range(5):
        add_micrographs(session, 1, first=len(session.micrographs))
        wrote = time.time()
        page.wait_for_function("wrote => window.nbDrawn > wrote", arg=1000 * wrote, polling=20)
        took.append(page.evaluate("window.nbDrawn") / 1000 - wrote)
        page.wait_for_timeout(500)
    wait(page, lambda: f"{len(session.micrographs):,}" in count.inner_text(), 30, "not all are counted")
    wait(page, lambda: dots(page, "series-1") >= before + 4, 30, "not all are drawn")
    print("seconds to screen", [round(t, 2) for t in took])
    # Nothing was made anew: no flicker.
    assert (
        page.evaluate("[...document.querySelectorAll('.nb-plot svg')].filter(s => 'nbMark' in s).length")
        == figures
    )


def test_the_table_sorts_filters_and_keeps_its_marks(page, many):
    session, _ = many
    tab(page, "table")
    grid = page.locator(".nb-table .lm-DataGrid-viewport, .nb-table .p-DataGrid-viewport").first
    grid.wait_for()
    box = grid.bounding_box()
    # Without a new micrograph: names and numbers, not what stands for them until they come.
    wait(page, lambda: ink(page, box) > 0.03, 15, "the rows are not drawn")
    page.mouse.click(box["x"] + 120, box["y"] + 28 + 24 * 2 + 12)
    name = page.locator(".nb-table .nb-detail .nb-card-title b")
    newest = session.micrographs["name"].iloc[-3]
    wait(page, lambda: name.inner_text() == newest, 30, "the marked row is not shown beside the table")
    add_micrographs(session, 1, first=len(session.micrographs))
    wait(
        page,
        lambda: f"{len(session.micrographs):,}" in page.locator(".nb-table .nb-selected-count").inner_text(),
        30,
        "no new row",
    )
    page.wait_for_timeout(300)
    assert name.inner_text() == newest
    # x excludes what is marked, though it lies a row lower now, and goes on to the next.
    page.keyboard.press("x")
    wait(page, lambda: session.micrograph(newest)["excluded"], 30, "x does not exclude")
    wait(page, lambda: name.inner_text() == session.micrographs["name"].iloc[-5], 30, "x does not go on")
    took = []
    for _ in range(2):
        page.wait_for_timeout(600)
        page.replies.clear()
        began = time.monotonic()
        page.mouse.click(box["x"] + 70, box["y"] + 12)
        wait(page, lambda: page.replies, 30, "a click on the heading does not sort")
        took.append(page.replies[0] - began)
    print("seconds to sort", [round(t, 2) for t in took])
    page.wait_for_timeout(600)
    page.mouse.click(box["x"] + 120, box["y"] + 28 + 12)
    wait(page, lambda: name.inner_text() == HOSTILE, 30, "the hostile name is not the first")
    page.locator(".nb-table .nb-add-condition").click()
    page.locator(".nb-table .nb-condition-column select").select_option(label="Particles")
    page.locator(".nb-table .nb-condition-low input").fill("200")
    page.locator(".nb-table .nb-condition-add").click()
    expected = int((session.micrographs["particles"] >= 200).sum())
    wait(page, lambda: selected(page, "table") == expected, 30, "the condition does not select")
    page.locator(".nb-table .nb-save-filter").click()
    page.locator(".nb-table .nb-filter-name input").fill("many")
    page.locator(".nb-table .nb-filter-save").click()
    wait(page, lambda: session.filters == {"many": "particles>=200"}, 30, "the filter is not saved")
    page.locator(".nb-table .nb-clear-selection").click()
    wait(page, lambda: page.locator(".nb-table .nb-saved-filters option").count() == 2, 30, "not listed")
    page.locator(".nb-table .nb-saved-filters select").select_option("many")
    wait(page, lambda: selected(page, "table") == expected, 30, "the filter is not loaded")


def test_the_gallery_scrolls_without_blank_tiles(page, many):
    tab(page, "gallery")
    began = time.monotonic()
    loaded = """() => { const f = document.querySelector('.nb-gallery-frame'), b = f.getBoundingClientRect();
        const seen = [...f.querySelectorAll('.nb-gallery-tile')].filter(t => {
            const r = t.getBoundingClientRect(); return r.bottom > b.top && r.top < b.bottom; });
        return seen.length > 8 && seen.every(t => !t.classList.contains('nb-blank')
            && t.querySelector('img').complete && t.querySelector('img').naturalWidth > 0); }"""
    page.wait_for_function(loaded, polling=10)
    print("gallery drawn after", round(time.monotonic() - began, 2))
    blank = page.evaluate(
        f"""async () => {{ const loaded = {loaded}, frame = document.querySelector('.nb-gallery-frame');
            let longest = 0, since = null;
            const look = () => {{ const now = performance.now();
                since = loaded() ? null : since ?? now;
                if (since !== null) longest = Math.max(longest, now - since); }};
            for (let i = 0; i < 60; i++) {{ frame.scrollTop += 60;
                await new Promise(requestAnimationFrame); look();
                await new Promise(r => setTimeout(r, 15)); }}
            const steady = longest; longest = 0; since = null; frame.scrollTop = 60000;
            for (let i = 0; i < 40; i++) {{ await new Promise(r => setTimeout(r, 20)); look(); }}
            return [steady, longest]; }}"""
    )
    print("longest blank, ms: scrolling", round(blank[0]), "jumping", round(blank[1]))
    assert page.locator(".nb-gallery-tile").count() < 200
    page.locator(".nb-gallery-order select").select_option("name")
    page.locator(".nb-gallery-turn").click()
    first = page.locator(".nb-gallery-tile[title^='<img']")
    first.wait_for(timeout=10_000)
    first.click()
    page.locator(".nb-micrographs").locator("visible=true").wait_for(timeout=10_000)
    wait(page, lambda: HOSTILE in page.locator(".nb-micrograph-name").inner_text(), 30, "another is opened")


def test_the_gallery_fetches_ahead_the_way_one_scrolls(page):
    tab(page, "gallery")
    page.locator(".nb-gallery-order select").select_option("time")
    # How far tiles reach above and below what is in sight, and whether one there has no picture yet.
    look = """() => { const f = document.querySelector('.nb-gallery-frame'), b = f.getBoundingClientRect();
        const all = [...f.querySelectorAll('.nb-gallery-tile')].map(t => [t, t.getBoundingClientRect()]);
        return [b.top - Math.min(...all.map(([, r]) => r.top)),
            Math.max(...all.map(([, r]) => r.bottom)) - b.bottom,
            all.some(([t, r]) => r.bottom > b.top && r.top < b.bottom && t.classList.contains('nb-blank')),
            all.some(([t]) => t.classList.contains('nb-blank'))]; }"""
    for start, way in ((30_000, 1), (75_000, -1)):

        def reaches_beyond(start=start):
            # Again where the new order came only now, which goes to the top.
            page.evaluate("top => { document.querySelector('.nb-gallery-frame').scrollTop = top; }", start)
            page.wait_for_timeout(200)
            return min(page.evaluate(look)[:2]) > 140

        # Two rows: their pictures are drawn by when they come in sight.
        wait(page, reaches_beyond, 30, "tiles end where what is in sight does")
        wait(page, lambda: not page.evaluate(look)[3], 30, "pictures are missing")
        page.wait_for_timeout(1000)
        page.evaluate(
            """async way => { const frame = document.querySelector('.nb-gallery-frame');
                for (let i = 0; i < 20; i++) { frame.scrollTop += way * 20;
                    await new Promise((r) => setTimeout(r, 50)); } }""",
            way,
        )
        page.wait_for_timeout(2000)
        seen = page.evaluate(
            f"""async way => {{ const frame = document.querySelector('.nb-gallery-frame');
                frame.scrollTop += way * 1.8 * frame.clientHeight;
                for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
                return ({look})(); }}""",
            way,
        )
        assert not seen[2], f"way {way}, what lies nearly two screens on was not fetched ahead"


def test_the_session_is_whole(many):
    again = open_session(many[0].name, root=many[0].folder.parent)
    assert len(again.micrographs) >= COUNT
    again.close()
