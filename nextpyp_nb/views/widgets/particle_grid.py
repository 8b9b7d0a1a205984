"""Images of single particles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

_HERE = Path(__file__).parent


class ParticleGrid(anywidget.AnyWidget):
    """Grey squares of ``side`` px, y up, each of a micrograph of ``names``; ``opened`` hears of clicks."""

    _esm = _HERE / "particle_grid.js"
    pixels = traitlets.Bytes(b"").tag(sync=True)
    side = traitlets.Int(0).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    def __init__(self, opened: Callable[[str], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: opened(str(content["open"])))

    def show(self, images: NDArray[np.uint8], names: list[str]) -> None:
        """Draw ``images`` (n, b, b), one for each name."""
        with self.hold_sync():
            self.pixels, self.side, self.names = images.tobytes(), images.shape[1], names
            self.serial += 1
