"""The few widgets that every panel is made of, and how its errors reach the page."""

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from ipywidgets import Widget

from nextpyp_nb.views.late import HTML, Box, Button
from nextpyp_nb.views.markup import Markup, markup

Method = TypeVar("Method", bound=Callable[..., Any])


def text(content: str = "", *classes: str) -> HTML:
    """A piece of text; what is not `Markup` is escaped."""
    return _classed(HTML(markup("{content}", content=content)), classes)


def say(label: HTML, content: str) -> None:
    """Change a piece of text in place."""
    label.value = markup("{content}", content=content)


def button(label: str, action: Callable[[], Any], *classes: str, tooltip: str = "") -> Button:
    """A button that calls ``action`` without arguments."""
    made = _classed(Button(description=label, tooltip=tooltip or None), ("nb-button", *classes))
    made.on_click(lambda _: action())
    return made


def row(*children: Widget, classes: tuple[str, ...] = ()) -> Box:
    """Children side by side."""
    return _classed(Box(children), ("nb-row", *classes))


def column(*children: Widget, classes: tuple[str, ...] = ()) -> Box:
    """Children below each other."""
    return _classed(Box(children), ("nb-column", *classes))


def group(*children: Widget, classes: tuple[str, ...] = ()) -> Box:
    """Buttons joined."""
    return _classed(Box(children), ("nb-group", *classes))


def flag(widget: Any, name: str, on: bool) -> None:
    """Put a CSS class on a widget or take it off."""
    (widget.add_class if on else widget.remove_class)(name)


def shown(widget: Any) -> bool:
    """Whether a widget is shown: hidden pages need not be drawn."""
    return "nb-hidden" not in widget._dom_classes


def show(widget: Any, visible: bool) -> None:
    """Show or hide a widget without making it anew."""
    flag(widget, "nb-hidden", not visible)


def _classed(widget: Any, classes: tuple[str, ...]) -> Any:
    for name in classes:
        widget.add_class(name)
    return widget


class Banner(Box):
    """Where errors and answers appear on the page."""

    def __init__(self) -> None:
        self.message = text("", "nb-grow", "nb-banner-text")
        self.error: BaseException | None = None
        super().__init__([self.message, button("Close", self.clear, "nb-banner-close")])
        for name in ("nb-row", "nb-banner", "nb-hidden"):
            self.add_class(name)

    def show(self, error: BaseException, doing: str = "") -> None:
        """Show an exception: its sentence, and where it came from for those who ask."""
        self.error = error
        where = "".join(traceback.format_exception(error)).strip()
        plain = isinstance(error, (ValueError, OSError, TimeoutError, PermissionError)) and str(error)
        sentence = str(error) if plain else f"{type(error).__name__}: {error}"
        say(
            self.message,
            markup(
                "<b>{doing}</b>{sentence}<details><summary>where</summary><pre>{where}</pre></details>",
                doing=f"{doing}: " if doing else "",
                sentence=sentence,
                where=where,
            ),
        )
        self._appear(notice=False)

    def refuse(self, sentence: str) -> None:
        """Show that a command was refused, and why."""
        self.error = PermissionError(sentence)
        say(self.message, sentence)
        self._appear(notice=False)

    def tell(self, sentence: str) -> None:
        """Show an answer that is not an error; it never hides one."""
        if self.error is None and sentence:
            say(self.message, sentence)
            self._appear(notice=True)

    def clear(self) -> None:
        """Take the message away."""
        self.error = None
        show(self, False)
        say(self.message, Markup(""))

    def _appear(self, *, notice: bool) -> None:
        flag(self, "nb-notice", notice)
        show(self, True)


def guarded(method: Method) -> Method:
    """Wrap a panel's callback so that an exception appears in its ``banner``."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.banner.show(error)

    return call  # type: ignore[return-value]
