"""What a worker does with one movie: motion, CTF, picks, from the first stage that is stale."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.kernels.backend import to_device
from nextpyp_nb.kernels.quality import micrograph_quality
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.ctf_stage import fit_ctf, read_ctf
from nextpyp_nb.tracks.motion_stage import correct_movie, frame_groups, read_motion
from nextpyp_nb.tracks.picking_stage import find_particles

Report = Callable[[dict[str, Any]], None]
STAGES = ("motion", "ctf", "picking")


def process_movie(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Bring one movie from its first stale stage to picks; the returned numbers become its row.

    ``payload`` holds folder, name, path, settings, first_stage (motion, ctf or picking), threads and
    device (CUDA number or None).
    """
    settings = Settings.model_validate(payload["settings"])
    places = Places(Path(payload["folder"]), payload["name"])
    first = STAGES.index(payload["first_stage"])
    row: dict[str, Any] = {}
    with scipy.fft.set_workers(max(1, int(payload.get("threads", 1)))):
        if first == 0:
            row |= _timed("motion", report, correct_movie, Path(payload["path"]), places, settings, payload)
        average, pixel_size = read_mrc(places("average"))
        motion, mean_dose = read_motion(places)
        average = to_device(np.asarray(average, np.float32), payload.get("device"))
        if first <= 1:
            groups = (
                frame_groups(Path(payload["path"]), settings, payload) if settings.ctf.from_frames else None
            )
            seen = (average, pixel_size) if groups is None else (groups, settings.microscope.pixel_size)
            row |= _timed("ctf", report, fit_ctf, *seen, places, settings, len(motion.shifts))
            del groups, seen
            ctf = row.pop("ctf")
            row |= micrograph_quality(
                average, pixel_size=pixel_size, motion=motion, ctf=ctf, mean_dose=mean_dose
            )
            if not np.isfinite(mean_dose):
                row["dose_evenness"] = None
        else:
            ctf = read_ctf(places)
        row |= _timed("picking", report, find_particles, average, pixel_size, ctf, places, settings, payload)
    return {name: _plain(value) for name, value in row.items()}


def _timed(stage: str, report: Report, step: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    report({"stage": stage})
    begin = time.monotonic()
    return step(*args) | {f"seconds_{stage}": time.monotonic() - begin}


def _plain(value: Any) -> Any:
    """Numbers as JSON and SQLite know them; what is not finite is unknown."""
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
