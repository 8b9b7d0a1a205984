"""Tells people that an alert was raised or is over: by the site's webhook and by its local mail."""

import json
import logging
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage

from nextpyp_nb import __version__
from nextpyp_nb.settings import Site

PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell: ``code`` of the alert, ``state`` raised or over, ``since`` in ISO 8601."""

    code: str
    session: str
    state: str
    sentence: str
    since: str


def deliver(notice: Notice, site: Site, log: logging.Logger) -> None:
    """Tell it by every way that the site names; a way that fails is logged, and not tried again."""
    ways: list[tuple[str, Callable[[Notice, Site], None], object]] = [
        ("webhook", _post, site.alert_webhook),
        ("mail", _mail, site.alert_mail),
    ]
    for name, tell, wanted in ways:
        if not wanted:
            continue
        try:
            tell(notice, site)
        except Exception as error:
            # What the error says may hold the address, which can be a secret.
            reason = getattr(error, "code", None) or getattr(error, "reason", None) or type(error).__name__
            log.error(f"the {name} did not take {notice.code} {notice.state}: {reason}")


def _post(notice: Notice, site: Site) -> None:
    request = urllib.request.Request(
        str(site.alert_webhook),
        data=json.dumps(asdict(notice)).encode(),
        headers={"Content-Type": "application/json", "User-Agent": f"nextpyp_nb/{__version__}"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=PATIENCE):
        pass


def _mail(notice: Notice, site: Site) -> None:
    mail = EmailMessage()
    mail["To"] = ", ".join(site.alert_mail)
    mail["Subject"] = _one_line(f"[{notice.session}] {notice.sentence}")
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(
        f"Session {_one_line(notice.session)}, {notice.code}, {notice.state}.\n"
        f"{notice.sentence}\nSince {notice.since}.\n"
    )
    # -i: a line with a dot alone does not end the mail.
    done = subprocess.run(
        [site.sendmail, "-t", "-i"], input=mail.as_bytes(), capture_output=True, timeout=2 * PATIENCE
    )
    done.check_returncode()


def _one_line(text: str) -> str:
    """Nothing that could begin another header."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]
