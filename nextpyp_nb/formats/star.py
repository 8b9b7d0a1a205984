"""RELION 3.1 tables: the only place that turns (y, x) and our signs into RELION's X, Y and back.

RELION's particle origins are minus where the particle lies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nextpyp_nb.formats.star_text import read_star as read_star
from nextpyp_nb.formats.star_text import star_name as star_name
from nextpyp_nb.formats.star_text import write_star as write_star


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticsGroup:
    """Optics shared by micrographs; ``image_pixel_size`` and ``box`` only where particles were boxed."""

    name: str = "opticsGroup1"
    number: int = 1
    voltage: float
    cs: float
    amplitude_contrast: float
    original_pixel_size: float
    micrograph_pixel_size: float
    image_pixel_size: float | None = None
    box: int | None = None


_MICROGRAPH = {
    "path": "rlnMicrographName",
    "path_unweighted": "rlnMicrographNameNoDW",
    "path_even": "rlnMicrographNameEven",
    "path_odd": "rlnMicrographNameOdd",
    "ctf_image": "rlnCtfImage",
    "motion_path": "rlnMicrographMetadata",
    "motion_total": "rlnAccumMotionTotal",
    "motion_early": "rlnAccumMotionEarly",
    "motion_late": "rlnAccumMotionLate",
}
_CTF = {
    "defocus_u": "rlnDefocusU",
    "defocus_v": "rlnDefocusV",
    "defocus_angle": "rlnDefocusAngle",
    "phase_shift": "rlnPhaseShift",
    "fit_resolution": "rlnCtfMaxResolution",
    "score": "rlnCtfFigureOfMerit",
}
_PARTICLE = {
    "x": "rlnCoordinateX",
    "y": "rlnCoordinateY",
    "pick_score": "rlnAutopickFigureOfMerit",
    "class_number": "rlnClassNumber",
    "group_number": "rlnGroupNumber",
}


def optics_block(groups: Sequence[OpticsGroup]) -> pd.DataFrame:
    """Table data_optics."""
    if not groups:
        raise ValueError("no optics group, expected one or more")
    table = pd.DataFrame(
        {
            "rlnOpticsGroupName": [star_name(group.name) for group in groups],
            "rlnOpticsGroup": [group.number for group in groups],
            "rlnMicrographOriginalPixelSize": [group.original_pixel_size for group in groups],
            "rlnMicrographPixelSize": [group.micrograph_pixel_size for group in groups],
            "rlnVoltage": [group.voltage for group in groups],
            "rlnSphericalAberration": [group.cs for group in groups],
            "rlnAmplitudeContrast": [group.amplitude_contrast for group in groups],
        }
    )
    boxed = [group for group in groups if group.box is not None and group.image_pixel_size is not None]
    if boxed and len(boxed) != len(groups):
        raise ValueError("some optics groups have a box size and others none")
    if boxed:
        table["rlnImagePixelSize"] = [group.image_pixel_size for group in groups]
        table["rlnImageSize"] = [group.box for group in groups]
        table["rlnImageDimensionality"] = 2
    return table


def micrograph_rows(micrographs: pd.DataFrame) -> pd.DataFrame:
    """Table data_micrographs from columns ``path`` and, where known, the names of Ctf and of the motion.

    Takes path, path_unweighted, path_even, path_odd, optics_group, ctf_image, motion_path, motion_total,
    motion_early, motion_late (Å), defocus_u, defocus_v (Å), defocus_angle, phase_shift (degrees),
    fit_resolution, score.
    """
    table = _renamed(micrographs, _MICROGRAPH | _CTF, required=("path",))
    table.insert(1, "rlnOpticsGroup", _optics_groups(micrographs))
    return table


def particle_rows(particles: pd.DataFrame) -> pd.DataFrame:
    """Table data_particles, one row a particle.

    Takes micrograph (path), y, x (px of the micrograph) and, where known, stack (path) and index (from 1),
    optics_group, pick_score, class_number, the names of Ctf, rotation (degrees counter-clockwise, y up, that
    turn the class average onto the particle), shift_y, shift_x (px from the box centre to the particle's)
    with pixel_size (Å of the boxed image).
    """
    names = {"micrograph": "rlnMicrographName"} | _PARTICLE | _CTF
    table = _renamed(particles, names, required=("micrograph", "y", "x"))
    table.insert(1, "rlnOpticsGroup", _optics_groups(particles))
    if "stack" in particles:
        names = {stack: star_name(stack) for stack in particles["stack"].unique()}
        places = zip(particles["index"].tolist(), particles["stack"].tolist(), strict=True)
        images = [f"{int(index):06d}@{names[stack]}" for index, stack in places]
        table.insert(0, "rlnImageName", pd.Series(images, index=table.index, dtype=object))
    if "rotation" in particles:
        table["rlnAnglePsi"] = _wrapped(-particles["rotation"].to_numpy(float))
    if "shift_y" in particles:
        pixel_size = particles["pixel_size"].to_numpy(float)
        table["rlnOriginXAngst"] = -particles["shift_x"].to_numpy(float) * pixel_size
        table["rlnOriginYAngst"] = -particles["shift_y"].to_numpy(float) * pixel_size
    return table


def _renamed(rows: pd.DataFrame, names: Mapping[str, str], required: Iterable[str]) -> pd.DataFrame:
    missing = [name for name in required if name not in rows]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}; it has {', '.join(map(str, rows.columns))}")
    known = [name for name in names if name in rows]
    return rows[known].rename(columns=dict(names)).reset_index(drop=True)


def _optics_groups(rows: pd.DataFrame) -> Any:
    return rows["optics_group"].to_numpy(int) if "optics_group" in rows else 1


def _wrapped(degrees: Any) -> Any:
    return (degrees + 180) % 360 - 180
