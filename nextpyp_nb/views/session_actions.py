"""What can be done with a session in the list: its path, a copy of its settings, deleting it."""

from pathlib import Path
from typing import Any

from nextpyp_nb.session import copy_session, trash_session
from nextpyp_nb.session.disk import DiskUse
from nextpyp_nb.session.groups import acting, may, role
from nextpyp_nb.settings import read_site
from nextpyp_nb.views.late import Box, Text
from nextpyp_nb.views.markup import Markup, markup, number, size
from nextpyp_nb.views.pieces import button, guarded, row, say, show, text
from nextpyp_nb.views.state import LiveState


class SessionActions(Box):
    """Opens below a session's line."""

    def __init__(self, name: str, live: LiveState, root: Path) -> None:
        self.name, self.live, self.banner, self.root = name, live, live.banner, root
        self._summary: Any = None
        self.where, self.goes = text("", "nb-session-path"), text("", "nb-grow")
        self.new_name = Text(placeholder="name of the new session", tooltip="Name of the new session")
        self.copy_button = button("Copy settings", self.copy, "nb-copy")
        self.typed = Text(placeholder=f"type {name}", tooltip=f"Type {name}")
        self.raw = Text(placeholder="number of moved movies", tooltip="Number of moved movies")
        self.delete_button = button("Delete", self.delete, "nb-danger", "nb-delete")
        for control in (self.typed, self.raw):
            control.observe(lambda _: self._may_delete(), "value")
        self.deleting = row(self.goes, self.raw, self.typed, self.delete_button, classes=("nb-deleting",))
        copying = row(
            text("A new session with the same settings and group", "nb-grow"), self.new_name, self.copy_button
        )
        super().__init__([self.where, copying, self.deleting])
        for part in ("nb-column", "nb-confirm", "nb-session-actions", "nb-hidden"):
            self.add_class(part)

    @guarded
    def toggle(self) -> None:
        """Open or close."""
        show(self, "nb-hidden" in self._dom_classes)

    def draw(self, summary: Any, used: DiskUse | None) -> None:
        """Say where it lies and what would go."""
        self._summary = summary
        say(self.where, markup("Lies at <code>{folder}</code>", folder=summary.folder))
        say(self.goes, _what_goes(summary, used))
        show(self.raw, bool(summary.moved))
        self._may_delete()

    @guarded
    def copy(self) -> None:
        """Make a session with the same settings."""
        name = self.new_name.value.strip()
        if not name:
            raise ValueError("give the new session a name")

        def done(session: Any) -> None:
            session.close()
            self.new_name.value = ""
            self.banner.tell(f"Session {name} is made, with the settings of {self.name}.")

        self.live.do(lambda: copy_session(self.name, name, root=self.root), done, doing=f"Copy {self.name}")

    @guarded
    def delete(self) -> None:
        """Put it into the trash, as typed; what is not right is said and nothing goes."""
        raw = self.raw.value.strip().replace(",", "")
        typed = self.typed.value.strip()

        def work() -> None:
            trash_session(
                self.name, confirm=typed, root=self.root, raw_count=int(raw) if raw.isdigit() else None
            )

        def done(_: Any) -> None:
            self.banner.tell(f"Session {self.name} is in the trash, below, and can be restored.")

        self.live.do(work, done, doing=f"Delete {self.name}")

    def _may_delete(self) -> None:
        summary = self._summary
        if summary is None:
            return
        mine = may(role(acting(), summary.owner, summary.group, read_site()), "delete")
        raw = not summary.moved or self.raw.value.strip().replace(",", "") == str(summary.moved)
        self.delete_button.disabled = not (
            mine and raw and self.typed.value.strip() == self.name and summary.runner != "running"
        )
        why = "" if mine else f"only {summary.owner}, who made it, may delete it"
        self.delete_button.tooltip = why or ("stop it first" if summary.runner == "running" else "")


def _what_goes(summary: Any, used: DiskUse | None) -> Markup:
    parts = [f"{number(summary.micrographs)} micrographs", f"{number(summary.particles)} particles"]
    if used is not None:
        parts += [f"{number(used.files)} files, {size(used.bytes)}"]
        if used.export_files:
            parts.append(f"{number(used.export_files)} files of exports in it")
    moved = (
        markup(
            ' <b class="nb-failed-text">It holds the only copy of {n} movies: type that number too.</b>',
            n=number(summary.moved),
        )
        if summary.moved
        else markup(" Movies at their source are not touched.")
    )
    return markup("Deleting puts it into the trash: {parts}.{moved}", parts=", ".join(parts), moved=moved)
