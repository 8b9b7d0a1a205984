"""Machine facts of this site, read from a site file and never stored in a session."""

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, HttpUrl, StringConstraints, ValidationError

# An account of this machine or an address; nothing that could begin another recipient or header.
Mailbox = Annotated[str, StringConstraints(pattern=r"^[^\s,;:<>@\x00-\x1f]+(@[^\s,;:<>@\x00-\x1f]+)?$")]


class Site(BaseModel):
    """What the administrator says about this machine.

    ``groups`` maps a session group to roles: ``{"beamline-a": {"operators": ["ada"], "readers": ["bob"]}}``;
    ``@NAME`` there is a group of JupyterHub, as the file ``hub_groups`` lists them, or of this machine. The
    members of a group that is not listed operate. Alerts of sessions go to
    ``alert_webhook`` as JSON and to the mailboxes ``alert_mail`` by ``sendmail``. Workers on a cluster reach
    runners by the network interface ``cluster_interface``; jobs run the shell lines ``cluster_prologue``,
    then ``cluster_python`` (default: the runner's own).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Path("~/nextpyp-sessions")
    data_roots: tuple[Path, ...] = ()
    admins: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    groups: dict[str, dict[str, tuple[str, ...]]] = {}
    hub_groups: Path | None = None
    default_group: str | None = None
    alert_webhook: HttpUrl | None = None
    alert_mail: tuple[Mailbox, ...] = ()
    sendmail: Path = Path("/usr/sbin/sendmail")
    cluster_interface: str | None = None
    cluster_prologue: tuple[str, ...] = ()
    cluster_python: str | None = None

    @property
    def sessions_root(self) -> Path:
        """Where sessions lie, absolute."""
        return self.root.expanduser().absolute()


def site_file() -> Path | None:
    """The site file in force: $NEXTPYP_NB_SITE, the user's, or the machine's."""
    named = os.environ.get("NEXTPYP_NB_SITE")
    if named:
        return Path(named)
    candidates = (Path("~/.config/nextpyp-nb/site.toml").expanduser(), Path("/etc/nextpyp-nb/site.toml"))
    return next((path for path in candidates if path.is_file()), None)


def read_site(path: Path | None = None) -> Site:
    """The site's facts; defaults where there is no site file."""
    path = path or site_file()
    if path is None:
        return Site()
    try:
        return Site.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise FileNotFoundError(f"no site file at {path}; unset NEXTPYP_NB_SITE or write the file") from None
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"site file {path} cannot be read: {error}") from None
