"""2D classification of any RELION particle STAR."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.formats.class2d_star import (
    ParticleStar,
    read_particle_star,
    write_class_assignments,
    write_classes_star,
)
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.kernels.class2d_setup import Class2dUpdate, Progress
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.fourier import fast_even, fourier_resize
from nextpyp_nb.kernels.particles import background_of, normalised

LIMIT, FINE_ENOUGH = 8.0, 2.0
LEAST = 10
MOST_THREADS = 4


def classify_star(
    star: Path, out: Path, *, classes: int, diameter: float | None = None, seed: int = 0,
    progress: Progress | None = None, arrivals: int = 1,
    updated: Callable[[Class2dUpdate, Any], None] | None = None,
) -> str:  # fmt: skip
    """Classify the particles of ``star`` into folder ``out``; one sentence of what came out.

    They may come in so many ``arrivals``, as in a session; ``updated`` hears of each, and the class numbers
    (n,) of the particles so far.
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
                updated(step, engine.result().class_number)
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
