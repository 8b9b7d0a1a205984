"""A session whose movie has a hostile name: every page shows it as text, and no script of it runs."""

import numpy as np
import pytest

from nextpyp_nb.bench.browser import served
from nextpyp_nb.bench.synthetic import HOSTILE, synthetic_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
TABS = ("operation", "settings", "plots", "table", "gallery", "micrographs", "classes")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a session: a hostile name is done, one failed, a filter and a folder are called so too."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "site.toml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTPYP_NB_SITE", str(root / "site.toml"))
        session = synthetic_session(root, 12, name="names")
        with Store(session.folder / "session.db") as store, acquire(store):
            settings = session.settings.updated({"raw_data.location": f"/data/{HOSTILE}/*.tiff"})
            store.save_revision(settings, HOSTILE)
            store.save_filter(HOSTILE, "particles>=1")
            (movie,) = store.add_movies([{"name": f"{HOSTILE} 2", "source": f"/camera/{HOSTILE}", "size": 1}])
            store.movie_failed(movie, f"cannot read {HOSTILE}")
        with served(session="names", root=root, port=18930) as url:
            yield url
        session.close()


def test_no_page_runs_what_a_name_says(chromium, address):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector(".nb-track-transfer .nb-count-done")
    for tab in TABS:
        page.locator(f".nb-tab-{tab}").first.click()
        page.wait_for_timeout(700)
        assert page.evaluate("window.hacked") is None, tab
    page.locator(".nb-tab-operation").first.click()
    page.locator(".nb-movie-log").first.click()
    page.locator(".nb-attention .nb-ellipsis", has_text="onerror").first.wait_for()
    page.locator(".nb-tab-gallery").first.click()
    page.locator(".nb-gallery-tile[title^='<img']").first.click()
    page.locator(".nb-micrograph-name", has_text="onerror").wait_for()
    page.locator(".nb-log-of-micrograph").click()
    page.locator(".nb-tab-plots").first.click()
    page.locator(".nb-plots .nb-saved-filters select").select_option(HOSTILE)
    box = page.locator(".nb-plot-series-1 .plotarea_background").bounding_box()
    for x in np.linspace(0.05, 0.95, 12):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_timeout(100)
    page.locator(".nb-to-sessions").click()
    page.get_by_title("names", exact=True).wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0
    page.close()
