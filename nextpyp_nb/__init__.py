"""Watch a cryo-EM collection live: movies in, micrographs, particles and 2D classes out."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public names and where they live; loaded when first used, so that workers and the command line start fast.
_PUBLIC = {
    "App": "nextpyp_nb.views",
    "Microscope": "nextpyp_nb.simulate",
    "Session": "nextpyp_nb.session",
    "Settings": "nextpyp_nb.settings",
    "create_session": "nextpyp_nb.session",
    "list_sessions": "nextpyp_nb.session",
    "open_session": "nextpyp_nb.session",
    "read_frames": "nextpyp_nb.formats.frames",
    "track_panel": "nextpyp_nb.views",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'nextpyp_nb' has no attribute {name!r}")
