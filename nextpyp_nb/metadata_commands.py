"""The arguments of ``nextpyp-nb metadata``: what the microscope noted, in the words of the settings."""

import argparse
import glob
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

LOOKED_AT = 20
NEAR = 0.005


def add_metadata(metadata: argparse.ArgumentParser) -> None:
    """What EPU's XML or SerialEM's mdoc files say beside the first movies."""
    metadata.add_argument("--data", required=True, metavar="'DIR/*.tiff'", help="movies")
    metadata.add_argument("--json", action="store_true")
    metadata.set_defaults(command=_metadata)


def noted_settings(location: str) -> dict[str, Any]:
    """Settings that the side files of up to `LOOKED_AT` movies at ``location`` tell, and where they disagree.

    ``found`` maps keys of settings to values, ``conflicts`` keys to the values met, ``files`` counts.
    """
    from nextpyp_nb.formats.acquisition import read_acquisition, side_file
    from nextpyp_nb.formats.files import BadFile
    from nextpyp_nb.tracks.acquiring import COMPARED

    told: dict[str, list[float]] = {}
    files: list[str] = []
    movies = itertools.islice(glob.iglob(str(Path(location).expanduser()), recursive=True), LOOKED_AT)
    for movie in map(Path, movies):
        side = side_file(movie)
        if side is None:
            continue
        try:
            noted = read_acquisition(side)
        except (BadFile, OSError):
            continue
        files.append(side.name)
        for field, (key, _, _) in COMPARED.items():
            value = float(getattr(noted, field))
            if math.isfinite(value):
                told.setdefault(key, []).append(value)
    apart = {key: values for key, values in told.items() if max(values) - min(values) > NEAR * max(values)}
    return {
        "files": len(files), "first": files[0] if files else "",
        "found": {key: _short(values[0]) for key, values in told.items() if key not in apart},
        "conflicts": {key: sorted({_short(value) for value in values}) for key, values in apart.items()},
    }  # fmt: skip


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _metadata(options: argparse.Namespace) -> None:
    noted = noted_settings(options.data)
    if options.json:
        sys.stdout.write(json.dumps(noted) + "\n")
        return
    if not noted["files"]:
        raise FileNotFoundError(f"no XML or mdoc lies beside the movies at {options.data}")
    sys.stdout.write(f"{noted['files']} files, such as {noted['first']}\n")
    for key, value in noted["found"].items():
        sys.stdout.write(f"  {key}={value:g}\n")
    for key, values in noted["conflicts"].items():
        sys.stdout.write(f"  {key}: they disagree: {', '.join(f'{value:g}' for value in values)}\n")
