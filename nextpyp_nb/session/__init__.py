"""What happened and what is next: the store, its runner's lease and inbox, and the session people hold."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nextpyp_nb.session.dashboard import (
        SessionSummary,
        copy_session,
        create_session,
        list_sessions,
        open_session,
    )
    from nextpyp_nb.session.inbox import Ack, Receipt
    from nextpyp_nb.session.session import Session
    from nextpyp_nb.session.status import SessionStatus, TrackStatus
    from nextpyp_nb.session.trash import (
        delete_session,
        list_trash,
        remove_trashed,
        restore_session,
        trash_session,
    )

# Where the names live. They are loaded when first used: workers need a few small parts of this package only.
_PLACES = {
    "Ack": "inbox",
    "Receipt": "inbox",
    "Session": "session",
    "SessionStatus": "status",
    "SessionSummary": "dashboard",
    "TrackStatus": "status",
    "TrashedSession": "trash",
    "copy_session": "dashboard",
    "create_session": "dashboard",
    "delete_session": "trash",
    "list_sessions": "dashboard",
    "list_trash": "trash",
    "open_session": "dashboard",
    "remove_trashed": "trash",
    "restore_session": "trash",
    "trash_session": "trash",
}

__all__ = [
    "Ack", "Receipt", "Session", "SessionStatus", "SessionSummary", "TrackStatus", "TrashedSession",
    "copy_session", "create_session", "delete_session", "list_sessions", "list_trash", "open_session",
    "remove_trashed", "restore_session", "trash_session",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
