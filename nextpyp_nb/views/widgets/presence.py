"""Whether anybody has the page open."""

import asyncio
import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class Presence(anywidget.AnyWidget):
    """A heartbeat from the browser, and the style sheet of the page it beats in."""

    _esm = _HERE / "presence.js"
    _css = "".join((_HERE.parent / name).read_text() for name in ("style.css", "plots.css", "pages.css"))
    beat = traitlets.Float(0.0)
    dark = traitlets.Bool(False)
    width = traitlets.Int(0)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0)

    def __init__(self, patience: float = 30.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = patience
        self._heard = time.monotonic()
        self.observe(self._hear, "beat")
        self.on_msg(self._take)

    def _hear(self, _: Any) -> None:
        self._heard = time.monotonic()

    def _take(self, _: Any, said: dict[str, Any], __: Any) -> None:
        for name in ("beat", "dark", "width", "answered"):
            self.set_trait(name, said[name])

    @property
    def present(self) -> bool:
        """False once the page has been silent for longer than ``patience`` seconds."""
        return time.monotonic() - self._heard < self.patience

    async def quiet(self) -> None:
        """Wait until the browser has drawn what it was sent, and has nothing to do."""
        answered = asyncio.Event()

        def hear(change: Any) -> None:
            if change["new"] >= self.asked:
                answered.set()

        self.observe(hear, "answered")
        try:
            self.asked += 1
            await answered.wait()
        finally:
            self.unobserve(hear, "answered")
