"""Particles of one micrograph: all candidates are stored, and which of them are taken."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.formats.picks import read_picks
from nextpyp_nb.kernels.backend import to_device
from nextpyp_nb.kernels.particle_size import size_curve
from nextpyp_nb.kernels.picking import above_threshold, find_candidates
from nextpyp_nb.kernels.template_picking import (
    TemplateBank,
    find_by_template,
    map_projections,
    template_bank,
)
from nextpyp_nb.records import Ctf, Picks
from nextpyp_nb.session.manual_picks import merged_picks
from nextpyp_nb.session.places import Places
from nextpyp_nb.session.stages import candidates_key
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.pick_plugin import run_plugin


def find_particles(
    average: Any,
    pixel_size: float,
    ctf: Ctf | None,
    places: Places,
    settings: Settings,
    payload: dict[str, Any],
) -> dict[str, Any]:
    """Pick the particles of one micrograph; they lie in ``places`` afterwards.

    Candidates that the same settings found before are cut off anew, not searched again.
    """
    chosen = settings.picking
    if chosen.radius is None or chosen.method == "none":
        places("picks").unlink(missing_ok=True)
        found: dict[str, Any] = {"particles": 0, "pick_threshold": None, "junk_fraction": None}
        if payload.get("measure_size"):
            average = _weighted(average, places, payload)
            found["size_curve"] = size_curve(average, pixel_size=pixel_size, ctf=ctf).tolist()
        return found
    key = candidates_key(settings, payload.get("ctf_key", ""))
    candidates = _stored(places("picks"), key)
    if candidates is None:
        candidates = _found(average, pixel_size, ctf, places, settings, payload)
    picks = above_threshold(candidates, 0.0 if chosen.method == "all" else chosen.threshold)
    write_arrays(
        places("picks"), centres=picks.centres, scores=picks.scores, radius=picks.radius,
        pixel_size=picks.pixel_size, threshold=picks.threshold, junk_fraction=picks.junk_fraction,
        candidates=candidates.centres, candidate_scores=candidates.scores,
        found_threshold=candidates.threshold, key=np.array(key),
    )  # fmt: skip
    return {
        "particles": particle_count(places),
        "pick_threshold": picks.threshold,
        "junk_fraction": picks.junk_fraction,
    }


def particle_count(places: Places) -> int:
    """How many particles a micrograph has: what was picked, with the marks of people."""
    merged = merged_picks(places.folder, places.name)
    return 0 if merged is None else len(merged.number)


def _stored(path: Path, key: str) -> Picks | None:
    """The candidates that were found under ``key``, if there are any."""
    if not path.is_file():
        return None
    stored = read_arrays(path)
    if str(stored.get("key")) != key:
        return None
    return Picks(
        centres=stored["candidates"], scores=stored["candidate_scores"], radius=float(stored["radius"]),
        pixel_size=float(stored["pixel_size"]), threshold=float(stored["found_threshold"]),
        junk_fraction=float(stored["junk_fraction"]),
    )  # fmt: skip


def _weighted(average: Any, places: Places, payload: dict[str, Any]) -> Any:
    """The average weighted by exposure where there is one."""
    if not places("weighted").is_file():
        return average
    weighted, _ = read_mrc(places("weighted"))
    return to_device(np.asarray(weighted, np.float32), payload.get("device"))


def _found(
    average: Any, pixel_size: float, ctf: Ctf | None, places: Places, settings: Settings,
    payload: dict[str, Any],
) -> Picks:  # fmt: skip
    chosen = settings.picking
    assert chosen.radius is not None
    if chosen.method in ("import", "plug-in"):
        image = places("weighted") if places("weighted").is_file() else places("average")
        if chosen.method == "import":
            centres, scores = read_picks(Path(chosen.source or ""), places.name)
        else:
            centres, scores = run_plugin(
                chosen.plugin or "", image, pixel_size, timeout=chosen.plugin_timeout
            )
        # Theirs are all meant: only a threshold that the user sets takes any away.
        return Picks(
            centres=centres, scores=scores, radius=chosen.radius, pixel_size=pixel_size,
            threshold=float(np.min(scores, initial=0.0)) - 1.0,
        )  # fmt: skip
    average = _weighted(average, places, payload)
    if chosen.method == "template":
        return find_by_template(
            average, _bank(settings, pixel_size), pixel_size=pixel_size, ctf=ctf, distance=chosen.distance,
            ignore_contamination=chosen.ignore_contamination,
        )  # fmt: skip
    return find_candidates(
        average, pixel_size=pixel_size, radius=chosen.radius, ctf=ctf, distance=chosen.distance,
        ignore_contamination=chosen.ignore_contamination,
    )  # fmt: skip


def _bank(settings: Settings, pixel_size: float) -> TemplateBank:
    chosen = settings.picking
    assert chosen.radius is not None
    if not chosen.templates:
        raise ValueError("no templates to look for: set picking.templates to a stack of class averages")
    path = Path(chosen.templates)
    if not path.is_file():
        raise FileNotFoundError(f"there are no templates at {path}: give a stack of class averages or a map")
    return _bank_of(
        path, path.stat().st_mtime_ns, chosen.template_pixel_size, pixel_size, chosen.radius,
        chosen.template_low_pass,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _bank_of(
    path: Path, _changed: int, given: float | None, pixel_size: float, radius: float, low_pass: float
) -> TemplateBank:
    """The templates of one file; ``_changed`` makes a new file of the same name count as another."""
    templates, own = read_mrc(path, stack=True)
    if given is None and not own > 0:
        raise ValueError(f"{path.name} does not say its pixel size: set picking.template_pixel_size (Å)")
    templates, own = np.asarray(templates, np.float32), given or own
    if path.suffix != ".mrcs" and len(set(templates.shape)) == 1:
        templates, own = map_projections(templates, pixel_size=own, template_low_pass=low_pass)
    return template_bank(
        templates, template_pixel_size=own, pixel_size=pixel_size,
        radius=radius, template_low_pass=low_pass,
    )  # fmt: skip
