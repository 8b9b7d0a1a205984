"""Class averages of the last round, for RELION and for picking."""

from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.class2d_star import write_classes_star
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.records import ClassAverage
from nextpyp_nb.session.places import place


def class_rows(session: Any) -> list[dict[str, Any]]:
    """The classes of the last round, as plain numbers; unknown ones are None."""
    table = session.classes[list(ClassAverage.__dataclass_fields__)]
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


def export_classes(folder: Path, number: int, rows: list[dict[str, Any]], out: Path) -> None:
    """Write the averages of round ``number`` as classes.mrcs, and `class_rows` beside it as classes.star."""
    averages, pixel_size = read_mrc(place(folder, "classes", number), stack=True)
    write_mrc(out / "classes.mrcs", np.asarray(averages, np.float32), pixel_size=pixel_size, stack=True)
    known = [{name: np.nan if v is None else v for name, v in row.items()} for row in rows]
    write_classes_star(
        out / "classes.star", "classes.mrcs", [ClassAverage(**row) for row in known],
        pixel_size=pixel_size, box=averages.shape[-1],
    )  # fmt: skip


def write_templates(session: Any, identities: set[int], path: Path) -> int:
    """Write the averages of classes of the last round as a stack; returns how many."""
    classes = session.classes
    chosen = classes[classes["identity"].isin(identities) & (classes["count"] > 0)]
    if len(chosen) < max(len(identities), 1):
        raise ValueError(
            f"got classes {sorted(identities)}, expected some that have particles in the last round"
        )
    averages, pixel_size = read_mrc(session.file("classes", int(chosen["round"].iloc[0])), stack=True)
    path.parent.mkdir(exist_ok=True)
    picked = np.asarray(averages, np.float32)[chosen["number"].to_numpy() - 1]
    write_mrc(path, picked, pixel_size=pixel_size, stack=True)
    return len(picked)
