"""The one cell of the notebooks: sessions, a new session, or a session's pages, in Lab and Voilà."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.session import list_sessions, open_session
from nextpyp_nb.settings import read_site
from nextpyp_nb.views.classes import ClassesPage
from nextpyp_nb.views.export_dialog import ExportDialog
from nextpyp_nb.views.gallery import GalleryPage
from nextpyp_nb.views.header import Header
from nextpyp_nb.views.late import Box, Button, share_anew
from nextpyp_nb.views.logs import LogViewer
from nextpyp_nb.views.main_thread import hear_on_main_thread
from nextpyp_nb.views.micrographs import MicrographsPage
from nextpyp_nb.views.new_session import NewSession
from nextpyp_nb.views.operation import OperationPage
from nextpyp_nb.views.pieces import Banner, button, column, flag, guarded, row, show
from nextpyp_nb.views.plots import PlotsPage
from nextpyp_nb.views.python_lines import PythonLines, Spoken
from nextpyp_nb.views.sessions import SessionsPage
from nextpyp_nb.views.settings_page import SettingsPage
from nextpyp_nb.views.state import LiveState, Snapshot, read_snapshot
from nextpyp_nb.views.table import TablePage
from nextpyp_nb.views.track_panel import TrackPanel, track_cell
from nextpyp_nb.views.widgets.grid_copies import GridCopies
from nextpyp_nb.views.widgets.presence import Presence

PAGES: dict[str, Callable[[Any, LiveState], Any]] = {
    "Operation": OperationPage,
    "Settings": SettingsPage,
    "Plots": PlotsPage,
    "Table": TablePage,
    "Gallery": GalleryPage,
    "Micrographs": MicrographsPage,
    "2D Classes": ClassesPage,
}


# Seconds between two pages that are made ahead.
WARM_EVERY = 0.2


class SessionPages(Box):
    """The frame of one session: header, tabs, and the page that is open; only that one is drawn."""

    def __init__(self, session: Any, live: LiveState, leave: Callable[[], None]) -> None:
        self.lines = PythonLines(session.name, session.folder.parent)
        session = Spoken(session, self.lines.lines.append)
        self.session, self.live, self.banner = session, live, live.banner
        self.header = Header(session, leave)
        self.export = ExportDialog(session, live)
        self.tabs = {name: _tab(name, self.choose) for name in PAGES}
        self.pages: dict[str, Any] = {}
        self.current = "Operation"
        space = Box()
        space.add_class("nb-grow")
        bar = row(
            *self.tabs.values(),
            space,
            self.lines.opener,
            button("Export…", self.export.toggle, "nb-link", "nb-export-open"),
            self.export,
            classes=("nb-tabs",),
        )
        self.body = column(classes=("nb-pages",))
        super().__init__([self.header, bar, self.lines, live.banner, self.body])
        self.add_class("nb-column")
        live.open_micrograph, live.show_class = self.open_micrograph, self.show_class
        self.choose(self.current)
        self.unsubscribe = live.subscribe(self.draw)
        live.beside(self._warm)

    @guarded
    def choose(self, name: str) -> None:
        """Open a page; it is made when first looked at."""
        self.current = name
        self.export.hide()
        if self.banner.error is None:
            self.banner.clear()
        if name not in self.pages:
            self.pages[name] = PAGES[name](self.session, self.live)
        for other, tab in self.tabs.items():
            flag(tab, "nb-current", other == name)
        for other, page in self.pages.items():
            show(page, other == name)
        if self.live.snapshot is not None:
            self.draw(self.live.snapshot)
        # A new page is sent as it is drawn.
        if self.pages[name] not in self.body.children:
            self.body.children = (*self.body.children, self.pages[name])

    async def _warm(self) -> None:
        """Make the other pages while nobody waits for them: the first look at one is slow.

        Not before the browser has drawn the one before: a busy one would show nothing meanwhile, and widgets
        that come while it loads are lost to it.
        """
        while left := [name for name in PAGES if name not in self.pages]:
            await asyncio.sleep(WARM_EVERY)
            await self.live.presence.quiet()
            if self.live.snapshot is not None:
                # Somebody may have opened it while we slept.
                name = next((name for name in left if name not in self.pages), None)
                for step in (self._make, self._draw_ahead, self._send) if name else ():
                    step(name)
                    # Whoever clicks meanwhile does not wait for all three.
                    await asyncio.sleep(0)

    @guarded
    def _make(self, name: str) -> None:
        self.pages[name] = PAGES[name](self.session, self.live)

    @guarded
    def _draw_ahead(self, name: str) -> None:
        self.pages[name].draw(self.live.snapshot)

    @guarded
    def _send(self, name: str) -> None:
        page = self.pages[name]
        show(page, self.current == name)
        if page not in self.body.children:
            self.body.children = (*self.body.children, page)

    @guarded
    def open_micrograph(self, name: str) -> None:
        """Show one micrograph on its page, as a click elsewhere asks."""
        self.choose("Micrographs")
        self.pages["Micrographs"].go_to(name)

    @guarded
    def show_class(self, entry: dict[str, Any], name: str | None = None) -> None:
        """Ring the particles of a class on the micrographs, beginning with the one of that name."""
        self.choose("Micrographs")
        self.pages["Micrographs"].mark_class(entry, name)

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the header and the open page."""
        flag(self, "nb-reader", not snapshot.writer)
        self.header.draw(snapshot)
        self.lines.draw(snapshot)
        self.pages[self.current].draw(snapshot)


class App(Box):
    """The whole page: ``session`` is a name, a Session or None for the list of sessions under ``root``."""

    def __init__(self, session: Any = None, root: Path | str | None = None, *, new: bool = False) -> None:
        hear_on_main_thread()
        share_anew()
        self.root = Path(root).expanduser() if root else None
        self.presence, self.banner = Presence(), Banner()
        self.live: LiveState | None = None
        self.place = column()
        super().__init__([self.presence, GridCopies(), self.place])
        for name in ("nb-column", "nb-app", "nb-page"):
            self.add_class(name)
        if session:
            self.show_session(session)
        elif new:
            self.show_new()
        else:
            self.show_sessions()

    @guarded
    def show_session(self, session: Any) -> None:
        """Show a session's pages."""
        try:
            found = open_session(session, root=self.root) if isinstance(session, str) else session
        except (OSError, ValueError) as error:
            self.show_sessions()
            self.banner.show(error)
            return
        self._follow(
            LiveState(lambda: read_snapshot(found), found.version, banner=self.banner, presence=self.presence)
        )
        assert self.live is not None
        self.place.children = (SessionPages(found, self.live, self.show_sessions),)

    @guarded
    def show_sessions(self) -> None:
        """Show the list of sessions."""
        self._follow(
            LiveState(self._list, self._list, banner=self.banner, presence=self.presence, period=2.0)
        )
        assert self.live is not None
        root = self.root or read_site().sessions_root
        self.place.children = (self.banner, SessionsPage(self.live, self.show_session, self.show_new, root))

    @guarded
    def show_new(self) -> None:
        """Show the form for a new session."""
        self._close()
        form = NewSession(self.banner, self.show_session, self.root, cancelled=self.show_sessions)
        self.place.children = (self.banner, form)

    def _list(self) -> list[Any]:
        return list_sessions(self.root)

    def _follow(self, live: LiveState) -> None:
        self._close()
        self.banner.clear()
        self.live = live
        live.start()

    def _close(self) -> None:
        if self.live is not None:
            self.live.close()
            self.live = None


def track_panel(session: Any, track: str, root: Path | str | None = None) -> Box:
    """One track's row, live, to stand alone in a cell."""
    found = open_session(session, root=root) if isinstance(session, str) else session
    hear_on_main_thread()
    share_anew()
    live = LiveState(lambda: read_snapshot(found), found.version)
    log = LogViewer()
    panel = TrackPanel(found, track, live, log.open_track)
    cell = track_cell(panel, log, live)
    live.subscribe(log.draw)
    live.start()
    return cell


def _tab(name: str, choose: Callable[[str], None]) -> Button:
    made = button(name, lambda: choose(name), f"nb-tab-{name.split()[-1].lower()}")
    made.remove_class("nb-button")
    made.add_class("nb-tab")
    return made
