"""Thumbnails of any number of micrographs; only what is in sight is sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class ThumbnailGrid(anywidget.AnyWidget):
    """``count`` tiles about ``size`` px wide; a new ``serial`` says that what they show has changed."""

    _esm = _HERE / "gallery.js"
    _css = _HERE / "gallery.css"
    count = traitlets.Int(0).tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)
    size = traitlets.Int(150).tag(sync=True)

    def __init__(self, heard: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: heard(content))

    def to_top(self) -> None:
        """Show the first tiles."""
        self.send({"top": True})

    def answer(
        self, asked: dict[str, Any], rows: list[dict[str, Any]], pictures: dict[str, bytes], *, serial: int
    ) -> None:
        """Send tiles (name, key of picture, words, lines, mark) from the first asked on, and JPEGs by key."""
        content = {"first": asked["first"], "rows": rows, "pictures": list(pictures), "serial": serial}
        self.send(content, list(pictures.values()))
