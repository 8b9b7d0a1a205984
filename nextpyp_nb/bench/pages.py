"""How quick the pages are with many micrographs: a made-up session in Voilà, looked at in Chromium."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nextpyp_nb.bench.browser import chromium, served
from nextpyp_nb.bench.loop_watch import turns
from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.bench.synthetic import add_micrographs, synthetic_session
from nextpyp_nb.session import Session

WAIT = 120_000  # ms, for anything
TABS = ("operation", "settings", "plots", "table", "gallery", "micrographs", "classes")
# What is wanted of each figure.
AIMS = {
    "click to interactive, kernel ready": 9.0,
    "first cell to tabs and first page": 3.0,
    "new micrograph to screen, worst": 0.5,
    "sort the table to screen": 0.3,
    "filter the table to screen": 0.3,
    "gallery: longest blank, scrolling": 0.2,
    "gallery: longest blank, jumping": 0.2,
    "kernel's loop: longest turn, CPU": 0.05,
}
# Words drawn on a canvas are seen here, which is how a grid shows rows.
SPY = """() => { const draw = CanvasRenderingContext2D.prototype.fillText;
  window.nbWords = new Map();
  CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
    window.nbWords.set(text, Date.now()); return draw.call(this, text, ...more); }; }"""
# When what is wanted stands in what the browser drew next.
SEEN = """([selector, words]) => new Promise((found) => {
  const there = () => [...document.querySelectorAll(selector)].some(
    (element) => element.innerText.includes(words) && element.offsetParent);
  const look = () => {
    there() ? requestAnimationFrame(() => found(Date.now() / 1000)) : setTimeout(look, 5); };
  look(); })"""
DOTS = """() => [...document.querySelectorAll('.nb-plot-series-1 path.line')].some(
  (path) => (path.getAttribute('d') || '').length > 1000)"""
# Words drawn from now on count, and time runs from the next press of the mouse.
PRESS = """() => { window.nbWords.clear();
  document.addEventListener('mousedown', () => { window.nbPressed = Date.now(); },
    { once: true, capture: true }); }"""
SCROLL = """async () => {
  const frame = document.querySelector('.nb-gallery-frame');
  const whole = () => { const b = frame.getBoundingClientRect();
    const seen = [...frame.querySelectorAll('.nb-gallery-tile')].filter((t) => {
      const r = t.getBoundingClientRect(); return r.bottom > b.top && r.top < b.bottom; });
    return seen.length > 8 && seen.every((t) => !t.classList.contains('nb-blank')
      && t.querySelector('img').complete && t.querySelector('img').naturalWidth > 0); };
  while (!whole()) await new Promise((r) => setTimeout(r, 10));
  let longest = 0, since = null;
  const look = () => { const now = performance.now();
    since = whole() ? null : since ?? now;
    if (since !== null) longest = Math.max(longest, now - since); };
  for (let i = 0; i < 120; i++) { frame.scrollTop += 60; await new Promise(requestAnimationFrame); look();
    await new Promise((r) => setTimeout(r, 15)); }
  const steady = longest; longest = 0;
  for (const at of [60000, 20000, 90000]) { since = null; frame.scrollTop = at;
    for (let i = 0; i < 40; i++) { await new Promise((r) => setTimeout(r, 20)); look(); } }
  return [steady / 1000, longest / 1000]; }"""


def bench_pages(*, micrographs: int, updates: int, out: Path | None) -> int:
    """Print what is measured beside its aim, with the load of the machine; 1 when something misses."""
    rows: list[dict[str, Any]] = []

    def note(what: str, value: float, unit: str = "s") -> None:
        aim = AIMS.get(what)
        held = "" if aim is None else "held" if value <= aim else "missed"
        rows.append({"what": what, "measured": round(value, 3), "unit": unit, "aim": aim, "": held,
                     "load": round(os.getloadavg()[0], 1)})  # fmt: skip

    with tempfile.TemporaryDirectory(prefix="nextpyp-pages-") as folder, chromium() as browser:
        root = Path(folder)
        (root / "site.toml").write_text("")
        os.environ["NEXTPYP_NB_SITE"] = str(root / "site.toml")
        session = synthetic_session(root, micrographs)
        try:
            _kernel(session, note)
            _open(browser, session, note)
            _use(browser, session, updates, note)
        finally:
            show(rows, ("what", "measured", "unit", "aim", "", "load"))
    write_json(out, rows, micrographs=micrographs, updates=updates)
    return int(any(row[""] == "missed" for row in rows))


def _watched(session: Session) -> tuple[Path, str]:
    path = session.folder.parent / "loop.jsonl"
    return path, f"from nextpyp_nb.bench.loop_watch import watch\nwatch({str(path)!r})"


def _page(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(WAIT)
    page.add_init_script(f"({SPY})()")
    page.goto(url, wait_until="commit")
    return page


def _seen(page: Any, selector: str, words: str) -> float:
    return float(page.evaluate(SEEN, [selector, words]))


def _open(browser: Any, session: Session, note: Callable[..., None]) -> None:
    """A page whose kernel begins with the click, and one whose kernel was ready."""
    path, first = _watched(session)
    with served(session=session.name, root=session.folder.parent, first=first) as url:
        clicked = time.time()
        page = _page(browser, url)
        shown = _shown(page)
        began = turns(path)[0]["began"]
        note("first cell to tabs and first page", shown - began)
        note("first cell to all seven pages made", _all_made(page) - began)
        note("click to interactive, no kernel ready", shown - clicked)
        page.close()
    with served(session=session.name, root=session.folder.parent, kernels=1, first=first) as url:
        while not path.exists() or time.time() - path.stat().st_mtime < 2:
            time.sleep(0.2)
        time.sleep(3)
        clicked = time.time()
        page = _page(browser, url)
        note("click to interactive, kernel ready", _shown(page) - clicked)
        note("click to all seven pages made, kernel ready", _all_made(page) - clicked)
        page.close()


def _shown(page: Any) -> float:
    for tab in TABS:
        page.wait_for_selector(f".nb-tab-{tab}")
    page.wait_for_selector(".nb-track-preprocess .nb-count-done")
    return float(page.evaluate("() => new Promise((f) => requestAnimationFrame(() => f(Date.now() / 1000)))"))


def _all_made(page: Any) -> float:
    made = f"() => document.querySelectorAll('.nb-pages > *').length >= {len(TABS)}"
    page.wait_for_function(made, polling=20)
    return float(page.evaluate("Date.now() / 1000"))


def _use(browser: Any, session: Session, updates: int, note: Callable[..., None]) -> None:
    path, first = _watched(session)
    path.unlink(missing_ok=True)
    with served(session=session.name, root=session.folder.parent, kernels=1, first=first) as url:
        page = _page(browser, url)
        _shown(page)
        _all_made(page)
        page.wait_for_timeout(2000)
        settled = time.time()
        for tab in TABS:
            note(f"first look: {tab}", _look(page, tab))
        for tab in TABS:
            note(f"second look: {tab}", _look(page, tab))
        _update(page, session, note)
        _sort_and_filter(page, session, note)
        _look(page, "gallery")
        blank = page.evaluate(SCROLL)
        note("gallery: longest blank, scrolling", blank[0])
        note("gallery: longest blank, jumping", blank[1])
        watched, lines = turns(path)
        late = [line for line in lines if line["at"] > settled]
        note("kernel's loop: longest turn, CPU", max((line["cpu"] for line in late), default=0.0))
        note("kernel's loop: turns over 50 ms of CPU", sum(line["cpu"] > 0.05 for line in late), "")
        _last(page, session, updates, watched["process"], note)
        page.close()


def _look(page: Any, tab: str) -> float:
    began = time.time()
    page.locator(f".nb-tab-{tab}").first.click()
    page.locator(f".nb-{tab if tab != 'settings' else 'settings-right'}").locator(
        "visible=true"
    ).first.wait_for()
    if tab == "plots":
        page.wait_for_function(DOTS, polling=10)
    return float(page.evaluate("Date.now() / 1000")) - began


# What says on each page that one more micrograph is there; Plots is asked for its path.
COUNTS = {
    "operation": (".nb-track-preprocess .nb-count-done b", "{:,}"),
    "table": (".nb-table .nb-selected-count", "{:,} micrographs"),
    "gallery": (".nb-gallery .nb-gallery-count", "{:,} shown"),
    "micrographs": (".nb-micrographs .nb-count", "of {:,}"),
}


def _update(page: Any, session: Session, note: Callable[..., None], times: int = 10) -> None:
    """From before the row is written until it is on the screen, page by page."""
    worst = 0.0
    for tab in ("operation", "plots", "table", "gallery", "micrographs"):
        _look(page, tab)
        page.wait_for_timeout(1000)
        took = [_one_more(page, session, tab) for _ in range(times)]
        note(f"new micrograph to screen: {tab}, median of {times}", statistics.median(took))
        worst = max(worst, *took)
    note("new micrograph to screen, worst", worst)


def _one_more(page: Any, session: Session, tab: str) -> float:
    count = len(session.micrographs)
    page.wait_for_timeout(300)
    if tab == "plots":
        page.evaluate(
            """() => { window.nbDrawn = 0; window.nbObserver?.disconnect();
            window.nbObserver = new MutationObserver(() => { window.nbDrawn ||= Date.now() / 1000; });
            window.nbObserver.observe(document.querySelector('.nb-plot-series-1'),
              { subtree: true, attributes: true, attributeFilter: ['d'] }); }"""
        )
    began = time.time()
    add_micrographs(session, 1, first=count)
    if tab == "plots":
        page.wait_for_function("() => window.nbDrawn > 0", polling=5)
        return float(page.evaluate("window.nbDrawn")) - began
    selector, words = COUNTS[tab]
    return _seen(page, selector, words.format(count + 1)) - began


def _sort_and_filter(page: Any, session: Session, note: Callable[..., None]) -> None:
    _look(page, "table")
    grid = page.locator(".nb-table .lm-DataGrid-viewport").locator("visible=true").first
    box, table = grid.bounding_box(), session.micrographs
    took = []
    for ascending in (False, True):
        ordered = table.sort_values("fit_resolution", ascending=ascending, kind="stable")
        place = table.index.get_loc(ordered.index[8]) + 1
        page.wait_for_timeout(1500)
        took.append(_drawn(page, f"{place:,}", lambda: page.mouse.click(box["x"] + 370, box["y"] + 12)))
    note("sort the table to screen", max(took))
    page.mouse.click(box["x"] + 370, box["y"] + 12)
    took = []
    for least in (230, 240, 250):
        page.locator(".nb-table .nb-add-condition").click()
        page.locator(".nb-table .nb-condition-column select").select_option(label="Particles")
        page.locator(".nb-table .nb-condition-low input").fill(str(least))
        page.wait_for_timeout(1500)
        places = np.flatnonzero(table["particles"] >= least) + 1
        add = page.locator(".nb-table .nb-condition-add")
        took.append(_drawn(page, f"{places[-8]:,}", add.click))
        page.locator(".nb-table .nb-clear-selection").click()
    note("filter the table to screen", max(took))


def _drawn(page: Any, word: str, act: Callable[[], Any]) -> float:
    """From an act of the mouse until a word stands on a canvas."""
    page.evaluate(PRESS)
    act()
    page.wait_for_function("(word) => window.nbWords.has(word)", arg=word, polling=5)
    return float(page.evaluate("(word) => (window.nbWords.get(word) - window.nbPressed) / 1000", word))


def _last(page: Any, session: Session, updates: int, kernel: int, note: Callable[..., None]) -> None:
    """Memory of browser and kernel over many new micrographs, with Plots open."""
    _look(page, "plots")
    protocol, process = page.context.new_cdp_session(page), psutil.Process(kernel)

    def memory() -> tuple[float, float, float]:
        protocol.send("HeapProfiler.collectGarbage")
        heap = protocol.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        renderers = [p for p in psutil.Process().children(recursive=True) if "--type=renderer" in p.cmdline()]
        whole = max((p.memory_info().rss for p in renderers), default=0) / 1e6
        return heap, whole, process.memory_info().rss / 1e6

    seen, began = [], time.time()
    for n in range(updates):
        if n % max(1, updates // 10) == 0:
            seen.append(memory())
        _one_more_quick(page, session)
    seen.append(memory())
    half = np.array(seen)[len(seen) // 2 :]
    for place, of in enumerate(("JavaScript heap", "browser's page", "kernel")):
        first, last = half[0, place], half[-1, place]
        note(f"{of} after {updates // 2} new micrographs", first, "MB")
        note(f"{of} after {updates}", last, "MB")
    note(f"seconds for {updates} new micrographs", time.time() - began)


def _one_more_quick(page: Any, session: Session) -> None:
    count = len(session.micrographs)
    add_micrographs(session, 1, first=count)
    words = f"{count + 1:,} micrographs"
    page.evaluate(SEEN, [".nb-plots .nb-selected-count", words])


def _kernel(session: Session, note: Callable[..., None]) -> None:
    """CPU of the kernel alone for a sort, a filter, and a new micrograph on each page."""
    from nextpyp_nb.views.app import PAGES
    from nextpyp_nb.views.state import LiveState, read_snapshot

    live = LiveState(lambda: read_snapshot(session), session.version)
    note("kernel: read a snapshot, CPU", _cpu(live.refresh))
    pages = {name: page(session, live) for name, page in PAGES.items()}
    for page in pages.values():
        page.draw(live.snapshot)
    table = pages["Table"]
    for what, act in (
        ("sort", lambda: table.grid.sort_by("score")),
        ("filter", lambda: live.selection.load("particles>=200")),
    ):
        note(f"kernel: {what} the table, CPU", _cpu(act))
    live.selection.clear()
    add_micrographs(session, 1, first=len(session.micrographs))
    live.refresh()
    for name, page in pages.items():
        note(f"kernel: draw {name} with one more, CPU", _cpu(lambda page=page: page.draw(live.snapshot)))


def _cpu(act: Callable[[], Any]) -> float:
    began = time.thread_time()
    act()
    return time.thread_time() - began
