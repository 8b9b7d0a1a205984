"""Headless Chromium on the demo's live page."""

import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from playwright.sync_api import sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    """The browser, for one module: its event loop must be gone before other tests run theirs."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


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
