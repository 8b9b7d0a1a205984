"""How far a command reaches: what a runner would read, write or run as its owner because another says so."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nextpyp_nb.settings import Settings, SettingsError, Site, read_site
from nextpyp_nb.settings.raw_data import is_remote, places

# Set where a page is served to people who must not run code as the account that serves it.
SERVED = "NEXTPYP_NB_SERVED"
# A Dask scheduler can have whoever trusts it run anything.
PROGRAMS = {
    "picking.plugin": "runs a program",
    "resources.address": "gives control to who owns the scheduler",
}
_OUTPUTS = ("exports", "reports")
_WILD = set("*?[")


def served() -> bool:
    """Whether this process is the page of people who act as another account."""
    return bool(os.environ.get(SERVED))


def beneath(path: Path, roots: Iterable[Path]) -> bool:
    """Whether ``path`` lies below one of ``roots`` by a way without links; it need not exist yet."""
    path = path.expanduser()
    if not path.is_absolute() or ".." in path.parts:
        return False
    for root in roots:
        for top in dict.fromkeys((root.expanduser().absolute(), root.expanduser().resolve())):
            if path.is_relative_to(top) and not _link_between(top, path):
                return True
    return False


def confined(source: str, roots: Iterable[Path]) -> tuple[Path, ...] | None:
    """Where a file that is named below one of ``roots`` must really lie when it is opened: below any of them.

    A link that is put there after a place was allowed leads nowhere then. None for other names.
    """
    tops = [(root.expanduser().absolute(), root.expanduser().resolve()) for root in roots]
    named = any(Path(source).is_relative_to(top) for pair in tops for top in pair)
    return tuple(real for _, real in tops) if named else None


def overreach(
    name: str, arguments: Mapping[str, Any], settings: Settings, folder: Path, roots: Iterable[Path] | None
) -> str:
    """What the command ``name`` names that only the owner may, as the end of a sentence; empty for nothing.

    That is another program, or a place of the settings or an output below none of ``roots`` (None: any
    place will do) and not in the session's ``folder``. What ``settings`` say already is no news.
    """
    if name in ("export", "report"):
        out = arguments.get("out")
        allowed = None if roots is None else (*roots, *(folder / part for part in _OUTPUTS))
        return _outside(str(out), allowed) if out else ""
    wanted = _wanted(name, arguments, settings)
    return "" if wanted is None else news(settings, wanted, None if roots is None else (*roots, folder))


def news(before: Settings, after: Settings, roots: Iterable[Path] | None) -> str:
    """The same for settings that become others."""
    changed = before.changes(after)
    for key, sentence in PROGRAMS.items():
        if changed.get(key, (None, None))[1]:
            return f"{key} {sentence}"
    named = [item.key for item in Settings.items() if item.path and item.key in changed]
    for place in (place for key in named for place in places(str(changed[key][1] or ""))):
        if problem := _outside(place, roots):
            return problem
    return ""


def check_served(location: str) -> str:
    """``location`` (several by semicolons), or PermissionError where a served page may not look."""
    for place in places(location) if served() else ():
        if problem := _outside(place, roots_of(read_site())):
            raise PermissionError(f"{problem}: people of this page may not look there")
    return location


def roots_of(site: Site) -> tuple[Path, ...] | None:
    """Where a served page may reach: the site's data roots, anywhere when it names none."""
    return site.data_roots or None


def _wanted(name: str, arguments: Mapping[str, Any], settings: Settings) -> Settings | None:
    """The settings that a command would put in force; None when it would not, or cannot be carried out."""
    try:
        if name == "save_settings":
            nested = arguments["settings"].items()
            return Settings.from_flat({f"{s}.{key}": v for s, fields in nested for key, v in fields.items()})
        if name == "try_out":
            return settings.updated(arguments["changes"])
    except (SettingsError, AttributeError, KeyError, TypeError):
        # It will be answered with what is wrong with it.
        return None
    return None


def _outside(place: str, roots: Iterable[Path] | None) -> str:
    if roots is None:
        return ""
    if not is_remote(place) and ".." not in Path(place).parts and beneath(_fixed(place), roots):
        return ""
    return f"{place} does not lie below the site's data_roots"


def _fixed(place: str) -> Path:
    """The part of a pattern before its wildcards."""
    parts = Path(place).expanduser().parts
    wild = next((n for n, part in enumerate(parts) if _WILD & set(part)), len(parts))
    return Path(*parts[:wild])


def _link_between(top: Path, path: Path) -> bool:
    here = top
    for part in path.relative_to(top).parts:
        here = here / part
        if here.is_symlink():
            return True
    return False
