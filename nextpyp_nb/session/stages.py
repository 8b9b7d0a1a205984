"""What each stage reads: its key, and what a change of settings does again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nextpyp_nb.settings import Settings

TRACKS = ("transfer", "preprocess", "classify")
STAGES = ("motion", "ctf", "picking")

# Raised when a stage gives other results for the same input.
CODE_VERSIONS: dict[str, int] = {"motion": 1, "ctf": 3, "picking": 3, "classify": 2}

# Section names, or single fields, that a stage reads besides what its upstream stage read.
READS: dict[str, tuple[str, ...]] = {
    "motion": ("raw_data.binning", "raw_data.invert", "raw_data.no_frames", "gain", "microscope", "motion"),
    "ctf": ("ctf",),
    "picking": ("picking",),
    # Particles that are cut out or fitted otherwise take the place of those before, in the same classes.
    "classify": (
        "class2d.classes", "class2d.box", "class2d.binning", "class2d.radius", "class2d.max_resolution",
        "class2d.min_resolution", "class2d.seed", "raw_data.binning", "microscope.pixel_size",
        "picking.radius",
    ),
}  # fmt: skip
# In force as soon as it is saved.
AT_ONCE = ("class2d.accept",)
WORDS = {"motion": "motion", "ctf": "CTF", "picking": "picks", "classify": "2D classes"}


def reads(settings: Settings, stage: str) -> dict[str, Any]:
    """The settings that ``stage`` itself reads, by name."""
    wanted = READS[stage]
    return {
        name: value
        for name, value in settings.flat().items()
        if name in wanted or name.partition(".")[0] in wanted
    }


def stage_keys(
    settings: Settings, input_hash: str, code_versions: Mapping[str, int] = CODE_VERSIONS
) -> dict[str, str]:
    """The key of each stage of one movie, chained: same key, same result."""
    return movie_keys({stage: _own(settings, stage, code_versions) for stage in STAGES}, input_hash)


def own_keys(settings: Settings, code_versions: Mapping[str, int] = CODE_VERSIONS) -> dict[str, str]:
    """What settings and code contribute to the keys of every movie."""
    return {stage: _own(settings, stage, code_versions) for stage in STAGES}


def movie_keys(own: Mapping[str, str], input_hash: str) -> dict[str, str]:
    """`own_keys` chained onto the content of one movie."""
    keys, upstream = {}, input_hash
    for stage in STAGES:
        keys[stage] = upstream = _digest([own[stage], upstream])
    return keys


def candidates_key(settings: Settings, upstream: str) -> str:
    """The key of a micrograph's candidates: where they are cut off does not change them.

    ``upstream`` is the key of the stage before.
    """
    chosen = reads(settings, "picking")
    chosen.pop("picking.threshold")
    if chosen["picking.method"] == "all":
        chosen["picking.method"] = "auto"
    return _digest([CODE_VERSIONS["picking"], chosen, upstream])


def classify_key(settings: Settings, code_versions: Mapping[str, int] = CODE_VERSIONS) -> str:
    """The key of a round: a round goes on from the one before only under the same key."""
    return _own(settings, "classify", code_versions)


def first_changed(old: Mapping[str, str | None], new: Mapping[str, str]) -> str | None:
    """The first stage to do again, or None when all results stand."""
    return next((stage for stage in STAGES if old.get(stage) != new[stage]), None)


def what_reruns(old: Settings, new: Settings) -> dict[str, bool]:
    """Which of motion, ctf, picking and classify a change from ``old`` to ``new`` does again."""
    before, after = stage_keys(old, ""), stage_keys(new, "")
    again = {stage: before[stage] != after[stage] for stage in STAGES}
    return again | {"classify": classify_key(old) != classify_key(new)}


def confirmation(old: Settings, new: Settings, micrographs: int, rounds: int = 0) -> str:
    """What Restart will do, in a sentence such as "redo CTF and picks of 713 micrographs"."""
    again = what_reruns(old, new)
    words = [WORDS[stage] for stage in STAGES if again[stage]]
    parts = []
    if words and micrographs:
        listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
        parts.append(f"redo {listed} of {micrographs:,} micrograph{'s' * (micrographs != 1)}")
    if again["classify"] and rounds:
        parts.append("start 2D classification over")
    return "; ".join(parts) or "redo nothing"


def _own(settings: Settings, stage: str, code_versions: Mapping[str, int]) -> str:
    return _digest([stage, code_versions[stage], reads(settings, stage)])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
