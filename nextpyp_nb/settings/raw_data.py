"""Raw data: where the movies come from."""

from nextpyp_nb.settings.fields import Section, setting


class RawData(Section):
    """Where the movies come from."""

    location: str = setting(
        "", "Location", "Folder and pattern of the movies, such as /data/grid1/**/*_fractions.tiff",
        alias="data_path", path="movies",
    )  # fmt: skip
    binning: int = setting(
        1, "Binning", "Micrographs are made smaller by this factor (Fourier crop).",
        alias="data_bin", advanced=True, ge=1, le=8,
    )  # fmt: skip
    invert: bool = setting(
        False, "Invert contrast", "Set this when particles are bright in the movies.",
        alias="data_invert", advanced=True,
    )  # fmt: skip
    no_frames: bool = setting(
        False, "Micrographs without frames", "The files are images that were aligned and summed already.",
        alias="movie_no_frames", advanced=True,
    )  # fmt: skip
