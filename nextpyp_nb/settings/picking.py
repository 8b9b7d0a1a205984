"""Particle detection."""

from typing import Literal

from nextpyp_nb.settings.fields import Section, setting


class ParticleDetection(Section):
    """How particles are found; picking is on as soon as a radius is given."""

    radius: float | None = setting(
        None, "Particle radius", "Needed to pick; leave empty to look at movies without picking.",
        unit="Å", alias="detect_rad", ge=10, le=2000,
    )  # fmt: skip
    method: Literal["none", "auto", "all"] = setting(
        "auto", "Method", "auto: the significant ones; all: every candidate; none: no picking.",
        alias="detect_method",
    )  # fmt: skip
    distance: float | None = setting(
        None, "Least distance", "Between two particles; from the radius when empty.",
        unit="Å", alias="detect_dist", ge=1, le=4000, advanced=True,
    )  # fmt: skip
    threshold: float | None = setting(
        None, "Threshold", "Least score in σ; by false discovery rate when empty.",
        unit="σ", alias="detect_thre", ge=0, le=100, advanced=True,
    )  # fmt: skip
    ignore_contamination: bool = setting(
        False, "Pick on contamination too", "Do not mask carbon, ice and aggregates.",
        alias="detect_ignore_contamination", advanced=True,
    )  # fmt: skip
