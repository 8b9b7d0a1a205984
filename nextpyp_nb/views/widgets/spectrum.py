"""The power spectrum of a micrograph as a picture."""

from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

_HERE = Path(__file__).parent


class SpectrumImage(anywidget.AnyWidget):
    """A (n, n) uint8 spectrum, y up, out to ``nyquist`` Å, with a ring at ``resolution`` Å (0: none)."""

    _esm = _HERE / "spectrum.js"
    pixels = traitlets.Bytes(b"").tag(sync=True)
    side = traitlets.Int(0).tag(sync=True)
    nyquist = traitlets.Float(0.0).tag(sync=True)
    resolution = traitlets.Float(0.0).tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    def show(self, profile: dict[str, Any] | None, entry: dict[str, Any]) -> None:
        """Draw the spectrum in a file of CTF curves, or nothing, for a row of the table of micrographs."""
        spectrum = None if profile is None else profile.get("spectrum")
        fit = entry.get("fit_resolution")
        with self.hold_sync():
            self.pixels = b"" if spectrum is None else np.ascontiguousarray(spectrum, np.uint8).tobytes()
            self.side = 0 if spectrum is None else len(spectrum)
            self.nyquist = 2 * float(entry["pixel_size"])
            self.resolution = float(fit) if fit and np.isfinite(fit) else 0.0
            self.serial += 1
