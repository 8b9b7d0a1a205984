"""Class averages as tiles cut from one sheet."""

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class ClassTiles(anywidget.AnyWidget):
    """Tiles of ``tile`` px from a PNG sheet of ``columns`` columns; each class names its ``index`` there."""

    _esm = _HERE / "class_tiles.js"
    sheet = traitlets.Bytes(b"").tag(sync=True)
    tile = traitlets.Int(1).tag(sync=True)
    columns = traitlets.Int(10).tag(sync=True)
    classes = traitlets.List(traitlets.Dict()).tag(sync=True)
