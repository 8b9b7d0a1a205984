"""What a worker does for one round of 2D classification: box new particles, go on, write averages."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.pictures import encode_png, write_jpeg
from nextpyp_nb.kernels.class2d_setup import Class2dResult
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.display import montage
from nextpyp_nb.kernels.fourier import fourier_resize
from nextpyp_nb.session.places import place
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.class2d_boxes import Boxes, Boxing, ImagesGone, boxing
from nextpyp_nb.tracks.class2d_offline import MOST_THREADS
from nextpyp_nb.tracks.process_movie import Report

SHEET_COLUMNS = 10
# Of past rounds so many pictures stay, each of the largest classes.
PICTURES, PICTURE_CLASSES, PICTURE_SIDE = 200, 60, 64


def classify_particles(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """One round over the given micrographs; returns class rows for the store.

    ``payload`` holds folder, number, names (of micrographs), groups (optics group of each), previous (number
    of the round to go on from, or None), last (the newest done one), first_identity, settings, threads and
    device.
    """
    settings = Settings.model_validate(payload["settings"])
    folder, number, names = Path(payload["folder"]), int(payload["number"]), payload["names"]
    cut = boxing(settings)
    with scipy.fft.set_workers(min(MOST_THREADS, max(1, int(payload.get("threads", 1))))):
        stored = _stored(folder, payload.get("previous"))
        engine, boxes = _begin(folder, names, stored, cut, settings, payload.get("device"))
        if engine.updates == 0:
            engine.next_identity = int(payload["first_identity"])
            _expect(engine, folder, payload["last"])
        boxes.enter(engine, dict(zip(names, payload["groups"], strict=True)), report)
        if len(boxes.ids) < engine.setup.per_class:
            raise ValueError(
                f"{len(boxes.ids)} particles could be cut out of micrographs with picks and a CTF fit;"
                f" {engine.setup.per_class} or more are needed"
            )
        step = engine.update(_progress(report))
    result = engine.result()
    _write_round(folder, number, result, engine.to_arrays() | boxes.to_arrays(), boxes.origin(names), cut)
    _prune(folder, number, payload["last"])
    best = min((c.resolution for c in result.classes if np.isfinite(c.resolution)), default=None)
    return {
        "particles": len(result.ids),
        "resolution": best,
        "classes": [
            {name: (value if value == value else None) for name, value in asdict(c).items()}
            | {"identity": int(identity)}
            for c, identity in zip(result.classes, result.identity, strict=True)
        ],
        "new": step.new,
        "churn": step.churn if step.replayed else None,
        "annealed": step.annealed,
        "path": str(place(folder, "classes", number).parent.relative_to(folder)),
    }


def _progress(report: Report) -> Callable[[int, int, str], None]:
    return lambda done, total, text: report({"stage": text, "done": done, "total": total})


def _stored(folder: Path, previous: int | None) -> dict[str, Any]:
    """The state of the round to go on from, empty when there is none."""
    path = None if previous is None else place(folder, "state", previous)
    return {} if path is None or not path.is_file() else read_arrays(path)


def _begin(
    folder: Path,
    names: list[str],
    stored: dict[str, Any],
    cut: Boxing,
    settings: Settings,
    device: int | None,
) -> tuple[Classification, Boxes]:
    """The classification so far, less what is not in it any more; or a new one."""
    if stored:
        boxes = Boxes(folder, cut, stored)
        engine = Classification.from_arrays(stored, boxes.read, device=device)
        try:
            boxes.leave(engine, names)
            return engine, boxes
        except ImagesGone:
            # What cannot be taken out exactly would count for ever: all are classified anew.
            pass
    boxes, chosen = Boxes(folder, cut, {}), settings.class2d
    engine = Classification(
        boxes.read, device=device, box=cut.box, pixel_size=cut.pixel_size, diameter=2 * cut.radius,
        classes=chosen.classes, seed=chosen.seed, min_resolution=chosen.min_resolution,
        max_resolution=max(chosen.max_resolution, 2 * cut.pixel_size),
    )  # fmt: skip
    return engine, boxes


def _expect(engine: Classification, folder: Path, last: int | None) -> None:
    """New classes bear the names of those of the last round that they resemble, if drawn to one scale."""
    if last is None or not place(folder, "classes", last).is_file():
        return
    averages, pixel_size = read_mrc(place(folder, "classes", last), stack=True)
    assigned, setup = read_arrays(place(folder, "assignments", last)), engine.setup
    if averages.shape[-1] == setup.box and np.isclose(pixel_size, setup.pixel_size, rtol=0.01):
        count = np.bincount(assigned["class_number"], minlength=len(averages) + 1)[1:]
        largest = np.argsort(-count, kind="stable")[: setup.classes]
        # Rounds of the first versions told no identities; the database names their classes like this.
        identity = assigned.get("identity", -1 - np.arange(len(averages)))
        engine.expect(np.asarray(averages[largest], np.float32), identity[largest])


def _write_round(
    folder: Path,
    number: int,
    result: Class2dResult,
    state: dict[str, Any],
    origin: dict[str, Any],
    cut: Boxing,
) -> None:
    """Write the round under a temporary name, then publish it at once."""
    final = place(folder, "classes", number).parent
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    averages = np.asarray(result.averages, np.float32)
    write_mrc(part / "classes.mrcs", averages, pixel_size=cut.pixel_size, stack=True)
    write_arrays(part / "state.npz", **state)
    write_arrays(
        part / "assignments.npz", class_number=result.class_number, rotation=result.rotation,
        shift=np.asarray(result.shift) * cut.pixel_size, probability=result.probability,
        identity=result.identity, **origin,
    )  # fmt: skip
    columns = min(SHEET_COLUMNS, len(averages))
    (part / "classes.png").write_bytes(encode_png(montage(averages, columns, gap=0)))
    (part / "classes.json").write_text(
        json.dumps(
            {"tile": cut.box, "columns": columns, "pixel_size": cut.pixel_size, "count": len(averages)}
        )
    )
    _write_picture(part / place(folder, "classes_picture", number).name, result)
    if final.exists():
        shutil.rmtree(final)
    part.rename(final)


def _write_picture(path: Path, result: Class2dResult) -> None:
    """The largest classes, small, for the history of rounds."""
    largest = sorted(result.classes, key=lambda c: -c.count)[:PICTURE_CLASSES]
    chosen = np.asarray(result.averages, np.float32)[[c.number - 1 for c in largest if c.count]]
    if len(chosen):
        side = min(PICTURE_SIDE, chosen.shape[-1])
        small = np.asarray(fourier_resize(chosen, (side, side)))
        write_jpeg(path, montage(small, min(SHEET_COLUMNS, len(small)), gap=0))


def _prune(folder: Path, number: int, last: int | None) -> None:
    """Leave the picture alone of all rounds but this and the last done one, and nothing of very old ones."""
    whole = {place(folder, "classes", n).parent for n in (number, last) if n is not None}
    picture = place(folder, "classes_picture", number).name
    for past in place(folder, "classes", number).parent.parent.glob("round_*"):
        if past in whole:
            continue
        if int(past.name.removeprefix("round_")) <= number - PICTURES:
            shutil.rmtree(past)
            continue
        for path in past.iterdir():
            if path.name != picture:
                path.unlink()
