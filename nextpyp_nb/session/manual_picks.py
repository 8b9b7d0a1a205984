"""Picks that people add or remove: in files of their own, merged with the automatic ones when read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.records import FloatArray
from nextpyp_nb.session.json_file import write_json
from nextpyp_nb.session.places import place

# Numbers of added picks start here, those of automatic ones at 0.
FIRST_ADDED = 1_000_000
# RELION's figure of merit of a pick made by hand.
MANUAL_SCORE = -999.0
# Kinds of candidates.
FOUND, ADDED, REMOVED = 0, 1, 2
_NEAR = 0.5
Marks = dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPicks:
    """``centres`` (n, 2) in (y, x) px, ``scores`` (n,), and ``number`` (n,), which stays a pick's own."""

    centres: FloatArray
    scores: FloatArray
    number: Any


def read_marks(path: Path) -> Marks:
    """What people "added" and "removed" on a micrograph: (y, x) px; an added one taken back is empty."""
    try:
        marks: Marks = json.loads(path.read_text())
    except FileNotFoundError:
        return {"added": [], "removed": []}
    return marks


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatePicks:
    """Every candidate and what people added: ``kind`` (n,) is one of `FOUND`, `ADDED`, `REMOVED`.

    Those found count as particles above ``threshold``; ``centres`` (n, 2) are (y, x) px.
    """

    centres: FloatArray
    scores: FloatArray
    kind: Any
    threshold: float


def candidate_picks(stored: Mapping[str, Any], marks: Marks) -> CandidatePicks:
    """The candidates in the arrays of a file of picks, with people's marks."""
    centres = stored.get("candidates", stored["centres"]).reshape(-1, 2)
    gone = _removed(centres, _NEAR * float(stored["radius"]) / float(stored["pixel_size"]), marks)
    new = _added(marks)
    return CandidatePicks(
        centres=np.concatenate([centres, [centre for _, centre in new]]) if new else centres,
        scores=np.concatenate(
            [stored.get("candidate_scores", stored["scores"]), np.full(len(new), MANUAL_SCORE)]
        ),
        kind=np.concatenate([np.where(gone, REMOVED, FOUND), np.full(len(new), ADDED)]),
        threshold=float(stored["threshold"]),
    )


def merged_picks(folder: Path, name: str) -> MergedPicks | None:
    """The automatic picks of a micrograph less the removed and plus the added; None before it is picked."""
    path = place(folder, "picks", name)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        centres, scores = stored["centres"].reshape(-1, 2), stored["scores"]
        near = _NEAR * float(stored["radius"]) / float(stored["pixel_size"])
    return _merged(centres, scores, near, read_marks(place(folder, "manual", name)))


def _merged(centres: FloatArray, scores: FloatArray, near: float, marks: Marks) -> MergedPicks:
    number = np.arange(len(centres))
    kept = ~_removed(centres, near, marks)
    added = _added(marks)
    new = np.array([centre for _, centre in added], np.float32).reshape(-1, 2)
    return MergedPicks(
        centres=np.concatenate([centres[kept], new]).astype(np.float32),
        scores=np.concatenate([scores[kept], np.full(len(new), MANUAL_SCORE)]).astype(np.float32),
        number=np.concatenate([number[kept], [FIRST_ADDED + i for i, _ in added]]).astype(np.int64),
    )


def _removed(centres: FloatArray, near: float, marks: Marks) -> Any:
    removed = np.array(marks["removed"], np.float32).reshape(-1, 2)
    return (np.linalg.norm(centres[:, None] - removed[None], axis=-1) <= near).any(axis=1)


def _added(marks: Marks) -> list[tuple[int, list[float]]]:
    return [(i, centre) for i, centre in enumerate(marks["added"]) if centre]


def mark_pick(folder: Path, name: str, y: float, x: float, *, near: float, add: bool) -> int:
    """Add or remove a pick at (y, x) px; opposite marks within ``near`` px go. Returns how many are left."""
    marks, here = read_marks(place(folder, "manual", name)), [float(y), float(x)]

    def there() -> bool:
        with_marks = _merged_with(folder, name, near, marks)
        return bool((np.linalg.norm(with_marks.centres - here, axis=1) <= near).any())

    def away(centre: list[float]) -> bool:
        return not centre or bool(np.hypot(centre[0] - y, centre[1] - x) > near)

    if there() is add:
        raise ValueError(f"there is {'a' if add else 'no'} pick within {near:.0f} px of y {y:.0f}, x {x:.0f}")
    if add:
        marks["removed"] = [centre for centre in marks["removed"] if away(centre)]
        if not there():
            marks["added"].append(here)
    else:
        # An added pick's place is its number, so one that is taken back leaves a gap.
        marks["added"] = [centre if away(centre) else [] for centre in marks["added"]]
        marks["removed"].append(here)
    write_json(place(folder, "manual", name), marks)
    return len(_merged_with(folder, name, near, marks).number)


def _merged_with(folder: Path, name: str, near: float, marks: Marks) -> MergedPicks:
    path = place(folder, "picks", name)
    if not path.is_file():
        raise ValueError(f"{name} is not picked yet")
    with np.load(path, allow_pickle=False) as stored:
        return _merged(stored["centres"].reshape(-1, 2), stored["scores"], near, marks)
