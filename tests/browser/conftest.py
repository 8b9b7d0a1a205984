"""Headless Chromium on the demo's live page."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from nextpyp_nb.bench.browser import browser_path, served
from nextpyp_nb.bench.browser import chromium as launched
from nextpyp_nb.session import open_session
from tests.browser.made import made_session


@pytest.fixture(scope="module")
def chromium():
    """The browser, for one module: its event loop must be gone before other tests run theirs."""
    if browser_path() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with launched() as opened:
        yield opened


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The list of sessions, with one that has all that pages show: (address, root)."""
    root = tmp_path_factory.mktemp("whole")
    (root / "site.toml").write_text("")
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEXTPYP_NB_SITE", str(root / "site.toml"))
            patch.setenv("XDG_CONFIG_HOME", str(root / "config"))
            made_session(root).close()
            url = stack.enter_context(served(session=None, root=root, kernels=1))
        yield url, root


@pytest.fixture(scope="module")
def shown(chromium, whole):
    """The pages of the session "grid", for one module."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(whole[0])
    page.locator(".nb-session-line", has=page.get_by_title("grid", exact=True)).locator(".nb-open").click()
    page.wait_for_selector(".nb-track-transfer .nb-count-done")
    yield page
    page.close()


@pytest.fixture
def session(whole):
    """The session "grid" itself."""
    found = open_session("grid", root=whole[1])
    yield found
    found.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """`nextpyp-nb demo` as a user starts it: (process, address, root of its sessions)."""
    root = tmp_path_factory.mktemp("demo")
    log = root / "demo.log"
    command = [
        sys.executable, "-m", "nextpyp_nb", "demo", "--no-browser", "--root", str(root), "--port", "18866",
        "--movies", "60", "--interval", "5",
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    until = time.monotonic() + 180
    while not (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, "no page within three minutes"
        time.sleep(0.3)
    yield process, found.group(), root
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.fixture
def open_page(chromium, demo):
    """Open the demo's page as often as wanted; all are closed at the end."""
    pages = []

    def opened():
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(180_000)
        page.goto(demo[1])
        page.wait_for_selector(".nb-track-transfer .nb-count-done")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
