"""2D classification of the particles so far."""

from nextpyp_nb.settings.fields import Section, setting


class Classification2d(Section):
    """When and how particles are classified."""

    enable: bool = setting(
        True, "Classify", "Run 2D classification as particles arrive.", alias="class2d_enable"
    )
    first: int = setting(
        5000, "First round at", "Particles that start the first round.",
        unit="particles", alias="class2d_min", ge=50, le=10_000_000,
    )  # fmt: skip
    increment: int = setting(
        5000, "Next round each", "New particles that start the next round.",
        unit="particles", alias="class2d_inc", ge=50, le=10_000_000,
    )  # fmt: skip
    interval: float = setting(
        30.0, "Or after", "Fewer new particles start a round so long after the last; 0: never.",
        unit="min", ge=0, le=1440,
    )  # fmt: skip
    classes: int = setting(20, "Classes", "At most so many.", alias="class2d_num", ge=1, le=500)
    box: int = setting(
        96, "Box", "Least side of the particle images where a binning is given; else the radius decides.",
        unit="px", alias="class2d_box", advanced=True, ge=32, le=512,
    )  # fmt: skip
    binning: int | None = setting(
        None, "Binning", "Of the particle images; from the highest resolution when empty.",
        alias="class2d_bin", advanced=True, ge=1, le=32,
    )  # fmt: skip
    radius: float | None = setting(
        None, "Mask radius", "From the particle radius when empty.",
        unit="Å", alias="class2d_rad", advanced=True, ge=10, le=4000,
    )  # fmt: skip
    max_resolution: float = setting(
        8.0, "Highest resolution", "Finer than this is not used.", unit="Å", advanced=True, ge=2, le=60
    )
    min_resolution: float = setting(
        100.0, "Lowest resolution", "Coarser than this is not used.", unit="Å", advanced=True, ge=20, le=1000
    )
    ctf_max_resolution: float = setting(
        10.0, "Micrographs better than", "Only particles of micrographs with such a CTF fit.",
        unit="Å", alias="class2d_ctf_min_res", ge=2, le=100,
    )  # fmt: skip
    filter: str = setting(
        "", "Filter", "Only micrographs that pass, such as fit_resolution<=6 & particles>=20; empty: all."
    )
    accept: str = setting(
        "", "Accept classes", "That pass, such as resolution<=12 & share>=0.02; empty: by hand alone."
    )
    max_particles: int = setting(
        1_000_000, "Particles in a round", "The newest are used when there are more.",
        unit="particles", advanced=True, ge=200, le=10_000_000,
    )  # fmt: skip
    seed: int = setting(
        1, "Seed", "Same seed and particles, same classes.", advanced=True, ge=0, le=2**31 - 1
    )
