"""What the side bar and the previews in JupyterLab ask for: sessions, commands, looks into files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nextpyp_nb.previews import below, preview_mrc, preview_star
from nextpyp_nb.session import Session, SessionSummary, list_sessions, open_session
from nextpyp_nb.session.groups import may, role, user_name
from nextpyp_nb.settings import read_site

COMMANDS = ("start", "stop", "restart", "cancel")
PREVIEWS: dict[str, Callable[..., dict[str, Any]]] = {
    ".mrc": preview_mrc,
    ".mrcs": preview_mrc,
    ".star": preview_star,
}


def sessions(login: str) -> list[dict[str, Any]]:
    """A line for each session that whoever logged in may see, newest first."""
    site, person = read_site(), _person(login)
    found = [(summary, role(person, summary.owner, summary.group, site)) for summary in list_sessions()]
    return [_line_of(summary, what) for summary, what in found if what != "none"]


def command(name: str, command: str, track: str | None, login: str) -> dict[str, Any]:
    """Give a session a command in the name of whoever logged in; the answer is the runner's own."""
    if command not in COMMANDS:
        raise ValueError(f"got command {command!r}, expected one of {', '.join(COMMANDS)}")
    session = open_session(name)
    try:
        answer = _given(session, command, track, _person(login)).wait(20)
        return {"ok": answer.ok, "message": answer.message}
    finally:
        session.close()


def look(name: str, top: Path, block: str, first: str) -> dict[str, Any]:
    """A picture or a table of a file named from the server's folder; it lies there, with sessions or data."""
    site, top = read_site(), top.expanduser()
    path = top / name
    real = below(path, (top, site.sessions_root, *site.data_roots))
    preview = PREVIEWS.get(real.suffix.lower())
    if preview is None:
        raise ValueError(f"got {path.name}, expected one of {', '.join(PREVIEWS)}")
    return preview(real, first=int(first), **({"block": block} if block else {}))


def _person(login: str) -> str:
    """Whom we act for: the account, or behind a service account the one who logged in."""
    us = user_name()
    return login if us in read_site().service_accounts else us


def _line_of(summary: SessionSummary, what: str) -> dict[str, Any]:
    return {
        "name": summary.name, "group": summary.group, "owner": summary.owner, "folder": str(summary.folder),
        "runner": summary.runner, "movies": summary.movies, "micrographs": summary.micrographs,
        "particles": summary.particles, "failed": summary.failed, "rate": summary.rate_per_hour,
        "doing": summary.doing, "operable": may(what, "start"),
        "last_activity": summary.last_activity.isoformat() if summary.last_activity else None,
    }  # fmt: skip


def _given(session: Session, command: str, track: str | None, person: str) -> Any:
    if command == "cancel":
        return session.cancel(actor=person)
    return getattr(session, command)(track, actor=person)
