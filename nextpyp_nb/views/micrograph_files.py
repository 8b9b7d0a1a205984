"""What the pages read of one micrograph: picture, picks, curves, motion."""

from typing import Any

import numpy as np

from nextpyp_nb.records import FloatArray, local_shifts
from nextpyp_nb.session.manual_picks import CandidatePicks, candidate_picks, read_marks

# Places (y, x) of the micrograph, -0.5..0.5, at which local motion is shown.
PLACES = np.stack(np.meshgrid(*2 * [np.linspace(-0.4, 0.4, 5)], indexing="ij"), axis=-1).reshape(-1, 2)


def load(session: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """Read the picture, picks, CTF curves and trajectory of one micrograph; None for what is not there."""
    name = entry["name"]
    try:
        picture = session.file("preview", name).read_bytes()
    except FileNotFoundError:
        picture = b""
    picks, ctf, motion = (arrays(session, kind, name) for kind in ("picks", "ctf", "trajectory"))
    radius = 0.0 if picks is None else float(picks["radius"])
    return {"entry": entry, "picture": picture, "picks": _marked(session, name, picks), "radius": radius,
            "ctf": ctf, "motion": motion}  # fmt: skip


def arrays(session: Any, kind: str, name: str) -> dict[str, Any] | None:
    """The arrays of one of a micrograph's files; None when there is none."""
    try:
        with np.load(session.file(kind, name), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except FileNotFoundError:
        return None


def _marked(session: Any, name: str, picks: dict[str, Any] | None) -> CandidatePicks | None:
    return None if picks is None else candidate_picks(picks, read_marks(session.file("manual", name)))


def path(motion: dict[str, Any] | None) -> FloatArray | None:
    """The path of the whole frame, (frames, 2) in (y, x) Å."""
    if motion is None or not len(motion["shifts"]):
        return None
    return np.asarray(motion["shifts"], np.float64) * float(motion["pixel_size"])


def field(motion: dict[str, Any] | None) -> FloatArray | None:
    """How the specimen moved at `PLACES` besides, (place, frame, 2) in (y, x) Å; None where nothing did."""
    if motion is None or "local" not in motion:
        return None
    frames = range(len(motion["shifts"]))
    local = np.stack([local_shifts(motion["local"], PLACES, f) for f in frames], axis=1)
    return np.asarray(local, np.float64) * float(motion["pixel_size"])
