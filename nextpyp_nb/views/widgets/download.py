"""Files for the person at the browser."""

from pathlib import Path

import anywidget

_HERE = Path(__file__).parent


class Download(anywidget.AnyWidget):
    """Saves what it is given through the browser."""

    _esm = _HERE / "download.js"

    def save(self, name: str, content: bytes) -> None:
        """Offer ``content`` as a file."""
        self.send({"name": name}, [content])
