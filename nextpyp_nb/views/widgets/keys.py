"""Keys that do something on a page."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class Keys(anywidget.AnyWidget):
    """Calls an action when its key is pressed on the page of which this is a child."""

    _esm = _HERE / "keys.js"
    pressable = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, actions: dict[str, Callable[[], None]]) -> None:
        super().__init__(pressable=list(actions))
        self.on_msg(lambda _, content, __: actions.get(content.get("key"), lambda: None)())
