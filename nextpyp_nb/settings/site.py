"""Machine facts of this site, read from a site file and never stored in a session."""

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Site(BaseModel):
    """What the administrator says about this machine.

    ``groups`` maps a session group to roles: ``{"beamline-a": {"operators": ["ada"], "readers": ["bob"]}}``;
    a group that is not listed here is a POSIX group, whose members operate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Path("~/nextpyp-sessions")
    data_roots: tuple[Path, ...] = ()
    admins: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    groups: dict[str, dict[str, tuple[str, ...]]] = {}
    default_group: str | None = None

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
