"""The documented JupyterHub: a page where staff operate and scientists look, and servers of their own."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from nextpyp_nb.serving import answers
from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.groups import role, user_name
from nextpyp_nb.session.store import Reader
from nextpyp_nb.settings import Settings, read_site

TREE = Path(__file__).parents[2]
CONFIG = TREE / "docs" / "jupyterhub_config.py"
PREBUILT = TREE / "labextension" / "prebuilt"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
PROXY = "configurable-http-proxy"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        importlib.util.find_spec("jupyterhub") is None or not shutil.which(PROXY, path=PATH),
        reason="needs jupyterhub (pip) and configurable-http-proxy (npm)",
    ),
]
PORTS = (18000, 18001, 18081)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The documented configuration with a dummy authenticator; its address."""
    top = tmp_path_factory.mktemp("hub")
    site = top / "site.toml"
    site.write_text(
        f'root = "{top}/sessions"\nhub_groups = "{top}/groups.json"\nservice_accounts = ["{user_name()}"]\n'
        '[groups.krios]\noperators = ["@staff"]\nreaders = ["@scientists"]\n'
    )
    settings = Settings.from_flat(
        {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    create_session("grid-5", settings=settings, root=top / "sessions", group="krios").close()
    create_session("grid-6", settings=settings, root=top / "sessions", group="others").close()
    kept = {"PATH": PATH, "NEXTPYP_NB_SITE": str(site)}
    if "PYTHONPATH" in os.environ:
        kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
    # The side bar of this checkout, wherever the package is installed.
    (top / "labextensions").mkdir()
    (top / "labextensions" / "nextpyp-nb").symlink_to(PREBUILT)
    config = top / "config.py"
    config.write_text(
        CONFIG.read_text()
        + f"""
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "x"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.bind_url = "http://127.0.0.1:{PORTS[0]}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{PORTS[1]}"
c.JupyterHub.hub_port = {PORTS[2]}
for service in c.JupyterHub.services:
    service["environment"] = {kept!r}
c.Spawner.environment = {kept | {"JUPYTER_PATH": str(top)}!r}
c.Spawner.args = ["--allow-root", "--ServerApp.jpserver_extensions={{'nextpyp_nb.server': True}}"]
c.SimpleLocalProcessSpawner.home_dir_template = "{top}/home/{{username}}"
c.JupyterHub.services[1]["command"][-1] = "{top}/groups.json"
"""
    )
    log = top / "hub.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            cwd=top, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"PATH": PATH},
        )  # fmt: skip
    until = time.monotonic() + 180
    while "Route added /services/sessions" not in log.read_text() or not answers(10101):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.3)
    yield f"http://127.0.0.1:{PORTS[0]}", top
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)


def _log_in(chromium, hub, name, where="services/sessions/"):
    page = chromium.new_context().new_page()
    page.set_default_timeout(90_000)
    page.goto(f"{hub[0]}/{where}")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", "x")
    page.click("#login_submit")
    return page


def _open(page):
    page.get_by_title("grid-5", exact=True).wait_for()
    # Of a group in which nobody here is.
    assert page.get_by_title("grid-6", exact=True).count() == 0
    page.locator(".nb-open").click()
    page.wait_for_selector(".nb-track-transfer")


def test_staff_operate_by_their_own_name(chromium, hub):
    page = _log_in(chromium, hub, "operator")
    _open(page)
    page.locator(".nb-track-transfer .nb-start").click()
    expect(page.locator(".nb-track-transfer")).to_contain_text("waiting for it to appear", timeout=60_000)
    page.context.close()
    session = open_session("grid-5", root=hub[1] / "sessions")
    reader = Reader(session.folder / "session.db")
    assert reader.rows("SELECT actor, name FROM command")[0] == {"actor": "operator", "name": "start"}
    reader.close()
    assert session.cancel().wait(20).ok
    session.close()


def test_scientists_look_and_do_not_operate(chromium, hub):
    page = _log_in(chromium, hub, "ada")
    _open(page)
    expect(page.locator(".nb-track-transfer .nb-logs")).to_be_visible()
    expect(page.locator(".nb-track-transfer .nb-start")).to_be_hidden()
    page.context.close()


def test_others_do_not_get_in(chromium, hub):
    page = _log_in(chromium, hub, "eve")
    page.get_by_text("403").first.wait_for()
    assert page.locator(".nb-app").count() == 0
    page.context.close()


def test_scientists_have_servers_of_their_own(chromium, hub):
    page = _log_in(chromium, hub, "ada", "hub/spawn/ada")
    page.get_by_title("Cryo-EM sessions").click()
    page.wait_for_selector("[data-session=grid-5]")
    page.locator(".jp-LauncherCard", has_text="New Single-Particle Session").click()
    page.wait_for_selector(".nb-new-session .nb-create")
    page.context.close()
    other = _log_in(chromium, hub, "operator", "user/ada/lab")
    other.get_by_text("403").first.wait_for()
    other.context.close()


def test_groups_of_the_hub_are_groups_of_sessions(hub):
    until = time.monotonic() + 60
    while not (file := hub[1] / "groups.json").is_file():
        assert time.monotonic() < until, (hub[1] / "hub.log").read_text()
        time.sleep(0.2)
    assert json.loads(file.read_text()) == {"staff": ["operator"], "scientists": ["ada"]}
    site = read_site(hub[1] / "site.toml")
    assert role("operator", "eva", "staff", site) == "operator"
    assert role("ada", "eva", "staff", site) == "none"
