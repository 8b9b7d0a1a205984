"""A micrograph with its picks, drawn and moved about in the browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

_HERE = Path(__file__).parent


class MicrographImage(anywidget.AnyWidget):
    """The picture of one micrograph; ``picks`` are float32 x, y (its px, y down), score, kind.

    ``heard`` gets {"add" or "remove": (x, y), "name"} for a click, {"threshold": σ} when one is to be used.
    """

    _esm = _HERE / "micrograph.js"
    name = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)
    picks = traitlets.Bytes(b"").tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    pixel_size = traitlets.Float(0.0).tag(sync=True)
    radius_px = traitlets.Float(0.0).tag(sync=True)
    threshold = traitlets.Float(None, allow_none=True).tag(sync=True)
    marked = traitlets.Bytes(b"").tag(sync=True)
    editable = traitlets.Bool(False).tag(sync=True)
    waiting = traitlets.Unicode("").tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    def __init__(self, heard: Callable[[dict[str, Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_msg(lambda _, content, __: heard(content))

    def show(self, entry: dict[str, Any], picture: bytes, picks: Any, radius: float) -> None:
        """Draw the JPEG of a micrograph (a row of the table) with candidates, or None, of a radius in Å."""
        pixel_size = float(entry["pixel_size"])
        with self.hold_sync():
            self.name, self.picture = str(entry["name"]), picture
            self.height, self.width = int(entry["height"]), int(entry["width"])
            self.pixel_size, self.radius_px = pixel_size, radius / pixel_size if pixel_size else 0.0
            self.threshold = None if picks is None else picks.threshold
            self.picks = b""
            if picks is not None:
                self.picks = drawn_picks(picks.centres, picks.scores, self.height, picks.kind).tobytes()
            self.serial += 1

    def mark(self, centres: NDArray[np.floating]) -> None:
        """Ring the particles at ``centres`` (n, 2) in (y, x) px."""
        self.marked = drawn_picks(centres, np.zeros(len(centres)), self.height)[:, :2].tobytes()

    def refuse(self) -> None:
        """Take the circle of a click away that came to nothing."""
        self.send({"refused": True})


def drawn_picks(
    centres: NDArray[np.floating],
    scores: NDArray[np.floating],
    height: int,
    kinds: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """Picks (n, 2) in (y, x) px with y up as rows x, y, score, kind with y down from the upper edge."""
    if len(centres) == 0:
        return np.zeros((0, 4), np.float32)
    kinds = np.zeros(len(centres), np.int64) if kinds is None else kinds
    # The centre of pixel 0 lies half a pixel from the edge.
    return np.column_stack([centres[:, 1] + 0.5, height - 0.5 - centres[:, 0], scores, kinds]).astype(
        np.float32
    )


def clicked_place(at: list[float], height: int) -> tuple[float, float]:
    """The (y, x) px, y up, of a place x, y on the picture: what `drawn_picks` turns round."""
    return height - 0.5 - float(at[1]), float(at[0]) - 0.5
