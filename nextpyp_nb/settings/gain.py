"""Gain reference: the detector's response per pixel."""

from typing import Literal

from nextpyp_nb.settings.fields import Section, setting


class GainReference(Section):
    """The detector's response per pixel, and how it lies against the movie."""

    reference: str = setting(
        "", "Gain reference", "File of the gain reference; empty when movies are corrected already.",
        alias="gain_reference", path="file",
    )  # fmt: skip
    rotation: int = setting(
        0, "Rotation", "Quarter turns counter-clockwise, applied after the flips.",
        unit="× 90°", alias="gain_rotation", ge=0, le=3,
    )  # fmt: skip
    flip_horizontal: bool = setting(
        False, "Flip left-right", "Mirror the reference in x.", alias="gain_fliph"
    )
    flip_vertical: bool = setting(False, "Flip upside-down", "Mirror the reference in y.", alias="gain_flipv")
    operation: Literal["auto", "multiply", "divide"] = setting(
        "auto",
        "Operation",
        "Whether frames are multiplied by the reference or divided by it; auto divides EER movies by any "
        "reference but a .gain, and multiplies others.",
        advanced=True,
    )
    defects: str = setting(
        "", "Defect file", "Bad pixels: text lines 'x y width height', SerialEM's list, or a map (1 = bad).",
        path="file", advanced=True,
    )  # fmt: skip
    hot_pixels: bool = setting(
        True, "Find hot and cold pixels", "Replace pixels that are far off their neighbours.",
        alias="gain_remove_hot_pixels",
    )  # fmt: skip
