"""What Binder does with binder/, short of building an image: the page of its address shows the demo."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nextpyp_nb.serving import answers

pytestmark = pytest.mark.browser
TREE = Path(__file__).parents[2]
PORT = 18944


def test_the_environment_is_one_we_run_in():
    dependencies = yaml.safe_load((TREE / "binder" / "environment.yml").read_text())["dependencies"]
    minor = int(next(d for d in dependencies if d.startswith("python=")).removeprefix("python=3."))
    low, high = map(int, re.search(r">=3\.(\d+),<3\.(\d+)", (TREE / "pyproject.toml").read_text()).groups())
    assert low <= minor < high
    assert os.access(TREE / "binder" / "postBuild", os.X_OK)


def test_the_address_of_the_readme_shows_the_demo(chromium, tmp_path):
    urlpath = re.search(r"\?urlpath=(\S+?)`", (TREE / "README.md").read_text()).group(1)
    command = [
        TREE / "binder" / "start", sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root",
        f"--port={PORT}", "--IdentityProvider.token=",
    ]  # fmt: skip
    environment = os.environ | {
        "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    log = tmp_path / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=TREE, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until = time.monotonic() + 120
        while not answers(PORT):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.3)
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"http://127.0.0.1:{PORT}/{urlpath}")
        page.locator(".nb-session-line", has=page.get_by_title("demo", exact=True)).wait_for()
        page.locator(".nb-open").click()
        page.get_by_text("running since").first.wait_for()
        page.close()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
