"""What was done on the pages, as the lines of Python that do the same in a cell."""

from collections import deque
from collections.abc import Callable
from typing import Any

from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import joined, markup
from nextpyp_nb.views.pieces import button, flag, say, show, shown, text
from nextpyp_nb.views.state import Snapshot

KEPT = 8


class Spoken:
    """A session that tells ``told`` the line of every command that it is given."""

    def __init__(self, session: Any, told: Callable[[str], Any]) -> None:
        self._session, self._told = session, told

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._session, name)
        if name.startswith("_") or not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            line = self._line(name, args, kwargs)
            result = value(*args, **kwargs)
            # A command gives a receipt.
            if hasattr(result, "wait"):
                self._told(line)
            return result

        return call

    def _line(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if name == "save_settings":
            changes = {key: new for key, (_, new) in self._session.settings.changes(args[0]).items()}
            return f"session.save_settings(session.settings.updated({changes!r}))"
        named = [f"{key}={value!r}" for key, value in kwargs.items() if value is not None]
        return f"session.{name}({', '.join([*map(repr, args), *named])})"


class PythonLines(Box):
    """The last commands, newest first; out of the way until its button is pressed."""

    def __init__(self, name: str, root: Any) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.head = f"session = open_session({name!r}, root={str(root)!r})"
        self.opener = button("</>", self.toggle, "nb-link", "nb-python-open")
        self.opener.tooltip = "The Python lines that do what you do here"
        self.words = text("")
        super().__init__([self.words])
        for part in ("nb-column", "nb-python-lines", "nb-hidden"):
            self.add_class(part)

    def toggle(self) -> None:
        """Show the lines, or put them away."""
        show(self, not shown(self))
        flag(self.opener, "nb-on", shown(self))
        self.draw()

    def draw(self, _: Snapshot | None = None) -> None:
        """Draw the lines in place, when they are looked at."""
        if not shown(self):
            return
        lines = [markup("{line}\n", line=line) for line in reversed(self.lines)]
        none = markup('<span class="nb-muted"># what you do next appears here\n</span>')
        start = markup(
            '<span class="nb-muted">from nextpyp_nb import open_session\n{head}\n</span>', head=self.head
        )
        say(self.words, markup("<pre>{all}</pre>", all=joined([start, *(lines or [none])])))
