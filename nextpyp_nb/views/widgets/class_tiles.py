"""Class averages as tiles cut from one sheet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class ClassTiles(anywidget.AnyWidget):
    """``count`` tiles of ``tile`` px (``pixel_size`` Å) on a PNG sheet of ``columns`` columns.

    Each of ``classes`` names its ``index`` there and its ``identity``; ``selected`` are identities.
    ``opened`` hears of a double click.
    """

    _esm = _HERE / "class_tiles.js"
    sheet = traitlets.Bytes(b"").tag(sync=True)
    tile = traitlets.Int(1).tag(sync=True)
    columns = traitlets.Int(10).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    pixel_size = traitlets.Float(0.0).tag(sync=True)
    classes = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, opened: Callable[[int], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.opened = opened
        self.on_msg(lambda _, content, __: self._heard(content))

    def _heard(self, content: dict[str, Any]) -> None:
        if "selected" in content:
            self.selected = [int(identity) for identity in content["selected"]]
        else:
            self.opened(int(content["open"]))
