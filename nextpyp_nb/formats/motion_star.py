"""RELION's motion STAR of a movie; its motion is a correction, minus the specimen's, and X comes before Y."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.star_text import Block, Columns, read_star, write_star
from nextpyp_nb.records import MotionModel

_NOT_OBSERVED = -9999


def write_motion_star(
    path: str | os.PathLike[str],
    motion: MotionModel,
    *,
    movie_name: str,
    gain_name: str | None = None,
    binning: float = 1,
    voltage: float,
    initial_dose: float = 0.0,
    first_frame: int = 1,
    eer_frames: int | None = None,
    eer_upsampling: int = 1,
    hot_pixels: Any = None,
) -> None:
    """Write RELION's per-movie motion STAR; the motion begins at the movie's ``first_frame`` (from 1).

    ``hot_pixels`` (n, 2) are bad px of the raw frames, (y, x) from 0, which RELION's polishing replaces.
    """
    frames = np.arange(len(motion.shifts)) + first_frame
    general: dict[str, Any] = {
        "rlnImageSizeX": motion.width,
        "rlnImageSizeY": motion.height,
        "rlnImageSizeZ": int(frames[-1]),
        "rlnMicrographMovieName": movie_name,
        "rlnMicrographGainName": gain_name,
        "rlnMicrographBinning": float(binning),
        "rlnMicrographOriginalPixelSize": motion.pixel_size,
        "rlnMicrographDoseRate": motion.dose_per_frame,
        "rlnMicrographPreExposure": initial_dose,
        "rlnVoltage": voltage,
        "rlnMicrographStartFrame": first_frame,
        "rlnEERUpsampling": None if eer_frames is None else eer_upsampling,
        "rlnEERGrouping": eer_frames,
        "rlnMotionModelVersion": int(motion.local is not None),
    }
    blocks: dict[str, Block] = {
        "general": {label: value for label, value in general.items() if value is not None},
        "global_shift": Columns(
            {
                "rlnMicrographFrameNumber": frames,
                "rlnMicrographShiftX": _minus(motion.shifts[:, 1]),
                "rlnMicrographShiftY": _minus(motion.shifts[:, 0]),
            }
        ),
    }
    if motion.local is not None:
        # X before Y, in px of the movie: so does RELION's polishing take them, whatever the binning.
        coefficients = _minus(np.asarray(motion.local, float)[::-1].reshape(36))
        blocks["local_motion_model"] = Columns(
            {"rlnMotionModelCoeffsIdx": np.arange(36), "rlnMotionModelCoeff": coefficients}
        )
    if hot_pixels is not None and len(hot_pixels):
        blocks["hot_pixels"] = Columns(
            {"rlnCoordinateX": hot_pixels[:, 1], "rlnCoordinateY": hot_pixels[:, 0]}
        )
    write_star(path, blocks)


def _minus(values: Any) -> Any:
    # Adding zero turns -0 into 0.
    return -np.asarray(values, float) + 0.0


def read_motion_star(path: str | os.PathLike[str]) -> MotionModel:
    """Read RELION's per-movie motion STAR; shifts are those of the frames that it lists, the first zero."""
    blocks = read_star(path)
    try:
        general: Any = blocks["general"]
        table: Any = blocks["global_shift"]
        shifts = -table[["rlnMicrographShiftY", "rlnMicrographShiftX"]].to_numpy(np.float64)
        if len(shifts) == 0 or not np.isfinite(shifts).all() or (shifts == -_NOT_OBSERVED).any():
            raise BadFile(f"{Path(path).name} has frames without a shift")
        return MotionModel(
            shifts=shifts - shifts[0],
            pixel_size=float(general["rlnMicrographOriginalPixelSize"]),
            dose_per_frame=float(general.get("rlnMicrographDoseRate", float("nan"))),
            height=int(general["rlnImageSizeY"]),
            width=int(general["rlnImageSizeX"]),
            local=_local(blocks, float(general.get("rlnMicrographBinning", 1))),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{Path(path).name} is no motion STAR: {error} is missing or no number") from None


def _local(blocks: Mapping[str, Block], binning: float) -> Any:
    if "local_motion_model" not in blocks:
        return None
    coefficients = np.asarray(blocks["local_motion_model"]["rlnMotionModelCoeff"], np.float64)
    if len(coefficients) != 36:
        raise BadFile(f"a local motion model of {len(coefficients)} coefficients, expected 36")
    # RELION's motion correction, which lists its patches too, leaves them in px of the binned frames.
    scale = binning if "local_shift" in blocks else 1.0
    return -coefficients.reshape(2, 6, 3)[::-1] * scale
