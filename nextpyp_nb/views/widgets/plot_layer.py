"""What the pointer does on a page of plots."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class PlotLayer(anywidget.AnyWidget):
    """Tells of the pointer over boxes of classes nb-plot and nb-plot-KEY, in fractions of a plot's area.

    ``boxes`` are spans (x0, x1, y0, y1) that stay drawn, by key; ``lasso`` makes dragging a lasso;
    ``aspect`` is width over height of the plot of class nb-round, told by the browser.
    """

    _esm = _HERE / "plot_layer.js"
    boxes = traitlets.Dict().tag(sync=True)
    lasso = traitlets.Bool(False).tag(sync=True)
    aspect = traitlets.Float(2.0).tag(sync=True)

    def __init__(self, heard: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: heard(content))

    def show_card(
        self, asked: dict[str, Any], lines: list[str], at: tuple[float, float], picture: bytes
    ) -> None:
        """Answer a hover: plain ``lines`` and a JPEG at a place of the plot; no lines: no card."""
        answer = {"serial": asked["serial"], "plot": asked["hover"], "x": at[0], "y": at[1]}
        self.send(answer | ({"lines": lines} if lines else {}), [picture] if picture else [])
