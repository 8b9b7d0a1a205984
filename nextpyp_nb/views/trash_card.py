"""Sessions in the trash: taken back, or removed for ever once it is said what goes."""

from pathlib import Path
from typing import Any

from nextpyp_nb.session import TrashedSession, list_trash, remove_trashed, restore_session
from nextpyp_nb.session.disk import DiskUse, disk_use
from nextpyp_nb.views.late import Box, Text
from nextpyp_nb.views.markup import Markup, clock, markup, number, size
from nextpyp_nb.views.pieces import button, column, group, guarded, row, say, show, shown, text
from nextpyp_nb.views.state import LiveState

MOVED = "number of moved movies"


class TrashCard(Box):
    """A line a session; there is no card while the trash is empty."""

    def __init__(self, live: LiveState, root: Path) -> None:
        self.live, self.root = live, root
        self.lines: dict[Path, _Line] = {}
        self.entries = column()
        title = markup("<b>Trash</b><span>deleted sessions take up disk until they are removed</span>")
        super().__init__([text(title, "nb-card-title"), self.entries])
        for name in ("nb-column", "nb-card", "nb-trash", "nb-hidden"):
            self.add_class(name)

    def draw(self) -> None:
        """Look beside the page what lies in the trash."""
        self.live.fetch(lambda: list_trash(self.root), self._show)

    def _show(self, entries: list[TrashedSession]) -> None:
        show(self, bool(entries))
        self.lines = {e.folder: self.lines.get(e.folder) or _Line(e, self.live, self.draw) for e in entries}
        lines = tuple(self.lines.values())
        if lines != self.entries.children:
            self.entries.children = lines


class _Line(Box):
    """One session in the trash."""

    def __init__(self, entry: TrashedSession, live: LiveState, changed: Any) -> None:
        self.entry, self.live, self.banner, self._changed = entry, live, live.banner, changed
        words = markup(
            '<b>{name}</b> <span class="nb-muted">deleted {time} by {by}{rest}</span>',
            name=entry.name,
            time=clock(entry.deleted),
            by=entry.by,
            rest="" if entry.whole else "; its removal was cut short",
        )
        self.restore = button("Restore", self.take_back, "nb-restore")
        self.restore.disabled = not entry.whole
        opener = button("Remove…", self.ask, "nb-remove")
        self.goes, self.raw = text("", "nb-grow"), Text(placeholder=MOVED, tooltip=MOVED)
        self.sure = button("Remove for ever", self.remove, "nb-danger", "nb-sure")
        self.raw.observe(lambda _: self._may_go(), "value")
        leave = button("Leave it", lambda: show(self.asking, False), "nb-leave")
        self.asking = row(self.goes, self.raw, leave, self.sure, classes=("nb-confirm", "nb-hidden"))
        line = row(text(words, "nb-grow"), group(self.restore, opener), classes=("nb-entry",))
        super().__init__([line, self.asking])
        self.add_class("nb-column")
        show(self.raw, bool(entry.moved))
        self._may_go()

    @guarded
    def take_back(self) -> None:
        """Put it among the sessions again."""

        def done(name: str) -> None:
            self._changed()
            self.banner.tell(f"Session {name} is back.")

        self.live.do(lambda: restore_session(self.entry), done, doing=f"Restore {self.entry.name}")

    @guarded
    def ask(self) -> None:
        """Say what goes, and wait for a yes."""
        if shown(self.asking):
            return show(self.asking, False)
        say(self.goes, "Looking what it holds…")
        show(self.asking, True)
        return self.live.fetch(
            lambda: disk_use(self.entry.folder), lambda used: say(self.goes, _what_goes(self.entry, used))
        )

    @guarded
    def remove(self) -> None:
        """Remove it for ever."""
        count = self._count()

        def done(_: Any) -> None:
            self._changed()
            self.banner.tell(f"{self.entry.name} is removed for ever.")

        self.live.do(
            lambda: remove_trashed(self.entry, raw_count=count), done, doing=f"Remove {self.entry.name}"
        )

    def _count(self) -> int | None:
        typed = self.raw.value.strip().replace(",", "")
        return int(typed) if typed.isdigit() else None

    def _may_go(self) -> None:
        self.sure.disabled = bool(self.entry.moved) and self._count() != self.entry.moved


def _what_goes(entry: TrashedSession, used: DiskUse) -> Markup:
    parts = f"{number(used.files)} files, {size(used.bytes)}"
    if used.export_files:
        parts += f", {number(used.export_files)} of them exports"
    moved = markup(
        ' <b class="nb-failed-text">It holds the only copy of {n} movies: type that number.</b>',
        n=number(entry.moved),
    )
    return markup("This takes for ever: {parts}.{moved}", parts=parts, moved=moved if entry.moved else "")
