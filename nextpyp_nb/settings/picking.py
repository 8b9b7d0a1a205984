"""Particle detection."""

from typing import Literal

from nextpyp_nb.settings.fields import Section, setting


class ParticleDetection(Section):
    """How particles are found."""

    radius: float | None = setting(
        None, "Particle radius", "Estimated from the first micrographs when empty.",
        unit="Å", alias="detect_rad", ge=10, le=2000,
    )  # fmt: skip
    method: Literal["none", "auto", "all", "template", "import", "plug-in"] = setting(
        "auto", "Method",
        "none: no picking; auto: the significant ones; all: every candidate; template: what looks like class "
        "averages; import: from a file; plug-in: by another program.",
        alias="detect_method",
    )  # fmt: skip
    templates: str | None = setting(
        None, "Templates", "Class averages (.mrcs) or a map (a cube, .mrc) to look for, protein bright.",
        path="file", advanced=True,
    )  # fmt: skip
    template_pixel_size: float | None = setting(
        None, "Pixel size of templates", "From the header of the stack when empty.",
        unit="Å", gt=0, le=100, advanced=True,
    )  # fmt: skip
    template_low_pass: float = setting(
        20.0, "Low-pass of templates", "Finer detail is left out, lest noise be picked for looking like it.",
        unit="Å", ge=15, le=100, advanced=True,
    )  # fmt: skip
    source: str | None = setting(
        None, "Import from", "STAR, box or CSV of all micrographs, or a folder with one for each.",
        path="file", advanced=True,
    )  # fmt: skip
    plugin: str | None = setting(
        None, "Plug-in", "FILE.py:FUNCTION, MODULE:FUNCTION, or a command with {micrograph} and {out}.",
        advanced=True,
    )  # fmt: skip
    plugin_timeout: float = setting(
        600.0, "Time for a plug-in", "Longer than this for one micrograph is a failure.",
        unit="s", ge=1, le=86400, advanced=True,
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
