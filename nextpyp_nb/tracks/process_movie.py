"""What a worker does with one movie: motion, CTF, picks, from the first stage that is stale."""

import time
from collections.abc import Callable
from functools import cache, partial
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
from nextpyp_nb.tracks.kept import Kept
from nextpyp_nb.tracks.motion_stage import correct_movie, frame_groups, read_motion
from nextpyp_nb.tracks.picking_stage import find_particles, particle_count

Report = Callable[[dict[str, Any]], None]
Step = Callable[[], dict[str, Any]]
STAGES = ("motion", "ctf", "picking")


def process_movie(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Bring one movie from its first stale stage to picks; the returned numbers become its row.

    ``payload`` holds folder, name, path, settings, first_stage (motion, ctf or picking), threads and
    device (CUDA number or None), and the keys of the stages where results are kept by them.
    """
    settings = Settings.model_validate(payload["settings"])
    places = Places(Path(payload["folder"]), payload["name"])
    first, kept = STAGES.index(payload["first_stage"]), Kept(places, payload.get("keys"))
    stages: dict[str, Step] = {
        "motion": lambda: correct_movie(Path(payload["path"]), places, settings, payload),
        "ctf": lambda: _ctf(average(), places, settings, payload),
        "picking": lambda: find_particles(*average(), read_ctf(places), places, settings, payload),
    }
    average = cache(lambda: _image(places, "average", payload))
    row: dict[str, Any] = {}
    with scipy.fft.set_workers(max(1, int(payload.get("threads", 1)))):
        for stage in STAGES[first:]:
            row |= kept.through(stage, partial(_timed, stage, report, stages[stage]))
    # Marks of people change what counts without another result.
    return row | {"particles": particle_count(places)}


def _ctf(
    image: tuple[Any, float], places: Places, settings: Settings, payload: dict[str, Any]
) -> dict[str, Any]:
    average, pixel_size = image
    motion, mean_dose = read_motion(places)
    groups = frame_groups(Path(payload["path"]), settings, payload) if settings.ctf.from_frames else None
    seen = (average, pixel_size) if groups is None else (groups, settings.microscope.pixel_size)
    further = groups is None and places("rest").is_file()
    rest = _image(places, "rest", payload)[0] if further else None
    row = fit_ctf(*seen, places, settings, len(motion.shifts), rest)
    del groups, seen, rest
    ctf = row.pop("ctf")
    row |= micrograph_quality(average, pixel_size=pixel_size, motion=motion, ctf=ctf, mean_dose=mean_dose)
    return row if np.isfinite(mean_dose) else row | {"dose_evenness": None}


def _image(places: Places, kind: str, payload: dict[str, Any]) -> tuple[Any, float]:
    """An image, or images, on the device, and the pixel size."""
    image, pixel_size = read_mrc(places(kind), stack=kind == "rest")
    return to_device(np.asarray(image, np.float32), payload.get("device")), pixel_size


def _timed(stage: str, report: Report, step: Step) -> dict[str, Any]:
    report({"stage": stage})
    begin = time.monotonic()
    row = step() | {f"seconds_{stage}": time.monotonic() - begin}
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Numbers as JSON and SQLite know them; what is not finite is unknown."""
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
