"""What happened and what is next: the store, its runner's lease and inbox, and the session people hold."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nextpyp_nb.session.dashboard import (
        SessionSummary,
        copy_session,
        create_session,
        delete_session,
        list_sessions,
        open_session,
    )
    from nextpyp_nb.session.inbox import Ack, Receipt
    from nextpyp_nb.session.session import Session
    from nextpyp_nb.session.status import SessionStatus, TrackStatus

# Loaded when first used: workers need a few small parts of this package only, and start for every session.
_PLACES = {
    "dashboard": (
        "SessionSummary", "copy_session", "create_session", "delete_session", "list_sessions", "open_session"
    ),
    "inbox": ("Ack", "Receipt"),
    "session": ("Session",),
    "status": ("SessionStatus", "TrackStatus"),
}  # fmt: skip

__all__ = [
    "Ack", "Receipt", "Session", "SessionStatus", "SessionSummary", "TrackStatus", "copy_session",
    "create_session", "delete_session", "list_sessions", "open_session",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
