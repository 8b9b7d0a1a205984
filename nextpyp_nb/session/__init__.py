"""What happened and what is next: the store, its runner's lease and inbox, and the session people hold."""

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

__all__ = [
    "Ack", "Receipt", "Session", "SessionStatus", "SessionSummary", "TrackStatus", "copy_session",
    "create_session", "delete_session", "list_sessions", "open_session",
]  # fmt: skip
