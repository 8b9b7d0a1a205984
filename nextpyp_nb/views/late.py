"""The widgets that the pages are made of, sent to the browser once: when they become part of what is shown.

A widget of ipywidgets is sent when it is made, and again at each change; a page makes hundreds. Those here
wait until their parent is sent, as they are by then, and share layouts and styles that are all alike.
"""

from functools import cache
from typing import Any

import bqplot
import ipywidgets
from ipywidgets import Layout, Widget


@cache
def _plain(kind: type[Widget], **values: Any) -> Widget:
    """The one layout, style or scale with these values that all widgets of a page share."""
    return kind(**values)


def share_anew() -> None:
    """Let the page made next share nothing with those before it.

    A second window on the same kernel knows only what is sent to it from now on.
    """
    _plain.cache_clear()


class Late:
    """Mixed into a widget: what happens to it before anybody needs its model costs no message."""

    _needed, _gone = False, False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        traits: Any = type(self).class_traits()
        for name in {"layout", "style"} & set(traits):
            kwargs.setdefault(name, _plain(traits[name].klass))
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Send it, once it is needed."""
        if self._needed and not self._gone:
            super().open()

    def close(self) -> None:
        """Take it away for good."""
        self._gone = True
        super().close()

    @property
    def model_id(self) -> str:
        """What its parents and the browser know it by; asking for it sends it."""
        self._needed = True
        self.open()
        return str(super().model_id)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self._model_id = self.model_id
        return super()._repr_mimebundle_(**kwargs)


class Named(Late):
    """Mixed into a control: its tooltip is its name for those who hear the page, where it shows none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        control: Any = self
        if control.tooltip and not control.description:
            control.description = control.tooltip
            control.add_class("nb-silent")


class HTML(Late, ipywidgets.HTML):
    """Text."""


class Box(Late, ipywidgets.Box):
    """Children; how they lie is the style sheet's."""


class Button(Late, ipywidgets.Button):
    """A button."""


class Checkbox(Named, ipywidgets.Checkbox):
    """A box to tick."""


class Combobox(Named, ipywidgets.Combobox):
    """A line to type, with proposals."""


class Dropdown(Named, ipywidgets.Dropdown):
    """A choice."""


class FloatSlider(Named, ipywidgets.FloatSlider):
    """A number to slide."""


class Image(Late, ipywidgets.Image):
    """A picture."""


class IntSlider(Named, ipywidgets.IntSlider):
    """A whole number to slide."""


class IntText(Named, ipywidgets.IntText):
    """A whole number to type."""


class Select(Named, ipywidgets.Select):
    """A list to choose from."""


class Text(Named, ipywidgets.Text):
    """A line to type."""


class Axis(Late, bqplot.Axis):
    """An axis of a plot."""


class LinearScale(Late, bqplot.LinearScale):
    """A scale of a plot."""


class Lines(Late, bqplot.Lines):
    """Curves of a plot."""


class Scatter(Late, bqplot.Scatter):
    """Points of a plot."""


class Figure(Late, bqplot.Figure):
    """A plot; its own scales place nothing in it, so that all plots share them."""

    def __init__(self, *, height: str, **kwargs: Any) -> None:
        scale = _plain(bqplot.LinearScale, min=0, max=1, allow_padding=False)
        layout = _plain(Layout, width="100%", height=height)
        super().__init__(layout=layout, scale_x=scale, scale_y=scale, **kwargs)
