"""The gain check of a session's first movies, as pre-processing left it."""

import json
from pathlib import Path
from typing import Any

from nextpyp_nb.settings import Settings

FITS, UNCLEAR = "fits", "cannot tell yet"
_SET = ("reference", "rotation", "flip_horizontal", "flip_vertical", "operation")


def gain_folder(folder: Path) -> Path:
    """Where the check lies: check.json, check.jpg and, until it is done, the sums of the first movies."""
    return folder / "gain"


def as_set(settings: Settings) -> dict[str, Any]:
    """The settings that a check speaks of."""
    return {name: getattr(settings.gain, name) for name in _SET}


def read_gain_check(folder: Path) -> dict[str, Any] | None:
    """The newest check: verdict, text, proposal (settings), set, movies, fits; None before the first."""
    try:
        found = json.loads((gain_folder(folder) / "check.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if isinstance(found, dict) else None


def gain_alert(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """The check where it disagrees with ``settings`` as they are now."""
    check = read_gain_check(folder)
    if check is None or check["verdict"] in (FITS, UNCLEAR) or check["set"] != as_set(settings):
        return None
    return check
