"""Whole sessions over simulated movies: accuracy against the truth and cost, beside RELION's alignment."""

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from nextpyp_nb import __version__
from nextpyp_nb.bench.cost import measured
from nextpyp_nb.bench.report import need_program, show, write_json
from nextpyp_nb.formats.arrays import read_arrays
from nextpyp_nb.formats.motion_star import read_motion_star
from nextpyp_nb.records import MotionModel
from nextpyp_nb.session import Session, create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Column, Microscope
from nextpyp_nb.simulate.score import score
from nextpyp_nb.tracks.runner import run_session

_OPTICS = (
    "_rlnOpticsGroupName", "_rlnOpticsGroup", "_rlnMicrographOriginalPixelSize", "_rlnVoltage",
    "_rlnSphericalAberration", "_rlnAmplitudeContrast",
)  # fmt: skip
SHOWN = (
    "program", "seed",
    "motion_global_median_px", "motion_field_median_px", "defocus_median_A", "defocus_max_A",
    "astigmatism_median_A", "precision", "recall", "f1", "cpu_s_per_movie", "wall_s",
)  # fmt: skip


def bench_sessions(*, movies: int, seeds: list[int], against: str | None, out: Path | None) -> int:
    """Run a session over ``movies`` simulated movies for each seed; a table, and JSON to ``out``."""
    if against:
        need_program("relion_run_motioncorr", how="apt-get install relion")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="nextpyp-bench-") as folder:
        for seed in seeds:
            camera = _expose(Path(folder) / f"seed{seed}", movies, seed)
            rows.append({"program": f"nextpyp_nb {__version__}", "seed": seed} | _ours(camera, seed))
            if against:
                rows.append({"program": "RELION rigid", "seed": seed} | _relion(camera))
    show(rows, SHOWN)
    write_json(out, rows, movies=movies)
    return 0


def _expose(folder: Path, movies: int, seed: int) -> Microscope:
    microscope = Microscope(folder, seed=seed, layout="flat")
    microscope.prepare()
    asyncio.run(microscope.run(movies, interval=0))
    return microscope


def _ours(camera: Microscope, seed: int) -> dict[str, Any]:
    column = Column()
    settings = Settings.from_flat(
        {
            "raw_data.location": str(camera.gain_path.parent / "**" / "*.tiff"),
            "gain.reference": str(camera.gain_path),
            "microscope.pixel_size": column.pixel_size,
            "microscope.voltage": column.voltage,
            "microscope.amplitude_contrast": column.amplitude_contrast,
            "microscope.dose": column.dose_per_frame * column.frames,
            "transfer.settle": 0.5,
            "transfer.scan_interval": 0.2,
            "picking.radius": 75,
            "class2d.enable": False,
        }
    )
    session = create_session(f"seed{seed}", settings=settings, root=camera.gain_path.parents[1] / "sessions")
    with measured() as cost:
        asyncio.run(run_session(session.folder, until_idle=True))
    return _score(camera, session) | _per_movie(cost, len(session.movies))


def _score(camera: Microscope, session: Session) -> dict[str, Any]:
    names = session.micrographs["name"]
    motions = {name: read_motion_star(session.file("motion", name)) for name in names}
    picks = {name: read_arrays(session.file("picks", name))["centres"] for name in names}
    return score(camera.truth_folder, session.micrographs, motions, picks)


def _relion(camera: Microscope) -> dict[str, Any]:
    """RELION's own motion correction, rigid, same movies, gain and threads; motion and cost only."""
    folder, column = camera.gain_path.parent, Column()
    found = sorted(folder.rglob("*.tiff"))
    write_movies_star(folder / "movies.star", [path.relative_to(folder) for path in found], column)
    threads = str(len(os.sched_getaffinity(0)))
    command = [
        "relion_run_motioncorr", "--i", "movies.star", "--o", "relion/", "--use_own", "--j", threads,
        "--first_frame_sum", "1", "--last_frame_sum", "-1", "--patch_x", "1", "--patch_y", "1",
        "--bin_factor", "1", "--bfactor", "150", "--dose_per_frame", str(column.dose_per_frame),
        "--preexposure", "0", "--dose_weighting", "--gainref", camera.gain_path.name, "--save_noDW",
    ]  # fmt: skip
    with measured() as cost:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    motions: dict[str, MotionModel] = {
        path.stem: read_motion_star(star)
        for path in found
        if (star := next((folder / "relion").rglob(f"{path.stem}.star"), None))
    }
    no_fits = pd.DataFrame({"name": [], "defocus_u": [], "defocus_v": [], "defocus_angle": []})
    scores = score(camera.truth_folder, no_fits, motions, {})
    return {k: v for k, v in scores.items() if k.startswith("motion")} | _per_movie(cost, len(found))


def write_movies_star(path: Path, movies: list[Path], column: Any) -> None:
    """Movies, relative to RELION's folder, and the optics of ``column`` for its motion correction."""
    rows = "".join(f"{movie} 1\n" for movie in movies)
    path.write_text(
        "\ndata_optics\n\nloop_\n" + "\n".join(_OPTICS) + "\n"
        f"opticsGroup1 1 {column.pixel_size} {column.voltage} {column.cs} {column.amplitude_contrast}\n\n"
        f"data_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n{rows}"
    )


def _per_movie(cost: dict[str, float], movies: int) -> dict[str, float]:
    return {"cpu_s_per_movie": cost["cpu_s"] / movies, "wall_s": cost["wall_s"]}
