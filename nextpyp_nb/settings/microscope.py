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
