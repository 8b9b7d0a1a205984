"""A micrograph with its picks, drawn and moved about in the browser."""

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

_HERE = Path(__file__).parent


class MicrographImage(anywidget.AnyWidget):
    """The picture of one micrograph; ``picks`` are float32 x, y (its px, y down), score."""

    _esm = _HERE / "micrograph.js"
    picture = traitlets.Bytes(b"").tag(sync=True)
    picks = traitlets.Bytes(b"").tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    pixel_size = traitlets.Float(0.0).tag(sync=True)
    radius_px = traitlets.Float(0.0).tag(sync=True)
    waiting = traitlets.Unicode("").tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    def show(
        self,
        picture: bytes,
        *,
        shape: tuple[int, int],
        pixel_size: float,
        centres: NDArray[np.floating],
        scores: NDArray[np.floating],
        radius: float,
    ) -> None:
        """Draw a JPEG of a micrograph of ``shape`` px with picks at ``centres`` (n, 2) in (y, x) px."""
        with self.hold_sync():
            self.height, self.width = shape
            self.pixel_size = pixel_size
            self.radius_px = radius / pixel_size if pixel_size else 0.0
            self.picture = picture
            self.picks = drawn_picks(centres, scores, shape[0]).tobytes()
            self.serial += 1

    def clear(self, waiting: str) -> None:
        """Show no picture, and say what is waited for."""
        with self.hold_sync():
            self.picture, self.picks, self.waiting = b"", b"", waiting
            self.serial += 1


def drawn_picks(
    centres: NDArray[np.floating], scores: NDArray[np.floating], height: int
) -> NDArray[np.float32]:
    """Picks (n, 2) in (y, x) px with y up as rows x, y, score with y down from the picture's upper edge."""
    if len(centres) == 0:
        return np.zeros((0, 3), np.float32)
    # The centre of pixel 0 lies half a pixel from the edge.
    return np.column_stack([centres[:, 1] + 0.5, height - 0.5 - centres[:, 0], scores]).astype(np.float32)
