"""Motion correction against the truth: the same movies and threads for this package and for RELION."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb import __version__
from nextpyp_nb.bench.cost import run_measured
from nextpyp_nb.bench.motion_sets import SETS, MotionSet, expose
from nextpyp_nb.bench.report import need_program, show, write_json
from nextpyp_nb.bench.session import write_movies_star
from nextpyp_nb.engine.slots import worker_environment
from nextpyp_nb.formats.motion_star import read_motion_star
from nextpyp_nb.simulate import Column
from nextpyp_nb.simulate.score import motion_error

SHOWN = (
    "set", "seed", "format", "program",
    "global_median_px", "global_mean_px", "global_p95_px", "field_median_px", "field_mean_px", "field_p95_px",
    "missing", "cpu_s", "wall_s", "peak_GB",
)  # fmt: skip
PATCHES = {"RELION rigid": "1", "RELION 5x5": "5"}
FIRST_SEED = 11


def bench_motion(
    *, sets: Sequence[str], laws: Sequence[str], seeds: Sequence[int], against: str | None, out: Path | None
) -> int:
    """Measure the chosen sets, those of ``laws`` only where given; a table, and JSON to ``out``."""
    if against:
        need_program("relion_run_motioncorr", how="apt-get install relion")
    if unknown := set(sets) - set(SETS):
        raise ValueError(f"no set {', '.join(sorted(unknown))}; expected some of {', '.join(SETS)}")
    chosen = [SETS[name] for name in sets or SETS]
    if laws:
        chosen = [each for each in chosen if each.column.get("law", "settling") in laws]
    if not chosen:
        raise ValueError(
            f"no set of {', '.join(sets)} follows the law {', '.join(laws)}: name other sets or laws"
        )
    rows: list[dict[str, Any]] = []
    for wanted in chosen:
        for seed in seeds or range(FIRST_SEED, FIRST_SEED + wanted.seeds):
            with tempfile.TemporaryDirectory(prefix="nextpyp-bench-") as folder:
                rows.extend(_measure(wanted, seed, Path(folder), against))
            # A long benchmark that is interrupted keeps what it has.
            write_json(out, rows, first_seed=FIRST_SEED)
    rows += list(_pooled(rows))
    show(rows, SHOWN)
    write_json(out, rows, first_seed=FIRST_SEED)
    return 0


def _measure(wanted: MotionSet, seed: int, folder: Path, against: str | None) -> Iterator[dict[str, Any]]:
    column = expose(wanted, seed, folder)
    for form in wanted.formats:
        known = {"set": wanted.name, "seed": seed, "format": form}
        cost = _ours(column, folder, form)
        yield (
            known | {"program": f"nextpyp_nb {__version__}"} | _errors(folder, folder / "ours" / form) | cost
        )
        for program, patches in PATCHES.items() if against else ():
            place = f"relion{patches}_{form}"
            cost = _relion(column, folder, form, patches, place)
            yield known | {"program": program} | _errors(folder, folder / place) | cost


def _ours(column: Column, folder: Path, form: str) -> dict[str, float]:
    """A fresh worker over all movies, start-up included; compiled code is made before."""
    settings = {
        "gain.reference": str(folder / "gain.mrc"),
        "microscope.pixel_size": column.pixel_size,
        "microscope.voltage": column.voltage,
        "microscope.dose": column.dose_per_frame * column.frames,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    movies = [str(path) for path in sorted((folder / form).iterdir())]
    command = [
        sys.executable, "-m", "nextpyp_nb.bench.motion_job",
        str(folder / "settings.json"), str(folder / "ours" / form), _threads(),
    ]  # fmt: skip
    worker = worker_environment(0, threads=int(_threads()), gpus=0)
    run_measured([*command, movies[0]], environment=worker)
    return run_measured([*command, *movies], environment=worker)


def _relion(column: Column, folder: Path, form: str, patches: str, out: str) -> dict[str, float]:
    movies = [path.relative_to(folder) for path in sorted((folder / form).iterdir())]
    write_movies_star(folder / f"{form}.star", movies, column)
    command = [
        "relion_run_motioncorr", "--i", f"{form}.star", "--o", f"{out}/", "--use_own", "--j", _threads(),
        "--first_frame_sum", "1", "--last_frame_sum", "-1", "--patch_x", patches, "--patch_y", patches,
        "--bin_factor", "1", "--bfactor", "150", "--dose_per_frame", str(column.dose_per_frame),
        "--preexposure", "0", "--dose_weighting", "--gainref", "gain.mrc", "--save_noDW",
    ]  # fmt: skip
    return run_measured(command, cwd=folder)


def _errors(folder: Path, results: Path) -> dict[str, Any]:
    """RMS errors of each movie, global and over the field, and their summary; no result is no correction."""
    truths = [json.loads(path.read_text()) for path in sorted((folder / "truth").glob("*.json"))]
    stars = [next(results.rglob(f"{truth['movie']}.star"), None) for truth in truths]
    motions = [read_motion_star(star) if star else None for star in stars]
    pairs = list(zip(truths, motions, strict=True))
    whole = [motion_error(truth, motion, local=False) for truth, motion in pairs]
    field = [motion_error(truth, motion) for truth, motion in pairs]
    known = {"labels": [truth["label"] for truth in truths], "missing": stars.count(None)}
    return known | _summary(whole, field)


def _summary(whole: list[float], field: list[float]) -> dict[str, Any]:
    summary: dict[str, Any] = {"global_px": whole, "field_px": field}
    for name, errors in (("global", whole), ("field", field)):
        summary[f"{name}_median_px"] = float(np.median(errors))
        summary[f"{name}_mean_px"] = float(np.mean(errors))
        summary[f"{name}_p95_px"] = float(np.percentile(errors, 95))
    return summary


def _pooled(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row over all seeds of a set, format and program; costs add up."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["format"], row["program"]), []).append(row)
    for (name, form, program), some in groups.items():
        if len(some) > 1:
            errors = ([e for row in some for e in row[key]] for key in ("global_px", "field_px"))
            known = {"set": name, "seed": "all", "format": form, "program": program}
            cost = {key: sum(row[key] for row in some) for key in ("missing", "cpu_s", "wall_s")}
            yield known | _summary(*errors) | cost | {"peak_GB": max(row["peak_GB"] for row in some)}


def _threads() -> str:
    return str(len(os.sched_getaffinity(0)))
