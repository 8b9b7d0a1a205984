"""A data grid that draws quickly without a GPU."""

from pathlib import Path

import anywidget

_HERE = Path(__file__).parent


class GridCopies(anywidget.AnyWidget):
    """Lets the grids of the app, of which this is a child, copy what they drew at once, not cell by cell."""

    _esm = _HERE / "grid_copies.js"
