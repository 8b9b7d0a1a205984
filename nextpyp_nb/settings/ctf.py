"""CTF: contrast transfer function of each micrograph."""

from nextpyp_nb.settings.fields import Section, setting


class CtfEstimation(Section):
    """How the contrast transfer function is fitted."""

    min_resolution: float = setting(
        50.0, "Lowest resolution", "Of the fit.", unit="Å", alias="ctf_min_res", advanced=True, ge=10, le=500
    )
    max_resolution: float = setting(
        3.0, "Highest resolution", "Of the fit.", unit="Å", alias="ctf_max_res", ge=1, le=50
    )
    min_defocus: float = setting(
        3500.0, "Least defocus", "Of the search.", unit="Å", alias="ctf_min_def", ge=100, le=200000
    )
    max_defocus: float = setting(
        50000.0, "Most defocus", "Of the search.", unit="Å", alias="ctf_max_def", ge=100, le=200000
    )
    tile: int = setting(
        512, "Tile", "Side of the squares whose spectra are averaged.",
        unit="px", alias="ctf_tile", advanced=True, ge=128, le=2048,
    )  # fmt: skip
    defocus_step: float = setting(
        250.0,
        "Defocus step",
        "Of the first search.",
        unit="Å",
        alias="ctf_fstep",
        advanced=True,
        ge=10,
        le=2000,
    )
    astigmatism: bool = setting(True, "Fit astigmatism", "Two defoci and an angle.", alias="ctf_use_ast")
    astigmatism_tolerance: float = setting(
        500.0, "Expected astigmatism", "Larger ones must be earned by the fit.",
        unit="Å", alias="ctf_dast", advanced=True, ge=10, le=50000,
    )  # fmt: skip
    phase_shift: bool = setting(
        False, "Fit phase shift", "For a phase plate.", alias="ctf_use_phs", advanced=True
    )
    min_phase: float = setting(
        0.0, "Least phase shift", "Of the search.", unit="°", alias="ctf_min_phs", advanced=True, ge=0, le=180
    )
    max_phase: float = setting(
        180.0,
        "Most phase shift",
        "Of the search.",
        unit="°",
        alias="ctf_max_phs",
        advanced=True,
        ge=0,
        le=180,
    )
    phase_step: float = setting(
        10.0, "Phase shift step", "Of the search.", unit="°", alias="ctf_dphs", advanced=True, ge=1, le=60
    )
    tilt: bool = setting(
        False, "Fit tilt", "A plane of defocus over the field.", alias="ctf_determine_tilt", advanced=True
    )
    thickness: bool = setting(
        False, "Fit thickness", "From nodes of the rings: only thick specimens show them.",
        alias="ctf_determine_thickness", advanced=True,
    )  # fmt: skip
    from_frames: bool = setting(
        False, "From frames", "Average the spectra of unaligned frames; slower, but motion blurs nothing.",
        advanced=True,
    )  # fmt: skip
