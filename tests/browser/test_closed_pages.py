"""A closed page lets its kernel end, though its session goes on; one that stays open keeps its own."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import expect

from nextpyp_nb.serving import answers, page_server, page_url
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from tests.browser.made import made_session
from tests.browser.test_lab import wait_for_brightness

pytestmark = pytest.mark.browser
PORT = 18933
# Seconds that a kernel may be idle. A page falls silent for half a minute before it counts as closed.
IDLE = 5
KERNEL = "() => JSON.parse(document.getElementById('jupyter-config-data').text).kernelId"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page of a session as `nextpyp-nb serve` has it, but with little patience for closed pages."""
    root, place = tmp_path_factory.mktemp("closed"), tmp_path_factory.mktemp("page")
    session = made_session(root)
    session.close()
    command, environment = page_server(place, session="grid", root=root, port=PORT, token="")
    config = json.loads((place / "voila.json").read_text())
    assert config["MappingKernelManager"] == {"cull_idle_timeout": 120, "cull_interval": 30}
    config["MappingKernelManager"] = {"cull_idle_timeout": IDLE, "cull_interval": 1}
    (place / "voila.json").write_text(json.dumps(config))
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | environment, start_new_session=True
        )
    until = time.monotonic() + 60
    while not answers(PORT):
        assert server.poll() is None, (place / "log").read_text()
        assert time.monotonic() < until
        time.sleep(0.2)
    yield page_url(place), session.folder
    server.terminate()
    server.wait(20)


def _runs(url, kernel):
    try:
        with urllib.request.urlopen(f"{url}api/kernels/{kernel}"):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 404


def test_the_kernel_of_a_closed_page_ends_and_that_of_an_open_one_stays(chromium, served):
    url, folder = served
    kernels, pages = [], []
    for _ in range(2):
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_selector(".nb-track-transfer .nb-count-done")
        pages.append(page)
        kernels.append(page.evaluate(KERNEL))
    assert all(_runs(url, kernel) for kernel in kernels)
    closed, number = time.monotonic(), 0
    pages[1].close()
    # What a page draws counts as use of its kernel: it must stop to draw when nobody looks.
    with Store(folder / "session.db") as store, acquire(store):
        while _runs(url, kernels[1]):
            assert time.monotonic() < closed + 90, "the kernel of the closed page still runs"
            number += 1
            store.add_movies([{"name": f"new_{number}", "source": f"/camera/new_{number}.tiff", "size": 1}])
            time.sleep(1)
    assert _runs(url, kernels[0])
    expect(pages[0].locator(".nb-track-transfer")).to_contain_text(f"{number} waiting")
    pages[0].close()


def test_a_page_is_heard_though_an_answer_of_the_kernel_was_lost(chromium, whole):
    """As after a laptop slept: widgets say no more while they wait for an answer."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    drawn, lost = [], []

    def connect(socket):
        def lose(message):
            if drawn and not lost and b'"idle"' in message and b"comm_msg" in message:
                lost.append(message)
            else:
                socket.send(message)

        socket.connect_to_server().on_message(lose)

    page.route_web_socket(lambda address: "/channels" in address, connect)
    page.goto(whole[0])
    page.locator(".nb-session-line", has=page.get_by_title("grid", exact=True)).locator(".nb-open").click()
    page.locator(".nb-tab-table").first.click()
    wait_for_brightness(page, lambda value: value > 200)
    # The pages behind the tabs come when the browser is quiet; then only the beat speaks.
    page.wait_for_function("document.querySelectorAll('.nb-pages > *').length === 7")
    page.wait_for_timeout(3000)
    drawn.append(True)
    while not lost:
        page.wait_for_timeout(200)
    # The page around the Table's canvas stays as it is.
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    wait_for_brightness(page, lambda value: value < 150)
    page.close()
