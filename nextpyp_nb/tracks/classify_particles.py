"""What a worker does for one round of 2D classification: box the particles, classify, write averages."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.pictures import encode_png
from nextpyp_nb.kernels.backend import to_device
from nextpyp_nb.kernels.class2d import Class2dState, classify
from nextpyp_nb.kernels.display import montage
from nextpyp_nb.kernels.fourier import fast_even
from nextpyp_nb.kernels.particles import extract_particles
from nextpyp_nb.records import Ctf
from nextpyp_nb.session.manual_picks import merged_picks
from nextpyp_nb.session.places import Places, place
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.ctf_stage import read_ctf
from nextpyp_nb.tracks.process_movie import Report

SHEET_COLUMNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxing:
    """How particles are cut out for 2D: box on the micrograph, final box and pixel."""

    box_px: int
    box: int
    pixel_size: float
    radius: float


def boxing(settings: Settings) -> Boxing:
    """Box and pixel for 2D: pixel ≤ limit / 2.5, box at least 2.4 radii, and no smaller than asked."""
    chosen = settings.class2d
    pixel = settings.microscope.pixel_size * settings.raw_data.binning
    radius = chosen.radius or settings.picking.radius
    wanted = pixel * chosen.binning if chosen.binning else max(pixel, chosen.max_resolution / 2.5)
    box = fast_even(max(chosen.box if chosen.binning else 0, int(np.ceil(2.4 * radius / wanted)), 32))
    box_px = 2 * round(box * wanted / pixel / 2)
    return Boxing(box_px=box_px, box=box, pixel_size=pixel * box_px / box, radius=radius)


def classify_particles(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """One round over the given micrographs; returns class rows for the store.

    ``payload`` holds folder, number, names (of micrographs), previous (number of the round to go on
    from, or None), settings, threads and device.
    """
    settings = Settings.model_validate(payload["settings"])
    folder, number = Path(payload["folder"]), int(payload["number"])
    cut = boxing(settings)
    with scipy.fft.set_workers(max(1, int(payload.get("threads", 1)))):
        images, ctfs, origin = _gather(folder, payload["names"], cut, settings, report)
        count = min(settings.class2d.classes, max(1, len(images) // 50))
        result = classify(
            to_device(images, payload.get("device")),
            ctfs,
            pixel_size=cut.pixel_size,
            classes=count,
            diameter=2 * cut.radius,
            seed=settings.class2d.seed,
            state=_previous_state(folder, payload.get("previous"), cut),
            min_resolution=settings.class2d.min_resolution,
            max_resolution=max(settings.class2d.max_resolution, 2 * cut.pixel_size),
            progress=_progress(report),
        )
    _write_round(folder, number, result, origin, cut)
    best = min((c.resolution for c in result.classes if np.isfinite(c.resolution)), default=None)
    return {
        "particles": len(images),
        "resolution": best,
        "classes": [
            {name: (value if value == value else None) for name, value in asdict(c).items()}
            for c in result.classes
        ],
        "path": str(place(folder, "classes", number).parent.relative_to(folder)),
    }


def _progress(report: Report) -> Callable[[int, int, str], None]:
    return lambda done, total, text: report({"stage": text, "done": done, "total": total})


def _gather(
    folder: Path, names: list[str], cut: Boxing, settings: Settings, report: Report
) -> tuple[Any, list[Ctf], dict[str, Any]]:
    """All particle images of ``names`` with their CTF and origin (micrograph index, pick index, centre)."""
    stacks, ctfs, micrograph, pick, centres = [], [], [], [], []
    for index, name in enumerate(names):
        if index % 20 == 0:
            report({"stage": "boxing particles", "done": index, "total": len(names)})
        places = Places(folder, name)
        ctf = read_ctf(places)
        if ctf is None or not places("picks").is_file():
            continue
        images, numbers, where = box_micrograph(places, cut)
        stacks.append(images)
        ctfs += [ctf] * len(images)
        micrograph.append(np.full(len(images), index, np.int32))
        pick.append(numbers.astype(np.int32))
        centres.append(where)
    limit = settings.class2d.max_particles
    if not ctfs:
        raise ValueError("no particles to classify: no micrograph has both picks and a CTF fit")
    chosen = slice(max(0, len(ctfs) - limit), None)
    origin = {
        "names": np.array(names),
        "micrograph": np.concatenate(micrograph)[chosen],
        "pick": np.concatenate(pick)[chosen],
        "centres": np.concatenate(centres)[chosen],
    }
    return np.concatenate(stacks)[chosen], ctfs[chosen], origin


def box_micrograph(places: Places, cut: Boxing) -> tuple[Any, Any, Any]:
    """Images (n, b, b), the numbers of their picks, and their centres (n, 2); cached by picks and box."""
    picks = merged_picks(places.folder, places.name)
    assert picks is not None
    source = places("weighted") if places("weighted").is_file() else places("average")
    key = np.array(
        [
            cut.box_px,
            cut.box,
            round(cut.radius * 100),
            places("picks").stat().st_mtime_ns,
            places("manual").stat().st_mtime_ns if places("manual").is_file() else 0,
            source.stat().st_mtime_ns,
        ]
    )
    if places("particles").is_file():
        cached = read_arrays(places("particles"))
        if np.array_equal(cached["key"], key):
            kept = cached["kept"]
            return cached["images"].astype(np.float32), picks.number[kept], picks.centres[kept]
    average, pixel_size = read_mrc(source)
    images, kept = extract_particles(
        np.asarray(average, np.float32),
        picks.centres,
        pixel_size=pixel_size,
        box_px=cut.box_px,
        target_pixel_size=cut.pixel_size,
        background_radius=cut.radius,
    )
    write_arrays(places("particles"), images=images.astype(np.float16), kept=kept, key=key)
    return images, picks.number[kept], picks.centres[kept]


def _previous_state(folder: Path, number: int | None, cut: Boxing) -> Class2dState | None:
    if number is None:
        return None
    path = place(folder, "state", number)
    if not path.is_file():
        return None
    stored = read_arrays(path)
    if stored.pop("box") != cut.box or not np.isclose(stored.pop("box_pixel_size"), cut.pixel_size):
        return None
    return Class2dState.from_arrays(stored)


def _write_round(folder: Path, number: int, result: Any, origin: dict[str, Any], cut: Boxing) -> None:
    """Write the round under a temporary name, then publish it at once."""
    final = place(folder, "classes", number).parent
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    averages = np.asarray(result.averages, np.float32)
    write_mrc(part / "classes.mrcs", averages, pixel_size=cut.pixel_size, stack=True)
    write_arrays(part / "state.npz", **result.state.to_arrays(), box=cut.box, box_pixel_size=cut.pixel_size)
    write_arrays(
        part / "assignments.npz", class_number=result.class_number, rotation=result.rotation,
        shift=np.asarray(result.shift) * cut.pixel_size, probability=result.probability, **origin,
    )  # fmt: skip
    columns = min(SHEET_COLUMNS, len(averages))
    (part / "classes.png").write_bytes(encode_png(montage(averages, columns, gap=0)))
    (part / "classes.json").write_text(
        json.dumps(
            {"tile": cut.box, "columns": columns, "pixel_size": cut.pixel_size, "count": len(averages)}
        )
    )
    if final.exists():
        shutil.rmtree(final)
    part.rename(final)
