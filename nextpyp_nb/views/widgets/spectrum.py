"""The power spectrum of a micrograph as a picture."""

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

_HERE = Path(__file__).parent


class SpectrumImage(anywidget.AnyWidget):
    """A (n, n) uint8 spectrum, y up; ``ring`` is the radius of a circle as a share of Nyquist."""

    _esm = _HERE / "spectrum.js"
    pixels = traitlets.Bytes(b"").tag(sync=True)
    side = traitlets.Int(0).tag(sync=True)
    ring = traitlets.Float(0.0).tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    def show(self, spectrum: NDArray[np.uint8] | None, ring: float = 0.0) -> None:
        """Draw ``spectrum``, or nothing."""
        with self.hold_sync():
            self.pixels = b"" if spectrum is None else np.ascontiguousarray(spectrum, np.uint8).tobytes()
            self.side = 0 if spectrum is None else len(spectrum)
            self.ring = ring
            self.serial += 1
