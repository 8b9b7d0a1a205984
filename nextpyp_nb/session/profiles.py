"""Settings kept under a name, to begin other sessions with: all but where the data lie."""

import json
import os
import re
from pathlib import Path
from typing import Any

from nextpyp_nb.settings import Item, Settings

_NAME = re.compile(r"[\w][\w .+-]{0,63}")


def profile_folder() -> Path:
    """Where this account keeps its profiles."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "nextpyp-nb" / "profiles"


def profile_names(folder: Path | None = None) -> list[str]:
    """The names of the profiles, in order."""
    return sorted(path.stem for path in (folder or profile_folder()).glob("*.json"))


def save_profile(name: str, settings: Settings, folder: Path | None = None) -> Path:
    """Keep what differs from the defaults; paths belong to a session and are left out."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"got profile name {name!r}, expected letters, digits, spaces and . + - _")
    default, flat = Settings().flat(), settings.flat()
    kept = {item.key: flat[item.key] for item in _kept() if flat[item.key] != default[item.key]}
    path = (folder or profile_folder()) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)
    return path


def read_profile(name: str, folder: Path | None = None) -> dict[str, Any]:
    """All settings of a profile by key, defaults where it names none; unknown names are errors."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"got profile name {name!r}, expected one of {', '.join(profile_names(folder))}")
    path = (folder or profile_folder()) / f"{name}.json"
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no profile {name} at {path.parent}") from None
    whole = Settings().updated(kept).flat()
    return {item.key: whole[item.key] for item in _kept()}


def delete_profile(name: str, folder: Path | None = None) -> None:
    """Forget a profile."""
    if _NAME.fullmatch(name):
        ((folder or profile_folder()) / f"{name}.json").unlink(missing_ok=True)


def _kept() -> list[Item]:
    return [item for item in Settings.items() if not item.path]
