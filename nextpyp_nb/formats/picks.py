"""Particle centres of other programs: STAR, EMAN's box files, CSV and Topaz tables."""

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.star_text import read_star
from nextpyp_nb.records import FloatArray

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".star", ".box", ".csv", ".tsv", ".txt")
# What programs add to a movie's name, and the number that cryoSPARC puts before it.
_ADDED = re.compile(
    r"(_dw|_nodw|_doseweighted|_aligned|_mic|_patch|_rigid|_frames|_fractions|_autopick|_manualpick|_picks"
    r"|_topaz|_extracted|\.mrc|\.tiff?|\.eer)$",
    re.IGNORECASE,
)
_MICROGRAPH = ("rlnmicrographname", "micrograph", "micrograph_name", "image_name", "filename", "name")
_X, _Y = ("rlncoordinatex", "x", "x_coord", "x_px"), ("rlncoordinatey", "y", "y_coord", "y_px")
_SCORE = ("rlnautopickfigureofmerit", "score", "fom", "confidence")


def movie_stem(name: str) -> str:
    """The movie's name in the name of a micrograph or of its picks, without what programs add."""
    stem = re.sub(r"^\d{12,}_", "", Path(name).name)
    stem = re.sub(rf"({'|'.join(map(re.escape, ENDINGS))})$", "", stem, flags=re.IGNORECASE)
    while (shorter := _ADDED.sub("", stem)) not in (stem, ""):
        stem = shorter
    return stem


def read_picks(source: Path, micrograph: str) -> tuple[FloatArray, FloatArray]:
    """Centres (n, 2) in (y, x) px of ``micrograph`` (name as in the session) and scores (n,), best first.

    ``source`` is a file, whose column of micrograph names is matched where it has one, or a folder with a
    file for each. x is the column and y the row of the MRC array; picks without score have score 1.
    """
    if source.is_dir():
        wanted = movie_stem(micrograph)
        files = sorted(f for f in source.iterdir() if f.suffix.lower() in ENDINGS)
        source_file = next((f for f in files if movie_stem(f.name) == wanted), None)
        if source_file is None:
            return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
        source = source_file
    if not source.is_file():
        raise FileNotFoundError(f"there is no file or folder {source} to import picks from")
    table = _box(source) if source.suffix.lower() == ".box" else _table(source)
    names = _column(table, _MICROGRAPH)
    if names is not None:
        table = table[[movie_stem(str(name)) == movie_stem(micrograph) for name in names]]
    return _picks(table, source)


def _picks(table: "pd.DataFrame", source: Path) -> tuple[FloatArray, FloatArray]:
    x, y, score = (_column(table, names) for names in (_X, _Y, _SCORE))
    if x is None or y is None:
        raise BadFile(f"{source.name} has no columns x and y; it has {', '.join(map(str, table.columns))}")
    try:
        centres = np.stack([y.to_numpy(np.float32), x.to_numpy(np.float32)], axis=1)
        scores = np.ones(len(centres), np.float32) if score is None else score.to_numpy(np.float32)
    except ValueError as error:
        raise BadFile(f"{source.name} holds a coordinate or score that is no number: {error}") from None
    if not np.isfinite(centres).all():
        raise BadFile(f"{source.name} holds a coordinate that is no number")
    order = np.argsort(-scores, kind="stable")
    return centres[order], scores[order]


def _column(table: "pd.DataFrame", names: tuple[str, ...]) -> Any:
    known = {str(column).lower().lstrip("_"): column for column in table.columns}
    return next((table[known[name]] for name in names if name in known), None)


def _box(path: Path) -> "pd.DataFrame":
    """EMAN's x y width height of each box, from its lower left corner."""
    import pandas as pd

    try:
        rows = np.loadtxt(path, ndmin=2, usecols=(0, 1, 2, 3)) if path.stat().st_size else np.zeros((0, 4))
    except ValueError:
        raise BadFile(f"{path.name} is no box file: expected x, y, width and height on each line") from None
    return pd.DataFrame({"x": rows[:, 0] + rows[:, 2] / 2, "y": rows[:, 1] + rows[:, 3] / 2})


def _table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if path.suffix.lower() == ".star":
        blocks = read_star(path)
        for block in blocks.values():
            if isinstance(block, pd.DataFrame) and _column(block, _X) is not None:
                return block
        raise BadFile(f"{path.name} has no table with rlnCoordinateX and rlnCoordinateY")
    try:
        return pd.read_csv(path, sep=None, engine="python", comment="#", skipinitialspace=True)
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise BadFile(f"{path.name} is no table of comma- or tab-separated values: {error}") from None
