"""The page for staff: only with its token, only this page, and no code from the browser."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from nextpyp_nb.serving import answers
from nextpyp_nb.session import create_session
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


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("serve")
    settings = Settings.from_flat(
        {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    create_session("grid-9", settings=settings, root=root / "sessions")
    log = root / "serve.log"
    command = [
        sys.executable, "-m", "nextpyp_nb", "serve", "--root", str(root / "sessions"), "--port", "18899",
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    until = time.monotonic() + 120
    while not answers(18899):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.3)
    yield re.search(r"Page: (http\S+)", log.read_text()).group(1), root
    process.send_signal(signal.SIGINT)
    process.wait(60)


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
