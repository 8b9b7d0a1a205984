"""2D classification of any RELION particle STAR, as a process of its own."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nextpyp_nb.formats.class2d_star import (
    ParticleStar,
    read_particle_star,
    write_class_assignments,
    write_classes_star,
)
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.kernels.class2d_setup import Class2dUpdate
from nextpyp_nb.kernels.class2d_setup import Progress as Tell
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.fourier import fast_even, fourier_resize
from nextpyp_nb.kernels.particles import background_of, normalised

LIMIT, FINE_ENOUGH = 8.0, 2.0
LEAST = 10
MOST_THREADS = 4


def add_class2d(command: argparse.ArgumentParser) -> None:
    """The arguments of ``nextpyp-nb class2d``."""
    command.add_argument("particles", type=Path, metavar="PARTICLES.star")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--classes", type=int, required=True, metavar="K")
    command.add_argument("--diameter", type=float, metavar="Å", help="of the mask (default: 0.75 boxes)")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(command=_in_own_process)


def _in_own_process(options: argparse.Namespace) -> int:
    """Matrix products this small lose CPU time to threads that wait; their number is set at start-up."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", __spec__.name, str(options.particles), "--out", str(options.out)]
    command += ["--classes", str(options.classes), "--seed", str(options.seed)]
    if options.diameter is not None:
        command += ["--diameter", str(options.diameter)]
    return subprocess.run(command, env=os.environ | limits, check=False).returncode


def classify_star(
    star: Path, out: Path, *, classes: int, diameter: float | None = None, seed: int = 0,
    progress: Tell | None = None, arrivals: int = 1, updated: Callable[[Class2dUpdate], None] | None = None,
) -> str:  # fmt: skip
    """Classify the particles of ``star`` into folder ``out``; one sentence of what came out.

    They may come in so many ``arrivals``, as in a session; ``updated`` hears of each.
    """
    particles = read_particle_star(star)
    extent = particles.box * particles.pixel_size
    diameter = 0.75 * extent if diameter is None else diameter
    if not 0 < diameter <= extent:
        raise ValueError(f"a mask of {diameter:g} Å does not fit the box of {extent:g} Å")
    if len(particles) < LEAST:
        raise ValueError(f"{star.name} lists {len(particles)} particles; {LEAST} or more are expected")
    out.mkdir(parents=True, exist_ok=True)
    box = _box(particles)
    pixel_size = extent / box
    engine = Classification(
        _reader(particles, box, diameter), box=box, pixel_size=pixel_size, diameter=diameter, classes=classes,
        seed=seed, max_resolution=max(LIMIT, 2 * pixel_size), per_class=LEAST,
    )  # fmt: skip
    with scipy.fft.set_workers(min(MOST_THREADS, len(os.sched_getaffinity(0)))):
        for part in np.array_split(np.arange(len(particles)), arrivals):
            engine.add(f"{star.name} from {part[0]}", part, particles.groups[part])
            step = engine.update(progress)
            if updated:
                updated(step)
    found = engine.result()
    write_mrc(out / "classes.mrcs", found.averages, pixel_size=pixel_size, stack=True)
    write_classes_star(out / "classes.star", "classes.mrcs", found.classes, pixel_size=pixel_size, box=box)
    shift = found.shift * np.float32(pixel_size)
    write_class_assignments(out / "particles.star", particles, found.class_number, found.rotation, shift)
    used = sum(c.count > 0 for c in found.classes)
    return f"{len(particles):,} particles in {used} classes: {out / 'particles.star'}"


def _box(particles: ParticleStar) -> int:
    """The box, cropped where its px are much finer than the resolution limit needs."""
    wanted = LIMIT / 2.5
    if particles.pixel_size >= wanted / 1.5:
        return particles.box - particles.box % 2
    return min(fast_even(int(np.ceil(particles.box * particles.pixel_size / wanted))), particles.box)


def _reader(particles: ParticleStar, box: int, diameter: float) -> Any:
    extent = particles.box * particles.pixel_size
    background = background_of(box, extent, min(0.5 * diameter, 0.46 * extent))

    def read(ids: Any) -> tuple[Any, Any]:
        images = particles.images(ids)
        if box != particles.box:
            images = np.asarray(fourier_resize(images, (box, box)), np.float32)
        return normalised(images, background), [particles.ctfs[i] for i in ids]

    return read


def main() -> int:
    """What the process of its own does."""
    parser = argparse.ArgumentParser()
    add_class2d(parser)
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        try:
            told = classify_star(
                options.particles, options.out, classes=options.classes, diameter=options.diameter,
                seed=options.seed,
                progress=lambda done, total, text: bar.update(
                    task, completed=done, total=total, description=text
                ),
            )  # fmt: skip
        except (ValueError, OSError) as error:
            bar.stop()
            sys.stderr.write(f"nextpyp-nb: {error}\n")
            return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
