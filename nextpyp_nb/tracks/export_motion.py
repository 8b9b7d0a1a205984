"""A movie's motion as RELION's polishing takes it: with the movie and the gain where it finds them."""

from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.star import read_star, write_star
from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.motion_stage import oriented_gain


def export_motion(
    places: Places, movie: Path, out: Path, settings: Settings, gains: dict[Any, dict[str, Path]]
) -> Path:
    """Write the motion STAR into ``out``, with a link to the movie, and gain and defects as they lie on it.

    ``gains`` are those that this export has written.
    """
    star = out / "motion" / places("motion").name
    star.parent.mkdir(exist_ok=True)
    blocks = read_star(places("motion"))
    general: Any = blocks["general"]
    general["rlnMicrographMovieName"] = str(_linked(movie, out, places.name).relative_to(out))
    # A reference that is gone by now keeps its name.
    if not settings.gain.reference or Path(settings.gain.reference).is_file():
        kind = (int(general["rlnImageSizeY"]), int(general["rlnImageSizeX"]), "rlnEERGrouping" in general)
        if kind not in gains:
            gains[kind] = _gain(kind[:2], out, settings, kind[2])
        general.pop("rlnMicrographGainName", None)
        general |= {label: str(path.relative_to(out)) for label, path in gains[kind].items()}
    write_star(star, blocks)
    return star


def _linked(movie: Path, out: Path, name: str) -> Path:
    """RELION looks for movies below the folder that it is started in."""
    link = out / "movies" / f"{name}{movie.suffix}"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(movie.resolve())
    return link


def _gain(shape: tuple[int, int], out: Path, settings: Settings, events: bool) -> dict[str, Path]:
    """Files by label: the oriented reference and a map of its dead pixels and of the known defects.

    RELION turns nothing when it polishes, and does not replace what the reference has as 0.
    """
    gain, defects = oriented_gain(settings, shape, events)
    pixel_size, size = settings.microscope.pixel_size, f"{shape[1]}x{shape[0]}"
    written: dict[str, Path] = {}
    bad = np.zeros(shape, bool) if defects is None else np.array(defects, bool)
    if gain is not None:
        factor = to_numpy(gain)
        bad |= factor <= 0
        if events:
            # RELION divides an EER by any reference but a .gain.
            factor = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
        written["rlnMicrographGainName"] = out / "motion" / f"gain_{size}.mrc"
        write_mrc(written["rlnMicrographGainName"], factor, pixel_size=pixel_size)
    if bad.any():
        written["rlnMicrographDefectFile"] = out / "motion" / f"defects_{size}.mrc"
        write_mrc(written["rlnMicrographDefectFile"], bad, pixel_size=pixel_size)
    return written
