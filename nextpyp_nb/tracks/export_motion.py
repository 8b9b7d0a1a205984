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
    places: Places, movie: Path, out: Path, settings: Settings, gains: dict[Any, Path | None]
) -> Path:
    """Write the motion STAR into ``out``, with a link to the movie and the gain as it lies on the frames.

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
        gain = gains[kind]
        general["rlnMicrographGainName"] = None if gain is None else str(gain.relative_to(out))
    blocks["general"] = {label: value for label, value in general.items() if value is not None}
    write_star(star, blocks)
    return star


def _linked(movie: Path, out: Path, name: str) -> Path:
    """RELION looks for movies below the folder that it is started in."""
    link = out / "movies" / f"{name}{movie.suffix}"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(movie.resolve())
    return link


def _gain(shape: tuple[int, int], out: Path, settings: Settings, events: bool) -> Path | None:
    """The oriented reference, 0 where defects are known; RELION turns nothing when it polishes."""
    gain, defects = oriented_gain(settings, shape, events)
    if gain is None and defects is None:
        return None
    factor = np.ones(shape, np.float32) if gain is None else to_numpy(gain).copy()
    if defects is not None:
        factor[defects] = 0
    if events:
        # RELION divides an EER by any reference but a .gain.
        factor = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
    path = out / "motion" / f"gain_{shape[1]}x{shape[0]}.mrc"
    write_mrc(path, factor, pixel_size=settings.microscope.pixel_size)
    return path
