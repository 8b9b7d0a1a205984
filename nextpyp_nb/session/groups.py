"""Who may read a session, and who may command it."""

import grp
import json
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from nextpyp_nb.settings import Site

# Names the variable that says who opened this page, where its server asks people who they are.
PERSON_IN = "NEXTPYP_NB_PERSON_IN"
ROLES = ("none", "reader", "operator", "admin", "owner")
_OWNERS_ONLY = ("delete",)
_REFUSED = {
    "none": "is not a member of the group of this session",
    "reader": "may look at this session, not change it",
    "operator": "may operate this session; this is for its owner",
}


def user_name(uid: int | None = None) -> str:
    """The account of ``uid`` (ours by default); its number where it has no name."""
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def acting() -> str:
    """Whom this process acts for: its account, or the person whom the server of a page let in."""
    named = os.environ.get(PERSON_IN)
    return user_name() if named is None else os.environ.get(named) or "somebody unknown"


def role(user: str, owner: str, group: str | None, site: Site) -> str:
    """One of `ROLES`: what ``user`` is to a session of ``owner`` and ``group``."""
    if user == owner:
        return "owner"
    if user in site.admins:
        return "admin"
    if group is None:
        return "none"
    if group in site.groups:
        for kind in ("operator", "reader"):
            if any(_is_one(user, named, site) for named in site.groups[group].get(f"{kind}s", ())):
                return kind
        return "none"
    return "operator" if user in _members(group, site) else "none"


def seen(owner: str, group: str | None, site: Site) -> bool:
    """Whether whom we act for may know of a session; for our own account its files decide."""
    us = acting()
    return us == user_name() or role(us, owner, group, site) != "none"


def may(role: str, command: str) -> bool:
    """Whether a role may give a command."""
    if command in _OWNERS_ONLY:
        return role in ("owner", "admin")
    return role in ("operator", "owner", "admin")


def refusal(user: str, role: str, command: str) -> str:
    """The sentence that says why not."""
    return f"{command} refused: {user} {_REFUSED.get(role, 'may not do this')}"


@contextmanager
def group_readable() -> Iterator[None]:
    """Files made meanwhile can be read by the group of their folder and by nobody else, as sessions want it.

    Whatever the account's own umask says: a strict one would shut the group out.
    """
    before = os.umask(0o027)
    try:
        yield
    finally:
        os.umask(before)


def known_group(group: str, site: Site) -> bool:
    """Whether the site file, the hub or this machine knows ``group``."""
    return group in site.groups or group in hub_groups(site) or group_id(group) is not None


def hub_groups(site: Site) -> dict[str, list[str]]:
    """Members by group as JupyterHub wrote them down for this site (`nextpyp-nb hub-groups`), if it does."""
    return {} if site.hub_groups is None else _written_groups(site.hub_groups, _half_minute())


def group_id(group: str) -> int | None:
    """The number of a POSIX group, None when this machine has no such group."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _is_one(user: str, named: str, site: Site) -> bool:
    """Whether ``named`` is the user, or (as @GROUP) a group that has the user."""
    return user in _members(named[1:], site) if named.startswith("@") else user == named


def _members(group: str, site: Site) -> set[str]:
    hub = hub_groups(site)
    return set(hub[group]) if group in hub else _posix_members(group, _half_minute())


def _half_minute() -> int:
    # Pages ask at every change, and a directory of accounts may be slow: it is asked each half minute.
    return int(time.monotonic() // 30)


@lru_cache(maxsize=4)
def _written_groups(path: Path, _half_minute: int) -> dict[str, list[str]]:
    """What stands in the hub's file; who cannot be known there is in no group."""
    try:
        groups = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): list(map(str, members)) for name, members in groups.items()}


@lru_cache(maxsize=64)
def _posix_members(group: str, _half_minute: int) -> set[str]:
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return set()
    # Members by primary group are in the password file, not in the group's list.
    return set(entry.gr_mem) | {user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid}
