"""2D classification of particle stacks with known views, beside relion_refine on request.

Without a stack of the user, particles of the own simulator are made: unlike views of two proteins, 15 % of
noise, in-plane turns, shifts of 2 px, defocus of 0.8 to 2.5 µm. Beyond 3,000 they return under other noise.
"""

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.fft as sf

from nextpyp_nb import __version__
from nextpyp_nb.bench.class2d_score import adjusted_rand, purity, score_classes
from nextpyp_nb.bench.cost import run_measured
from nextpyp_nb.bench.report import need_program, show, write_json
from nextpyp_nb.engine.slots import worker_environment
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star_text import read_star, write_star
from nextpyp_nb.kernels.class2d_particles import ring_images
from nextpyp_nb.kernels.class2d_passes import resemblance
from nextpyp_nb.kernels.polar import PolarGrid, harmonics
from nextpyp_nb.records import Ctf, FloatArray
from nextpyp_nb.simulate.optics import contrast_transfer, envelope, frequencies
from nextpyp_nb.simulate.specimen import project, protein

BOX, PIXEL, B_FACTOR, JUNK = 96, 2.6, 80.0, 0.15
SHOWN = (
    "program", "stack", "snr", "particles", "seed", "ARI", "purity", "species", "junk_recall",
    "junk_precision", "frc_classes", "frc05_median_A", "in_plane_deg", "shift_px", "cpu_s", "peak_GB",
    "churn", "last_update_cpu_s",
)  # fmt: skip
# So many images are simulated; more are these under other noise.
DIFFERENT = 3000
CANDIDATES = 40


def bench_class2d(
    *, sizes: list[int], seeds: list[int], snrs: list[float], classes: int, stacks: list[Path],
    arrivals: int, whole: bool, against: str | None, iterations: int, out: Path | None,
) -> int:  # fmt: skip
    """Classify the first so many particles of every stack, at once (``whole``) and in ``arrivals`` parts.

    Each of ``stacks`` is taken with every seed; without any, one is made for each seed and SNR.
    ``iterations`` are those of the program ``against`` which ours is measured. A table of all runs and of
    their means over stacks and seeds, and JSON to ``out``, where each run stands as soon as it ended.
    """
    if against:
        need_program("relion_refine", how="apt-get install relion")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="nextpyp-bench-") as place:
        scratch = Path(place)
        for seed, snr in itertools.product(seeds, snrs):
            made = scratch / f"seed{seed}-snr{snr:g}"
            folders = stacks or [make_stack(made, max(sizes), seed, snr)]
            for folder, size in itertools.product(folders, sizes):
                task = (*_first(folder, size, snr, scratch), folder, seed, classes, scratch)
                for run in _runs(task, whole, arrivals, iterations if against else 0):
                    rows.append({"stack": folder.name, "snr": snr} | run)
                    write_json(out, rows, classes=classes)
    means = _means(rows)
    show([*rows, *means], SHOWN)
    write_json(out, rows, classes=classes, means=means)
    return 0


def _runs(task: Any, whole: bool, arrivals: int, iterations: int) -> Iterator[dict[str, Any]]:
    if whole:
        yield _ours(*task)
    if arrivals > 1:
        yield _arriving(arrivals, *task)
    if iterations:
        yield _relion(iterations, *task)


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean of every figure over the runs that differ in stack or seed only."""
    figures = pd.DataFrame(rows).drop(columns=["stack", "seed", "updates"], errors="ignore")
    same = ["program", "snr", "particles"]
    mean = figures.groupby(same, sort=False).mean(numeric_only=True).reset_index()
    runs = figures.groupby(same, sort=False).size()
    return [
        {"stack": f"mean of {count}"} | {str(k): v for k, v in row.items() if v == v}
        for row, count in zip(mean.to_dict("records"), runs, strict=True)
    ]


def make_stack(folder: Path, particles: int, seed: int, snr: float) -> Path:
    """A stack of simulated particles, its STAR, noiseless views and truth."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    views = _views("bgal", 12, rng) + _views("apof", 2, rng)
    clean = np.stack([_seen(*view) for view in views])
    write_mrc(folder / "refs.mrcs", clean.astype(np.float32), pixel_size=PIXEL, stack=True)
    signal, truth = np.zeros((min(particles, DIFFERENT), BOX, BOX), np.float32), []
    ky, kx = frequencies((2 * BOX, 2 * BOX), PIXEL)
    falling = envelope(ky**2 + kx**2, B_FACTOR)
    middle = slice(BOX // 2, BOX // 2 + BOX)
    # One level for the whole stack, from the contrast of the views.
    level = float(clean.std(axis=(1, 2)).mean()) / np.sqrt(snr)
    for image in signal:
        u, angle = rng.uniform(8000, 25000), rng.uniform(-90, 90)
        ctf = Ctf(
            defocus_u=u, defocus_v=u - abs(rng.normal(0, 300)), defocus_angle=angle,
            voltage=300.0, cs=2.7, amplitude_contrast=0.1,
        )  # fmt: skip
        view = -1 if rng.uniform() < JUNK else int(rng.integers(len(views)))
        psi, (dy, dx) = rng.uniform(-180, 180), rng.normal(0, 2, 2)
        if view >= 0:
            name, rot, tilt = views[view]
            phase = project(
                protein(name), angles=(rot, tilt, psi), size=2 * BOX, pixel_size=PIXEL, offset=(dy, dx)
            )
            seen = sf.irfft2(sf.rfft2(phase) * contrast_transfer(ky, kx, ctf) * falling, s=phase.shape)
            image[:] = 2 * seen[middle, middle] / level
        truth.append(
            {
                "view": view, "psi": psi, "dx": dx, "dy": dy, "defocus_u": ctf.defocus_u,
                "defocus_v": ctf.defocus_v, "defocus_angle": angle,
            }
        )  # fmt: skip
    images = rng.standard_normal((particles, BOX, BOX), np.float32)
    for start in range(0, particles, len(signal)):
        images[start : start + len(signal)] += signal[: particles - start]
    write_mrc(folder / f"particles_snr{snr:g}.mrcs", images, pixel_size=PIXEL, stack=True)
    truth = (truth * -(-particles // len(truth)))[:particles]
    species = [{"species": name} for name, _, _ in views]
    (folder / "truth.json").write_text(json.dumps({"apix": PIXEL, "views": species, "particles": truth}))
    return folder


def _views(name: str, count: int, rng: np.random.Generator) -> list[tuple[str, float, float]]:
    """``count`` of 40 random directions (rot, tilt) from which the protein looks most unlike."""
    turns, cosines = rng.uniform(-180, 180, CANDIDATES), rng.uniform(-1, 1, CANDIDATES)
    views = [(name, float(r), float(t)) for r, t in zip(turns, np.rad2deg(np.arccos(cosines)), strict=True)]
    images = np.stack([_seen(*view) for view in views])
    grid = PolarGrid.covering(BOX, BOX // 4, 0.4 * BOX)
    rings = harmonics(ring_images(images, grid))
    likeness = resemblance(rings, rings, np.arange(1.0, grid.rings + 1), grid)
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int(likeness[:, chosen].max(axis=1).argmin()))
    return [views[k] for k in chosen]


def _seen(name: str, rot: float, tilt: float) -> FloatArray:
    return project(protein(name), angles=(rot, tilt, 0), size=BOX, pixel_size=PIXEL)


def _first(folder: Path, size: int, snr: float, scratch: Path) -> tuple[Path, dict[str, Any]]:
    """A STAR of the first ``size`` particles, and the truth."""
    truth = json.loads((folder / "truth.json").read_text())
    stack = folder / f"particles_snr{snr:g}.mrcs"
    pixel_size = float(truth["apix"])
    chosen = truth["particles"][:size]
    if len(chosen) < size or not stack.is_file():
        raise ValueError(f"{stack} with {size} particles is expected; the truth there lists {len(chosen)}")
    optics = {
        "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"], "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [pixel_size],
        "rlnImageSize": [read_mrc(stack)[0].shape[-1]], "rlnImageDimensionality": [2],
    }  # fmt: skip
    rows = {
        "rlnImageName": [f"{k + 1:06d}@{stack}" for k in range(size)],
        "rlnMicrographName": ["mic.mrc"] * size,
        "rlnOpticsGroup": [1] * size,
        "rlnDefocusU": [p["defocus_u"] for p in chosen],
        "rlnDefocusV": [p["defocus_v"] for p in chosen],
        "rlnDefocusAngle": [p["defocus_angle"] for p in chosen],
    }
    star = scratch / f"{folder.name}-first{size}-snr{snr:g}.star"
    write_star(star, {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(rows)})
    return star, truth


def _ours(
    star: Path, truth: dict[str, Any], folder: Path, seed: int, classes: int, scratch: Path
) -> dict[str, Any]:
    out = scratch / "ours"
    command = [sys.executable, "-m", "nextpyp_nb", "class2d", str(star), "--out", str(out)]
    cost = run_measured([*command, "--classes", str(classes), "--seed", str(seed)])
    return {"program": f"nextpyp_nb {__version__}", "seed": seed} | cost | _score(out, "", truth, folder)


def _arriving(
    arrivals: int, star: Path, truth: dict[str, Any], folder: Path, seed: int, classes: int, scratch: Path
) -> dict[str, Any]:
    """``churn`` is the most in an update that found no classes anew."""
    out = scratch / "arriving"
    job = [sys.executable, "-m", "nextpyp_nb.bench.class2d_job", str(star), str(out)]
    cost = run_measured(
        [*job, str(classes), str(seed), str(arrivals)], environment=worker_environment(0, threads=1, gpus=0)
    )
    updates = json.loads((out / "updates.json").read_text())
    label = np.array([p["view"] for p in truth["particles"]])
    with np.load(out / "numbers.npz") as numbers:
        for update, number in zip(updates, numbers.values(), strict=True):
            update["particles"] = len(number)
            update["ARI"] = adjusted_rand(number, label[: len(number)])
            update["purity"] = purity(number, label[: len(number)])
    churn = max((u["churn"] for u in updates if not u["annealed"]), default=None)
    told = {"churn": churn, "last_update_cpu_s": updates[-1]["cpu_s"], "updates": updates}
    program = f"nextpyp_nb {__version__}, {arrivals} arrivals"
    return {"program": program, "seed": seed} | cost | told | _score(out, "", truth, folder)


def _relion(
    iterations: int, star: Path, truth: dict[str, Any], folder: Path, seed: int, classes: int, scratch: Path
) -> dict[str, Any]:
    out = scratch / "relion"
    out.mkdir(exist_ok=True)
    command = [
        "relion_refine", "--i", str(star), "--o", str(out / "run"), "--iter", str(iterations),
        "--K", str(classes), "--ctf", "--particle_diameter", "187", "--tau2_fudge", "2", "--flatten_solvent",
        "--zero_mask", "--psi_step", "12", "--oversampling", "1", "--offset_range", "5", "--offset_step", "2",
        "--norm", "--scale", "--maxsig", "100", "--dont_combine_weights_via_disc", "--random_seed", str(seed),
        "--j", str(len(os.sched_getaffinity(0))),
    ]  # fmt: skip
    cost = run_measured(command)
    program = f"RELION, {iterations} iterations"
    return {"program": program, "seed": seed} | cost | _score(out, f"run_it{iterations:03d}_", truth, folder)


def _score(out: Path, prefix: str, truth: dict[str, Any], folder: Path) -> dict[str, Any]:
    star = out / (f"{prefix}data.star" if prefix else "particles.star")
    table: Any = read_star(star)["particles"]
    averages, pixel_size = read_mrc(out / f"{prefix}classes.mrcs", stack=True)
    return score_classes(
        table, np.asarray(averages, np.float32), read_mrc(folder / "refs.mrcs")[0], truth, pixel_size
    )
