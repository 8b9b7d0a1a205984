"""What the page of classes reads of a round: its averages, and the particles of a class."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nextpyp_nb.session.filters import Condition, filter_text, parse_filter

SHOWN, OPENED = 60, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The particles of a class: ``names`` of micrographs, ``picks``, ``centres`` (n, 2) px."""

    names: Any
    picks: Any
    centres: NDArray[np.floating]


def load_sheet(session: Any, number_of_round: int) -> tuple[bytes, dict[str, Any]]:
    """The sheet of a round's averages, and how it is laid out."""
    layout = json.loads(session.file("classes_layout", number_of_round).read_text())
    return session.file("classes_sheet", number_of_round).read_bytes(), layout


def members(session: Any, number_of_round: int, number: int) -> Members:
    """The particles of class ``number`` of a round, in the order of their micrographs."""
    with np.load(session.file("assignments", number_of_round), allow_pickle=False) as stored:
        mine = stored["class_number"] == number
        return Members(
            names=stored["names"][stored["micrograph"][mine]],
            picks=stored["pick"][mine],
            centres=stored["centres"][mine],
        )


def particle_images(session: Any, of: Members) -> tuple[NDArray[np.uint8], list[str]]:
    """Up to `SHOWN` of the particles as grey (n, b, b), from `OPENED` micrographs spread over the session."""
    unique = np.unique(of.names)
    some = unique[np.unique(np.linspace(0, len(unique) - 1, min(OPENED, len(unique))).astype(int))]
    images, names = [], []
    for name in some:
        try:
            with np.load(session.file("particles", str(name)), allow_pickle=False) as stored:
                there = np.isin(stored["number"], of.picks[of.names == name])
                found = stored["images"][there][: -(-SHOWN // len(some))]
        except FileNotFoundError:
            continue
        images += list(np.asarray(found, np.float32))
        names += [str(name)] * len(found)
    if not images:
        raise FileNotFoundError("the images of these particles are on disk no more: start a new round")
    return np.stack([_grey(image) for image in images[:SHOWN]]), names[:SHOWN]


def classes_star(classes: pd.DataFrame, stack: str) -> str:
    """The averages ``classes`` of a stack as a STAR file."""
    labels = ("ReferenceImage", "ClassDistribution", "EstimatedResolution", "ClassIndex")
    head = "\n".join(f"_rln{label} #{i}" for i, label in enumerate(labels, 1))
    lines = [
        f"{int(c['number']):06d}@{stack} {c['share']:.6f} "
        f"{c['resolution'] if np.isfinite(c['resolution']) else 999:.3f} {int(c['number'])}"
        for c in classes.to_dict("records")
    ]
    return f"data_model_classes\n\nloop_\n{head}\n" + "\n".join(lines) + "\n"


def rule_text(resolution: float | None, share: float | None) -> str:
    """The rule that accepts up to a resolution (Å), and from a share (0..1) on."""
    conditions = [
        Condition(column="resolution", maximum=resolution) if resolution is not None else None,
        Condition(column="share", minimum=share) if share else None,
    ]
    return filter_text([c for c in conditions if c is not None])


def passes(classes: pd.DataFrame, rule: str) -> NDArray[np.bool_]:
    """Which classes a rule accepts."""
    keep = np.ones(len(classes), bool)
    for condition in parse_filter(rule):
        keep &= condition.holds(classes)
    return keep


def _grey(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    # Neighbours averaged: at a few Å a pixel a single particle is mostly noise.
    smooth = (image + np.roll(image, 1, 0)) + np.roll(image + np.roll(image, 1, 0), 1, 1)
    middle, spread = float(np.median(smooth)), float(smooth.std()) or 1.0
    return np.asarray(np.clip(127.5 + 50 * (smooth - middle) / spread, 0, 255), np.uint8)
