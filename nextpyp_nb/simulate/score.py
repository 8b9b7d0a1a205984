"""Compare what a session found with the truth behind pretend movies."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from nextpyp_nb.records import FloatArray, MotionModel

MATCH_RADIUS, EDGE = 50.0, 90.0  # Å
MISSING_DEFOCUS = 1000.0  # Å, the error of a micrograph without CTF


def score(
    truth_folder: Path | str,
    micrographs: pd.DataFrame,
    motions: Mapping[str, MotionModel],
    picks: Mapping[str, FloatArray],
) -> dict[str, Any]:
    """Errors of motion (px), defocus (Å) and picking over all movies with a truth file.

    ``micrographs`` has defocus_u, defocus_v and defocus_angle, indexed by name or with a column ``name``;
    ``picks`` holds centres (n, 2) in (y, x) px. What is absent counts as uncorrected motion, 1000 Å and
    missed particles.
    """
    paths = sorted(Path(truth_folder).glob("*.json"))
    truths = {path.stem: json.loads(path.read_text()) for path in paths if path.stem != "args"}
    if not truths:
        raise ValueError(f"no truth files (*.json) in {truth_folder}; expected one a movie")
    fits = micrographs.set_index("name") if "name" in micrographs else micrographs
    field = [motion_error(truth, motions.get(name)) for name, truth in truths.items()]
    whole = [motion_error(truth, motions.get(name), local=False) for name, truth in truths.items()]
    defocus = np.array([_defocus_errors(truth, fits, name) for name, truth in truths.items()])
    counts = np.sum([match_picks(truth, picks.get(name)) for name, truth in truths.items()], axis=0)
    hits, false, missed = (int(n) for n in counts)
    precision, recall = hits / max(1, hits + false), hits / max(1, hits + missed)
    return {
        "movies": len(truths),
        "motion_global_median_px": float(np.median(whole)),
        "motion_field_median_px": float(np.median(field)),
        "motion_missing": sum(name not in motions for name in truths),
        "defocus_median_A": float(np.median(defocus[:, 0])),
        "defocus_max_A": float(defocus[:, 0].max()),
        "astigmatism_median_A": float(np.median(defocus[:, 1])),
        "ctf_missing": sum(name not in fits.index for name in truths),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
        "hits": hits,
        "false": false,
        "missed": missed,
    }


def motion_error(truth: Mapping[str, Any], motion: MotionModel | None, *, local: bool = True) -> float:
    """RMS distance, px, of estimated and true trajectories, each less its own mean.

    With ``local`` at the truth's nine places, else of the mean trajectory; no motion is no correction.
    """
    places = np.array([[g["y"] / truth["ny"] - 0.5, g["x"] / truth["nx"] - 0.5] for g in truth["grid_shift"]])
    true = np.array([g["shift"] for g in truth["grid_shift"]])[..., ::-1]
    if motion is None or len(motion.shifts) != truth["frames"]:
        found = np.zeros_like(true)
    elif local:
        found = np.stack([_trajectory(motion, y, x) for y, x in places])
    else:
        found = motion.shifts[None]
    if not local:
        true = true.mean(axis=0, keepdims=True)
    error = found - true
    error = error - error.mean(axis=1, keepdims=True)
    return float(np.sqrt((error**2).sum(axis=-1).mean()))


def match_picks(truth: Mapping[str, Any], centres: FloatArray | None) -> tuple[int, int, int]:
    """Hits, false and missed picks of one micrograph.

    Picks and particles pair one to one within 50 Å; places within 90 Å of the edge count for neither side,
    nor do aggregates and the picks near them.
    """
    size = np.array([truth["ny"], truth["nx"]])
    radius, edge = MATCH_RADIUS / truth["apix"], EDGE / truth["apix"]
    particles = np.array([[p["y"], p["x"]] for p in truth["particles"]]).reshape(-1, 2)
    single = np.array([p["kind"] == "particle" for p in truth["particles"]], bool)
    found = np.zeros((0, 2)) if centres is None else np.asarray(centres, np.float64).reshape(-1, 2)

    def inside(points: FloatArray) -> Any:
        return ((points > edge) & (points < size - edge)).all(axis=1)

    distance = np.linalg.norm(found[:, None] - particles[None], axis=-1)
    pick, partner = linear_sum_assignment(np.where(distance < radius, distance, 1e6))
    paired = distance[pick, partner] < radius
    pick, partner = pick[paired], partner[paired]
    wanted = inside(particles) & single
    hits = int(wanted[partner].sum())
    loose = inside(found)
    loose[pick] = False
    loose &= ~(distance[:, ~single] <= 2 * radius).any(axis=1)
    return hits, int(loose.sum()), int(wanted.sum()) - hits


def _trajectory(motion: MotionModel, y: float, x: float) -> FloatArray:
    """Shifts (frames, 2) of a motion model at one place, -0.5..0.5."""
    if motion.local is None:
        return motion.shifts
    basis = np.array([1, x, x * x, y, y * y, x * y])
    frame = np.arange(len(motion.shifts))[:, None] ** np.arange(1, 4)
    coefficients = np.asarray(motion.local).reshape(2, 6, 3)
    return motion.shifts + np.einsum("abp,b,fp->fa", coefficients, basis, frame)


def _defocus_errors(truth: Mapping[str, Any], fits: pd.DataFrame, name: str) -> tuple[float, float]:
    """Errors of mean defocus and of the astigmatism vector, Å."""
    if name not in fits.index or not np.isfinite(fits.loc[name, "defocus_u"]):
        return MISSING_DEFOCUS, MISSING_DEFOCUS
    fit = fits.loc[name, ["defocus_u", "defocus_v", "defocus_angle"]].astype(float)
    mean, vector = _vector(*fit)
    true_mean, true_vector = _vector(truth["defocus_u"], truth["defocus_v"], truth["defocus_angle"])
    return abs(mean - true_mean), abs(vector - true_vector)


def _vector(u: float, v: float, angle: float) -> tuple[float, complex]:
    """Mean defocus and astigmatism as a vector at twice its angle."""
    return 0.5 * (u + v), (u - v) * np.exp(2j * np.deg2rad(angle))
