"""Particles of one micrograph."""

from typing import Any

import numpy as np

from nextpyp_nb.formats.arrays import write_arrays
from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.kernels.backend import to_device
from nextpyp_nb.kernels.picking import pick_particles
from nextpyp_nb.records import Ctf
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings


def find_particles(
    average: Any,
    pixel_size: float,
    ctf: Ctf | None,
    places: Places,
    settings: Settings,
    payload: dict[str, Any],
) -> dict[str, Any]:
    """Pick the particles of one micrograph; they lie in ``places`` afterwards."""
    chosen = settings.picking
    if chosen.radius is None or chosen.method == "none":
        places("picks").unlink(missing_ok=True)
        return {"particles": 0, "pick_threshold": None, "junk_fraction": None}
    if places("weighted").is_file():
        weighted, _ = read_mrc(places("weighted"))
        average = to_device(np.asarray(weighted, np.float32), payload.get("device"))
    picks = pick_particles(average, pixel_size=pixel_size, ctf=ctf, **chosen.model_dump())
    write_arrays(
        places("picks"), centres=picks.centres, scores=picks.scores, radius=picks.radius,
        pixel_size=picks.pixel_size, threshold=picks.threshold,
    )  # fmt: skip
    return {
        "particles": len(picks),
        "pick_threshold": picks.threshold,
        "junk_fraction": picks.junk_fraction,
    }
