"""The simulated movies that motion correction is measured on: motion laws, doses and sizes, with truth."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from nextpyp_nb.simulate import Column, compose
from nextpyp_nb.simulate.scene import Label
from nextpyp_nb.simulate.writers import tiff_bytes

# As many as S1 has: what a program costs to start counts as it does there.
TWELVE: tuple[Label, ...] = (
    "good", "ice_contamination", "good", "severe_drift", "carbon_edge", "empty", *("good",) * 6,
)  # fmt: skip
FORMATS = ("mrc", "tiff")
EXPOSURE = 32.0  # e⁻/Å² over a movie


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSet:
    """Movies that share everything but the specimen; ``column`` holds the settings of `Column`."""

    name: str
    labels: tuple[Label, ...] = ("good", "good")
    formats: tuple[str, ...] = ("mrc",)
    seeds: int = 1
    column: dict[str, Any] = field(default_factory=dict)


def _dose(electrons: float, pixel_size: float = 1.3) -> dict[str, Any]:
    """Settings of a movie with so many electrons a pixel and frame and the usual exposure."""
    dose = electrons / pixel_size**2
    return {"pixel_size": pixel_size, "dose_per_frame": dose, "frames": round(EXPOSURE / dose)}


_S1 = {
    "width": 1440,
    "frames": 16,
    "dose_per_frame": 2.0,
    "drift": 12.0,
    "local_motion": 4.0,
    "spacing": 1.08,
}
_LONG = {"height": 2048, "width": 2048, "frames": 30, "voltage": 200.0, "drift": 20.0, "local_motion": 8.0}
_LAW = {"frames": 24, "dose_per_frame": 1.2, "drift": 26.0}
SETS = {
    each.name: each
    for each in (
        MotionSet(name="s1", labels=TWELVE, formats=FORMATS, seeds=5, column=_S1),
        MotionSet(name="exponential", column=_LAW | {"law": "exponential"}),
        MotionSet(name="jerk", column=_LAW | {"law": "jerk"}),
        MotionSet(name="walk", column=_LAW | {"law": "walk", "drift": 12.0}),
        MotionSet(name="dose0.5", column=_dose(0.5)),
        MotionSet(name="dose1", column=_dose(1.0)),
        MotionSet(name="dose2", column=_dose(2.0)),
        MotionSet(
            name="long",
            column=_dose(1.0, 0.85) | _LONG,
        ),
        MotionSet(
            name="large",
            labels=("good",),
            column=_dose(1.0, 0.83) | {"height": 4096, "width": 4096, "frames": 12},
        ),
    )
}


def expose(wanted: MotionSet, seed: int, folder: Path) -> Column:
    """Record a set into ``folder``: gain.mrc, truth/, and the same movies in mrc/ and tiff/."""
    column = Column(seed=seed, **wanted.column)
    for name in ("truth", *wanted.formats):
        (folder / name).mkdir(parents=True)
    with mrcfile.new(folder / "gain.mrc") as mrc:
        mrc.set_data(column.camera.gain)
        mrc.voxel_size = column.pixel_size
    for index, label in enumerate(wanted.labels):
        exposure, stem = compose(column, index, label), f"mov_{index + 1:04d}"
        frames = np.stack(list(exposure.record()))
        (folder / "truth" / f"{stem}.json").write_text(json.dumps(exposure.truth(stem)))
        if "tiff" in wanted.formats:
            (folder / "tiff" / f"{stem}.tiff").write_bytes(tiff_bytes(frames))
        if "mrc" in wanted.formats:
            with mrcfile.new(folder / "mrc" / f"{stem}.mrc") as mrc:
                mrc.set_data(np.minimum(frames, 127).astype(np.int8))
                mrc.set_image_stack()
                mrc.voxel_size = column.pixel_size
    return column
