"""Raw data: where the movies come from."""

import re

from nextpyp_nb.settings.fields import Section, setting

_REMOTE = re.compile(r"([A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.-]*:/[^;]*")


def is_remote(place: str) -> bool:
    """Whether a place is on another machine: user@host:/folder."""
    return _REMOTE.fullmatch(place) is not None


def places(location: str) -> list[str]:
    """The folders and patterns of a location: several are separated by semicolons."""
    return [part.strip() for part in location.split(";") if part.strip()]


class RawData(Section):
    """Where the movies come from."""

    location: str = setting(
        "", "Location", "Folder and pattern, such as /data/**/*_fractions.tiff; several by ; or user@host:/…",
        alias="data_path", path="movies",
    )  # fmt: skip
    notes: str = setting(
        "", "Metadata", "Where EPU's XML or SerialEM's mdoc files lie, when not beside the movies.",
        alias="data_path_mdoc", path="folder", advanced=True,
    )  # fmt: skip
    name_pattern: str = setting(
        "", "Name pattern", "Tells hole and shot, such as *_{hole}-{shot}.tif; empty knows EPU and SerialEM.",
        advanced=True, pattern=r"^[^{}]*(\{(hole|shot)\}[^{}]*){0,2}$",
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
