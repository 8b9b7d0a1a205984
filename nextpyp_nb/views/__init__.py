"""The live page: panels that draw a session's state and call its commands."""

from nextpyp_nb.views.app import App, track_panel

__all__ = ["App", "track_panel"]
