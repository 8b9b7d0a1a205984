"""Takes the pictures of every page that the docs show: ``python docs/screenshots.py`` (make screenshots).

A session on simulated movies is run first, some minutes; --root DIR keeps it, and takes it when it is there.
"""

import argparse
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from nextpyp_nb.bench.browser import chromium, jupyterlab, served
from nextpyp_nb.demo import demo
from nextpyp_nb.session import open_session

OUT = Path(__file__).parent / "screenshots"
SIZE = {"width": 1440, "height": 900}
MOST = 150_000  # bytes a picture
# Page: what is pressed on it before the picture is taken.
PAGES = {
    "operation": (),
    "settings": (".nb-side-tab.nb-tab-picking",),
    "plots": (),
    "table": (),
    "gallery": (),
    "micrographs": (),
    "classes": (".nb-tile", ".nb-class-particles"),
}
DARK = ("operation", "plots", "micrographs")


def main() -> None:
    """Run the session where there is none, and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="where the session is, or is to be")
    parser.add_argument("--movies", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder)
        if not (root / "sessions" / "demo" / "session.json").is_file():
            demo(movies=options.movies, interval=3, headless=True, browser=False, root=root, seed=1, port=0)
        photograph(root / "sessions")


def photograph(root: Path) -> None:
    """Pictures of the session "demo" below ``root``, light, and some pages dark too."""
    OUT.mkdir(exist_ok=True)
    os.environ["NEXTPYP_NB_SITE"] = str(root / "none.toml")
    (root / "none.toml").write_text("")
    open_session("demo", root=root).close()
    with chromium() as browser, served(session="demo", root=root, kernels=1) as url:
        for theme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(120_000)
            page.goto(url if theme == "light" else f"{url}?theme=dark")
            page.wait_for_selector(".nb-track-preprocess .nb-count-done")
            for name, presses in PAGES.items():
                if theme == "light" or name in DARK:
                    page.locator(f".nb-tab-{name}").first.click()
                    page.wait_for_timeout(3000)
                    for press in presses:
                        page.locator(press).locator("visible=true").first.click()
                        page.wait_for_timeout(1500)
                    keep(page, name if theme == "light" else f"{name}-dark")
            if theme == "light":
                page.locator(".nb-to-sessions").click()
                page.wait_for_timeout(3000)
                keep(page, "sessions")
            page.close()
        with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder), root) as url:
            in_jupyterlab(browser, url)


def in_jupyterlab(browser: Any, url: str) -> None:
    """The side bar beside the launcher, and beside a session in a notebook, dark."""
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(120_000)
    page.goto(f"{url}lab?reset")
    page.wait_for_selector(".jp-LauncherCard")
    page.get_by_title("Cryo-EM sessions").click()
    page.wait_for_selector("[data-session=demo]")
    keep(page, "jupyterlab")
    page.evaluate(
        "() => { window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'}); }"
    )
    page.locator("[data-session=demo]").get_by_text("Open", exact=True).click()
    page.locator(".nb-tab-classes").first.click()
    page.wait_for_timeout(6000)
    keep(page, "jupyterlab-dark")
    page.close()


def keep(page: Any, name: str) -> None:
    """Write a picture with as many colours as fit into `MOST` bytes; pages full of noise get smaller."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for share in (1.0, 0.75, 0.6, 0.5, 0.4):
        size = round(shot.width * share), round(shot.height * share)
        smaller = shot.resize(size, Image.Resampling.LANCZOS)
        for colours in (256, 192):
            made = io.BytesIO()
            smaller.quantize(colours, Image.Quantize.FASTOCTREE).save(made, "PNG", optimize=True)
            if made.tell() <= MOST:
                (OUT / f"{name}.png").write_bytes(made.getvalue())
                return
    raise ValueError(f"the picture of {name} does not fit into {MOST:,} bytes")


if __name__ == "__main__":
    main()
