"""Frame alignment: motion of the specimen and the averages made with it."""

from typing import Literal

from nextpyp_nb.settings.fields import Section, setting


class FrameAlignment(Section):
    """How frames are aligned and summed."""

    method: Literal["local", "whole-frame", "none"] = setting(
        "local", "Method",
        "Whole frames, then their parts where that proves true; or none for frames that are aligned already.",
        alias="movie_ali",
    )  # fmt: skip
    first_frame: int = setting(
        0, "First frame", "Counted from 0.", alias="movie_first", advanced=True, ge=0, le=20000
    )
    last_frame: int = setting(
        -1, "Last frame", "Counted from 0; −1 is the last there is.",
        alias="movie_last", advanced=True, ge=-1, le=20000,
    )  # fmt: skip
    group: int = setting(
        1,
        "Group frames",
        "So many frames are aligned as one.",
        alias="movie_group",
        advanced=True,
        ge=1,
        le=100,
    )
    exposure_weighting: bool = setting(
        True, "Exposure weighting", "Down-weight high resolution in late frames (needs the dose).",
        alias="movie_weights",
    )  # fmt: skip
    bfactor: float = setting(
        30.0, "B-factor", "Damping of high frequencies while aligning.",
        unit="px²", alias="movie_bfactor", advanced=True, ge=0, le=10000,
    )  # fmt: skip
    integer_shifts: bool = setting(
        False, "Whole-pixel shifts", "Sum without interpolation.",
        alias="movie_force_integer", advanced=True,
    )  # fmt: skip
    halves: bool = setting(
        False, "Odd and even sums",
        "Also write what the odd and what the even frames, counted from 1, contribute to the average.",
        advanced=True,
    )  # fmt: skip
    correct_magnification: bool = setting(
        False, "Correct magnification", "Stretch the averages as Microscope, Magnification says.",
        alias="movie_magcorr", advanced=True,
    )  # fmt: skip
    eer_frames: int = setting(
        40, "EER frames per fraction", "Raw detector frames summed into one movie frame.",
        alias="movie_eer_frames", advanced=True, ge=1, le=10000,
    )  # fmt: skip
    eer_dose: float = setting(
        0.0, "EER dose per fraction",
        "Choose the frames per fraction so that each comes closest to this dose (needs the dose of the "
        "exposure); 0 uses EER frames per fraction.",
        unit="e⁻/Å²", advanced=True, ge=0, le=100,
    )  # fmt: skip
    eer_fractions: str = setting(
        "", "EER fraction table",
        "File of lines 'raw frames, raw frames per fraction, dose per raw frame', as MotionCor takes it; "
        "used instead of both.",
        path="file", advanced=True,
    )  # fmt: skip
    eer_reduce: int = setting(
        1, "EER size", "1 = 4k, 2 = 8k: the pixel size to give is then that of 8k, half of the detector's.",
        alias="movie_eer_reduce", advanced=True, ge=1, le=2,
    )  # fmt: skip
    half_precision: bool = setting(
        True, "16-bit averages", "Write micrographs as float16: half the disk.",
        alias="movie_depth", advanced=True,
    )  # fmt: skip
