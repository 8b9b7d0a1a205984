"""A page of Voilà, or JupyterLab, looked at in headless Chromium, as tests and screenshots need them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from nextpyp_nb.serving import answers, free_port, page_server, page_url

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
NEWS = "@jupyterlab/apputils-extension:announcements"
PREBUILT = Path(__file__).parents[2] / "labextension" / "prebuilt"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Where Chromium is installed, if it is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright; says what is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise RuntimeError("this needs playwright: pip install playwright") from None
    path = browser_path()
    if path is None:
        raise RuntimeError("this needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def served(
    *, session: str | None, root: Path, kernels: int = 0, first: str = "", port: int = 18910
) -> Iterator[str]:
    """The address of a page of ``root``; ``first`` is code run before it in the same kernel."""
    with tempfile.TemporaryDirectory(prefix="nextpyp-page-") as folder:
        place, port = Path(folder), free_port(port)
        command, environment = page_server(
            place, session=session, root=root, port=port, token="", kernels=kernels
        )
        if first:
            notebook = nbformat.read(place / "page.ipynb", as_version=4)
            notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
            nbformat.write(notebook, place / "page.ipynb")
        with (place / "voila.log").open("wb") as log:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | environment,
                start_new_session=True,
            )  # fmt: skip
        try:
            until = time.monotonic() + 60
            while not answers(port):
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"no page: {(place / 'voila.log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield page_url(place)
        finally:
            server.terminate()
            server.wait(20)


@contextmanager
def jupyterlab(top: Path, sessions: Path, port: int = 18877) -> Iterator[str]:
    """The address of a JupyterLab over ``top``/home, with the side bar of this checkout and ``sessions``."""
    for made in (top / "home", sessions, top / "jupyter" / "labextensions"):
        made.mkdir(parents=True, exist_ok=True)
    (top / "jupyter" / "labextensions" / "nextpyp-nb").symlink_to(PREBUILT)
    # It would ask for leave to fetch news, over the pages.
    settings = top / "config" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"disabledExtensions": {NEWS: True}}))
    (top / "site.toml").write_text(f"root = {json.dumps(str(sessions))}\n")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={top / 'home'}",
        "--LabApp.expose_app_in_browser=True",
        "--ServerApp.jpserver_extensions={'nextpyp_nb.server': True}",
    ]  # fmt: skip
    environment = os.environ | {
        "JUPYTER_PATH": str(top / "jupyter"), "NEXTPYP_NB_SITE": str(top / "site.toml"),
        "JUPYTER_CONFIG_DIR": str(top / "config"),
    }  # fmt: skip
    log = top / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        until = time.monotonic() + 90
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no JupyterLab: {log.read_text()[-2000:]}")
            time.sleep(0.3)
        yield found.group()
    finally:
        server.terminate()
        server.wait(30)
