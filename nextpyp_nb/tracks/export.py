"""Write what RELION reads: lists of micrographs and particles, motion metadata, and stacks on request."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.formats.arrays import read_arrays
from nextpyp_nb.formats.ctffind import write_ctffind
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star import (
    OpticsGroup,
    micrograph_rows,
    optics_block,
    particle_rows,
    read_star,
    write_star,
)
from nextpyp_nb.kernels.fourier import fast_even
from nextpyp_nb.kernels.particles import extract_particles
from nextpyp_nb.records import CtfProfile
from nextpyp_nb.session.manual_picks import merged_picks
from nextpyp_nb.session.places import Places, place
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.ctf_stage import read_ctf, specimen_numbers
from nextpyp_nb.tracks.export_classes import class_rows, export_classes
from nextpyp_nb.tracks.export_motion import export_motion
from nextpyp_nb.tracks.motion_stage import chosen_stretch
from nextpyp_nb.tracks.optics_groups import optics_numbers
from nextpyp_nb.tracks.process_movie import Report

_CTF_COLUMNS = ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "fit_resolution")
_MOTION_COLUMNS = ("total_motion", "early_motion", "late_motion")


def export_plan(
    session: Any,
    out: Path,
    *,
    filter: str | None = None,
    particles: bool = True,
    stack: bool = False,
    float16: bool = False,
    accepted: bool = False,
) -> dict[str, Any]:
    """What an export of the micrographs that pass ``filter`` will write, as plain numbers.

    ``accepted`` leaves only the particles of accepted classes.
    """
    table = session.micrographs
    optics = optics_numbers(table)
    if filter:
        table = session.filtered(filter)
    elif "excluded" in table:
        table = table[~table["excluded"].astype(bool)]
    without = table["defocus_u"].isna()
    columns = ["name", *_CTF_COLUMNS, "ctf_score", *_MOTION_COLUMNS, "particles"]
    rows = table.loc[~without, columns].astype(object).where(table.loc[~without, columns].notna(), None)
    rows["optics_group"] = [int(optics[name]) for name in rows["name"]]
    movies = session.movies.set_index("name")["path"]
    rows["movie"] = [str(movies.get(name) or "") for name in rows["name"]]
    if rows.empty:
        raise ValueError(f"nothing to export: of {len(table)} micrographs none passes and has a CTF fit")
    classes = session.classes
    wanted = classes.loc[classes["accepted"] == 1, "number"].tolist() if accepted else None
    if wanted == []:
        raise ValueError("nothing to export: no class is accepted; accept some or give a rule")
    return {
        "folder": str(session.folder),
        "out": str(Path(out).absolute()),
        "micrographs": rows.to_dict("records"),
        "optics_groups": int(max(optics.max(), 1)) if len(optics) else 1,
        "left_out": table.loc[without, "name"].tolist(),
        "settings": session.settings_used.model_dump(),
        "round": int(classes["round"].max()) if len(classes) else None,
        "accepted": wanted,
        "classes": class_rows(session),
        "particles": particles,
        "stack": stack,
        "float16": float16,
    }


def export_session(plan: dict[str, Any], report: Report) -> dict[str, Any]:
    """Carry out an `export_plan`; the STAR files are re-read before the export is called done."""
    out, folder = Path(plan["out"]), Path(plan["folder"])
    settings = Settings.model_validate(plan["settings"])
    make_room(out)
    rows = plan["micrographs"]
    classes = _class_assignments(folder, plan["round"])
    micrographs, particles = [], []
    gains: dict[Any, dict[str, Path]] = {}
    for index, row in enumerate(rows):
        report({"stage": f"exporting {row['name']}", "done": index, "total": len(rows)})
        micrographs.append(
            _export_micrograph(row, Places(folder, row["name"]), out, settings, plan["float16"], gains)
        )
        if plan["particles"]:
            particles.append(
                _export_particles(row, Places(folder, row["name"]), out, settings, classes, plan)
            )
    groups = plan["optics_groups"]
    _write_micrographs(out, micrographs, _optics(settings, groups))
    # RELION asks for the box even where it is to do the boxing.
    boxed = _optics(settings, groups, export_box(settings))
    count = _write_particles(out, particles, boxed) if plan["particles"] else 0
    if plan["particles"] and plan["round"] is not None:
        export_classes(folder, plan["round"], plan["classes"], out)
    _check(out / "micrographs.star", "micrographs", len(rows))
    _check(out / "corrected_micrographs.star", "micrographs", len(rows))
    if count:
        _check(out / "particles.star", "particles", count)
    return {
        "micrographs": len(rows), "particles": count, "left_out": len(plan["left_out"]), "path": str(out),
        "text": f"{len(rows):,} micrographs, {count:,} particles",
    }  # fmt: skip


def make_room(out: Path) -> None:
    """Make a folder to write to, or say why it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise PermissionError(
            f"cannot make the folder {out}: {error.strerror}; choose another place"
        ) from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write into {out}; choose another place")


def _export_micrograph(
    row: dict[str, Any], places: Places, out: Path, settings: Settings, float16: bool, gains: dict[Any, Any]
) -> dict[str, Any]:
    images = {"path_unweighted": places("average")}
    if places("weighted").is_file():
        images = {"path": places("weighted"), "path_unweighted": places("average")}
    images |= {f"path_{half}": places(half) for half in ("even", "odd") if places(half).is_file()}
    paths = {}
    for column, source in images.items():
        target = out / "micrographs" / source.name
        target.parent.mkdir(exist_ok=True)
        average, pixel_size = read_mrc(source)
        wanted = np.float16 if float16 else np.float32
        write_mrc(target, np.asarray(average, wanted), pixel_size=pixel_size, float16=float16)
        paths[column] = str(target.relative_to(out))
    if "path" not in paths:
        paths["path"] = paths.pop("path_unweighted")
    # Polishing would look for particles in raw frames where the stretched averages have them.
    if chosen_stretch(settings) is None:
        star = export_motion(places, places.folder / row["movie"], out, settings, gains)
        paths["motion_path"] = str(star.relative_to(out))
    motion = {f"motion_{c.split('_')[0]}": row[c] for c in _MOTION_COLUMNS}
    paths |= _export_ctf(row["name"], places, out, pixel_size)
    return paths | _ctf_columns(row) | motion


def _export_ctf(name: str, places: Places, out: Path, pixel_size: float) -> dict[str, str]:
    """The fit as CTFFIND writes it; nothing where it failed."""
    ctf = read_ctf(places)
    if ctf is None:
        return {}
    stored = read_arrays(places("ctf"))
    profile = CtfProfile(**{curve: stored[curve] for curve in CtfProfile.__dataclass_fields__})
    target = out / "ctf" / f"{name}.mrc"
    write_ctffind(
        target, ctf, profile, stored["spectrum"], micrograph=name, pixel_size=pixel_size,
        specimen=specimen_numbers(stored),
    )  # fmt: skip
    return {"ctf_image": str(target.relative_to(out))}


def _ctf_columns(row: dict[str, Any]) -> dict[str, Any]:
    columns = {name: row[name] for name in (*_CTF_COLUMNS, "optics_group")}
    return columns | {"score": row["ctf_score"]}


def export_box(settings: Settings) -> int:
    """Box of the exported stack, px of the micrograph: 2.6 radii, of a length that transforms quickly."""
    pixel = settings.microscope.pixel_size * settings.raw_data.binning
    return fast_even(int(np.ceil(2.6 * settings.picking.radius / pixel)))


def _export_particles(
    row: dict[str, Any], places: Places, out: Path, settings: Settings, classes: Any, plan: dict[str, Any]
) -> pd.DataFrame:
    picks = merged_picks(places.folder, places.name)
    if picks is None:
        return pd.DataFrame()
    weighted = places("weighted") if places("weighted").is_file() else places("average")
    # Where boxes are cut, and shifts are counted from: whole px. RELION would truncate a fraction.
    centres = np.rint(picks.centres)
    table = pd.DataFrame(
        {
            "micrograph": f"micrographs/{weighted.name}",
            "y": centres[:, 0],
            "x": centres[:, 1],
            "pick_score": picks.scores,
        },
        index=picks.number,
    ).assign(**_ctf_columns(row))
    if classes is not None:
        mine = classes[classes["name"] == row["name"]].set_index("pick").drop(columns="name")
        # Of a classified micrograph only what could be boxed goes on; others carry class 0, no alignment.
        table = table.join(mine, how="inner" if len(mine) else "left")
        table = table.fillna(dict.fromkeys(mine.columns, 0)).astype({"class_number": int})
        if plan["accepted"] is not None:
            table = table[table["class_number"].isin(plan["accepted"])]
    if plan["stack"] and len(table):
        average, pixel_size = read_mrc(weighted)
        images, kept = extract_particles(
            np.asarray(average, np.float32), table[["y", "x"]].to_numpy(), pixel_size=pixel_size,
            box_px=export_box(settings), background_radius=settings.picking.radius,
        )  # fmt: skip
        table = table[kept]
        if len(table):
            path = out / "particles" / f"{row['name']}.mrcs"
            path.parent.mkdir(exist_ok=True)
            write_mrc(path, images, pixel_size=pixel_size, stack=True)
            table = table.assign(stack=str(path.relative_to(out)), index=np.arange(1, len(table) + 1))
    return table


def _class_assignments(folder: Path, number: int | None) -> pd.DataFrame | None:
    if number is None:
        return None
    stored = read_arrays(place(folder, "assignments", number))
    return pd.DataFrame(
        {
            "name": stored["names"][stored["micrograph"]],
            "pick": stored["pick"],
            "class_number": stored["class_number"],
            # Classification turns the particle onto the average, the table the average onto the particle.
            "rotation": -stored["rotation"],
            "shift_y": stored["shift"][:, 0],
            "shift_x": stored["shift"][:, 1],
        }
    ).assign(pixel_size=1.0)


def _optics(settings: Settings, groups: int, box: int | None = None) -> pd.DataFrame:
    """All groups of the session, of which this export may hold none: numbers keep their meaning."""
    scope = settings.microscope
    pixel = scope.pixel_size * settings.raw_data.binning
    one = OpticsGroup(
        voltage=scope.voltage, cs=scope.cs, amplitude_contrast=scope.amplitude_contrast,
        original_pixel_size=scope.pixel_size, micrograph_pixel_size=pixel,
        image_pixel_size=pixel if box else None, box=box,
    )  # fmt: skip
    return optics_block([replace(one, number=n, name=f"opticsGroup{n}") for n in range(1, groups + 1)])


def _write_micrographs(out: Path, rows: list[dict[str, Any]], optics: pd.DataFrame) -> None:
    table = pd.DataFrame(rows)
    # As RELION's motion correction leaves them: what was found later belongs to the other list.
    corrected = micrograph_rows(table.drop(columns=[*_CTF_COLUMNS, "score"]))
    write_star(out / "corrected_micrographs.star", {"optics": optics, "micrographs": corrected})
    write_star(out / "micrographs.star", {"optics": optics, "micrographs": micrograph_rows(table)})


def _write_particles(out: Path, tables: list[pd.DataFrame], optics: pd.DataFrame) -> int:
    filled = [table for table in tables if len(table)]
    if not filled:
        # An earlier export into the same folder must not pass for this one.
        (out / "particles.star").unlink(missing_ok=True)
        return 0
    table = pd.concat(filled, ignore_index=True)
    write_star(out / "particles.star", {"optics": optics, "particles": particle_rows(table)})
    return len(table)


def _check(path: Path, block: str, expected: int) -> None:
    got = len(read_star(path)[block])
    if got != expected:
        raise OSError(f"{path} holds {got} rows after writing, expected {expected}; is the disk full?")
