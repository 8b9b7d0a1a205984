"""Microscope: optics, pixel and dose."""

from nextpyp_nb.settings.fields import Section, setting


class Microscope(Section):
    """Optics, pixel size and dose of the exposures."""

    pixel_size: float | None = setting(
        None, "Pixel size", "Size of a movie pixel at the specimen. Required.",
        unit="Å", alias="scope_pixel", gt=0.05, le=20,
    )  # fmt: skip
    voltage: float | None = setting(
        None, "Voltage", "Acceleration voltage. Required.", unit="kV", alias="scope_voltage", ge=40, le=1300
    )
    cs: float = setting(
        2.7, "Spherical aberration", "Of the objective lens.", unit="mm", alias="scope_cs", ge=0, le=10
    )
    amplitude_contrast: float = setting(
        0.07, "Amplitude contrast", "Fraction of amplitude contrast, 0.07 to 0.1 for vitreous ice.",
        alias="scope_wgh", ge=0, le=0.99,
    )  # fmt: skip
    dose: float = setting(
        0.0, "Dose", "Of one exposure (all frames); 0 when unknown: exposure weighting is then off.",
        unit="e⁻/Å²", alias="scope_dose_rate", ge=0, le=1000,
    )  # fmt: skip
    initial_dose: float = setting(
        0.0, "Initial dose", "Received before the first frame.",
        unit="e⁻/Å²", alias="scope_init_dose", advanced=True, ge=0, le=1000,
    )  # fmt: skip
    magnification_major: float = setting(
        1.0, "Magnification, major axis",
        "How much the averages are stretched along the axis that is magnified less; the pixel size is that "
        "after the stretch. Takes effect with Frame alignment, Correct magnification.",
        alias="scope_mag_major", advanced=True, ge=0.8, le=1.25,
    )  # fmt: skip
    magnification_minor: float = setting(
        1.0, "Magnification, minor axis", "How much the averages are stretched across that axis.",
        alias="scope_mag_minor", advanced=True, ge=0.8, le=1.25,
    )  # fmt: skip
    distortion_angle: float = setting(
        0.0, "Angle of the major axis", "Counter-clockwise from x, with y up as in an MRC.",
        unit="°", alias="scope_distort_ang", advanced=True, ge=-180, le=180,
    )  # fmt: skip

    @property
    def distorted(self) -> bool:
        """Whether the magnification is not the same in all directions, or not 1."""
        return (self.magnification_major, self.magnification_minor) != (1.0, 1.0)
