"""The page for staff: only with its token, only this page, and no code from the browser."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from nextpyp_nb.serving import answers, free_port
from nextpyp_nb.session import create_session
from nextpyp_nb.session.groups import user_name
from nextpyp_nb.session.store import Reader
from nextpyp_nb.settings import Settings

pytestmark = pytest.mark.browser

# How often Voilà's application is loaded, whether before the first cell, and whether it waits for the last.
BEGUN = """() => { const begun = document.querySelectorAll('script[src$="/voila.js"]');
  const cell = document.querySelector("[cell-index]");
  return [begun.length, !!(begun[0].compareDocumentPosition(cell) & Node.DOCUMENT_POSITION_FOLLOWING),
    window.jupyterapp.isPluginActivated("nextpyp-page:whole")]; }"""
# Sends code, then a question on the same channel: when the question is answered, the code would have run.
SEND = """([kernel, token, code]) => new Promise((resolve, reject) => {
  const url = `ws://${location.host}/api/kernels/${kernel}/channels?session_id=probe&token=${token}`;
  const socket = new WebSocket(url);
  const message = (type, content) => JSON.stringify({
    channel: "shell", content, metadata: {}, parent_header: {}, buffers: [],
    header: {msg_id: type, msg_type: type, username: "", session: "probe", version: "5.3", date: ""}});
  socket.onopen = () => {
    socket.send(message("execute_request", {code, silent: false, store_history: false}));
    socket.send(message("kernel_info_request", {}));
  };
  socket.onerror = () => reject("no websocket");
  socket.onmessage = event => {
    if (JSON.parse(event.data).header.msg_type === "kernel_info_reply") resolve("answered");
  };
})"""


SETTINGS = Settings.from_flat(
    {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
)


@contextmanager
def _serving(root, *options, **environment):
    """The address that `nextpyp-nb serve` prints."""
    log = root / "serve.log"
    port = free_port(18899)
    command = [
        sys.executable, "-m", "nextpyp_nb", "serve", "--root", str(root / "sessions"), "--port", str(port),
        *options,
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | environment,
        )  # fmt: skip
    until = time.monotonic() + 120
    while not ((found := re.search(r"Page: (http\S+:(\d+)\S+)", log.read_text())) and answers(int(found[2]))):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.3)
    yield found[1]
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("serve")
    create_session("grid-9", settings=SETTINGS, root=root / "sessions").close()
    with _serving(root) as url:
        yield url, root


def _refused(url):
    """Whether we are sent to the login, or away."""
    try:
        with urllib.request.urlopen(url) as answer:
            return "/login" in answer.geturl()
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)


def test_the_list_of_sessions_for_those_with_the_token(chromium, served):
    url, root = served
    address, _, token = url.partition("?token=")
    assert len(token) >= 32
    for path in ("", "api/kernels/x", "voila/files/page.ipynb"):
        assert _refused(address + path), path
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(address)
    assert page.locator(".nb-app").count() == 0
    page.goto(url)
    page.get_by_title("grid-9", exact=True).wait_for()
    for path in ("voila/files/page.ipynb", "voila/files/voila.json", "voila/render/../page.ipynb"):
        answer = page.request.get(f"{address}{path}?token={token}")
        assert "token_urlsafe" not in answer.text()
        assert '"cells"' not in answer.text()
        assert token not in answer.text()
    kernel = page.evaluate("() => JSON.parse(document.getElementById('jupyter-config-data').text).kernelId")
    code = f"open({str(root / 'ran')!r}, 'w').close()"
    assert page.evaluate(SEND, [kernel, token, code]) == "answered"
    assert not (root / "ran").exists()
    page.locator(".nb-open").click()
    page.wait_for_selector(".nb-track-transfer")
    page.close()


def test_a_page_behind_a_proxy_acts_for_whom_its_header_names(chromium, tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    site.write_text(
        f'service_accounts = ["{user_name()}"]\n[groups.cryo]\noperators = ["ada"]\nreaders = ["bob"]\n'
    )
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(site))
    session = create_session("grid-3", settings=SETTINGS, root=tmp_path / "sessions", group="cryo")
    with _serving(tmp_path, "--behind-proxy", "--person-header", "Remote-User") as url:
        for person in ("ada", "bob", "eve"):
            context = chromium.new_context(extra_http_headers={"Remote-User": person})
            page = context.new_page()
            page.set_default_timeout(120_000)
            page.goto(url)
            page.wait_for_selector(".nb-sessions .nb-session-search")
            if person == "eve":
                page.wait_for_timeout(1000)
                assert page.get_by_title("grid-3", exact=True).count() == 0
                context.close()
                continue
            page.locator(".nb-open").click()
            start = page.locator(".nb-track-transfer .nb-start")
            expect(page.locator(".nb-track-transfer .nb-logs")).to_be_visible(timeout=120_000)
            expect(start).to_be_visible(visible=person == "ada")
            if person == "ada":
                start.click()
                expect(page.locator(".nb-track-transfer")).to_contain_text("waiting for it", timeout=60_000)
            context.close()
    reader = Reader(session.folder / "session.db")
    assert reader.rows("SELECT actor, name FROM command")[0] == {"actor": "ada", "name": "start"}
    reader.close()
    assert session.cancel().wait(20).ok
    session.close()
