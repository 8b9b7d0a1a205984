"""What a file browser shows of an MRC or a STAR file, and which files it may show at all."""

import base64
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.formats.mrc import MrcHeader, read_frames_mrc, read_header
from nextpyp_nb.formats.pictures import encode_jpeg
from nextpyp_nb.formats.star_text import read_star
from nextpyp_nb.kernels.display import montage, preview

SIDE = 1024
SMALL = 512
LARGEST_STAR = 400 << 20
ROWS = 200


def below(path: Path, roots: Iterable[Path]) -> Path:
    """``path`` without links; PermissionError when that lies below none of ``roots`` or is hidden there."""
    real = path.resolve()
    for root in roots:
        top = root.expanduser().resolve()
        if real.is_relative_to(top) and not any(part[0] == "." for part in real.relative_to(top).parts):
            return real
    raise PermissionError(f"{path.name} lies outside the folders that may be shown here")


def preview_mrc(path: Path, first: int = 0) -> dict[str, Any]:
    """The image numbered ``first`` of an MRC, or a sheet of small ones from it on, as JPEG with its facts."""
    header = read_header(path)
    if not 0 <= first < header.n_frames:
        raise ValueError(f"got image {first + 1}, {path.name} has {header.n_frames:,}")
    shown = _on_a_sheet(header)
    images = read_frames_mrc(path, header, first, min(first + shown, header.n_frames))
    values = np.asarray(images, np.float32)
    finite = values[np.isfinite(values)]
    if shown == 1:
        picture = preview(values[0], SIDE)
    else:
        picture = montage(values, columns=min(len(values), max(1, SIDE // header.width)))
    return {
        "kind": "mrc", "name": path.name, "width": header.width, "height": header.height,
        "images": header.n_frames, "first": first, "shown": len(values), "mode": header.mode,
        "pixel_size": header.pixel_size, "bytes": path.stat().st_size,
        "minimum": float(finite.min()) if finite.size else None,
        "maximum": float(finite.max()) if finite.size else None,
        "mean": float(finite.mean(dtype=np.float64)) if finite.size else None,
        "picture": "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture)).decode(),
    }  # fmt: skip


def preview_star(path: Path, block: str = "", first: int = 0) -> dict[str, Any]:
    """`ROWS` rows of one block of a STAR file (the longest when none is named), and the names of all."""
    size = path.stat().st_size
    if size > LARGEST_STAR:
        raise ValueError(f"{path.name} has {size >> 20:,} MB, shown are up to {LARGEST_STAR >> 20} MB")
    tables = {
        name: part if isinstance(part, pd.DataFrame) else _pairs(part)
        for name, part in read_star(path).items()
    }
    chosen = block if block in tables else max(tables, key=lambda name: len(tables[name]))
    rows = tables[chosen].iloc[first : first + ROWS]
    return {
        "kind": "star", "name": path.name, "blocks": {name: len(table) for name, table in tables.items()},
        "block": chosen, "first": first, "rows_a_page": ROWS, "columns": [str(name) for name in rows.columns],
        "rows": [[_cell(value) for value in row] for row in rows.itertuples(index=False)],
    }  # fmt: skip


def _on_a_sheet(header: MrcHeader) -> int:
    """How many images of this size are shown at once."""
    if header.n_frames == 1 or max(header.width, header.height) > SMALL:
        return 1
    return max(1, SIDE // header.width) * max(1, math.ceil(SIDE / header.height))


def _pairs(block: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(block.items(), columns=["name", "value"])


def _cell(value: Any) -> Any:
    """A value as JSON takes it."""
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(value)
    return int(value) if isinstance(value, (int, np.integer)) else str(value)
