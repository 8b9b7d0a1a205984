"""Who may read a session, and who may command it."""

import grp
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from nextpyp_nb.settings import Site

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


def role(user: str, owner: str, group: str | None, site: Site) -> str:
    """One of `ROLES`: what ``user`` is to a session of ``owner`` and ``group``."""
    if user == owner:
        return "owner"
    if user in site.admins:
        return "admin"
    if group is None:
        return "none"
    if group in site.groups:
        members = site.groups[group]
        if user in members.get("operators", ()):
            return "operator"
        return "reader" if user in members.get("readers", ()) else "none"
    return "operator" if user in _posix_members(group, int(time.monotonic() // 30)) else "none"


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
    """Whether the site file or this machine knows ``group``."""
    return group in site.groups or group_id(group) is not None


def group_id(group: str) -> int | None:
    """The number of a POSIX group, None when this machine has no such group."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


@lru_cache(maxsize=64)
def _posix_members(group: str, _half_minute: int) -> set[str]:
    # Pages ask at every change, and a directory of accounts may be slow: it is asked each half minute.
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return set()
    # Members by primary group are in the password file, not in the group's list.
    return set(entry.gr_mem) | {user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid}
