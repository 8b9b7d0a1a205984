"""What lies in the beam: proteins in a hole of ice, and now and then carbon, an ice crystal or nothing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft as sf

from nextpyp_nb.records import FloatArray

from .optics import carbon_noise, frequencies
from .specimen import Protein, project

Label = Literal["good", "carbon_edge", "ice_contamination", "empty", "severe_drift"]
CARBON_THICKNESS = 200.0  # Å
CARBON_PHASE, CARBON_LOSS = 0.12, 0.12
CRYSTAL_PHASE, CRYSTAL_LOSS = 1.2, 0.4
TRIES = 2500


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """A particle on the canvas: ``centre`` (y, x) px, angles rot, tilt, psi."""

    what: Protein
    centre: tuple[float, float]
    angles: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Phases in rad and lost electrons over a canvas (y, x); ``margin`` px lie around the camera's field.

    The proteins fade under the beam, ``fixed`` does not; ``loss`` is the share of electrons lost.
    """

    label: Label
    margin: int
    particles: list[Particle]
    proteins: FloatArray
    fixed: FloatArray
    loss: FloatArray


def build_scene(
    rng: np.random.Generator,
    *,
    label: Label,
    shape: tuple[int, int],
    margin: int,
    pixel_size: float,
    voltage: float,
    proteins: dict[str, tuple[Protein, float]],
    spacing: float,
) -> Scene:
    """Freeze one field of view on a canvas of ``shape``; ``proteins`` gives each species its share."""
    fixed, loss = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if label == "carbon_edge":
        cover = _carbon(rng, shape)
        fixed += cover * (_amorphous(rng, shape, pixel_size, voltage) + CARBON_PHASE)
        loss += CARBON_LOSS * cover
    elif label == "ice_contamination":
        cover = _crystals(rng, shape, margin, pixel_size)
        fixed, loss = fixed + CRYSTAL_PHASE * cover, loss + CRYSTAL_LOSS * cover
    particles: list[Particle] = []
    if label != "empty":
        particles = place(rng, loss > 0.05, margin, pixel_size, proteins, spacing)
    phase = np.zeros(shape, np.float32)
    for particle in particles:
        paste(phase, particle, pixel_size, voltage)
    return Scene(label=label, margin=margin, particles=particles, proteins=phase, fixed=fixed, loss=loss)


def place(
    rng: np.random.Generator,
    covered: np.ndarray,
    margin: int,
    pixel_size: float,
    proteins: dict[str, tuple[Protein, float]],
    spacing: float,
) -> list[Particle]:
    """Drop particles at random ``spacing`` diameters apart and clear of the cover."""
    species = [p for p, _ in proteins.values()]
    share = np.array([s for _, s in proteins.values()], np.float64)
    kinds = rng.choice(len(species), TRIES, p=share / share.sum())
    extent = np.array(covered.shape)
    spots = rng.uniform(0.6 * margin, extent - 0.6 * margin, (TRIES, 2))
    directions = zip(rng.uniform(-180, 180, (TRIES, 2)), rng.uniform(-1, 1, TRIES), strict=True)
    radii = np.array([0.5 * p.diameter / pixel_size for p in species])
    centres, sizes, particles = np.empty((0, 2)), np.empty(0), []
    for kind, spot, ((rot, psi), cosine) in zip(kinds, spots, directions, strict=True):
        radius = radii[kind]
        apart = np.hypot(*(centres - spot).T)
        if (apart < spacing * (sizes + radius)).any() or _touches(covered, spot, radius):
            continue
        centres, sizes = np.vstack([centres, spot]), np.append(sizes, radius)
        angles = (float(rot), float(np.degrees(np.arccos(cosine))), float(psi))
        particles.append(Particle(what=species[kind], centre=(float(spot[0]), float(spot[1])), angles=angles))
    return particles


def _touches(covered: np.ndarray, spot: FloatArray, radius: float) -> bool:
    """Whether the cover reaches a particle's centre or eight points of its rim."""
    around = np.arange(8) * np.pi / 4
    y, x = (spot[:, None] + radius * np.array([np.sin(around), np.cos(around)])).astype(int)
    rim = covered[np.clip(y, 0, covered.shape[0] - 1), np.clip(x, 0, covered.shape[1] - 1)]
    return bool(rim.any() or covered[tuple(spot.astype(int))])


def paste(phase: FloatArray, particle: Particle, pixel_size: float, voltage: float) -> None:
    """Add a particle's projection to the canvas, in place."""
    size = int(2 * np.ceil(0.5 * particle.what.diameter / pixel_size + 12))
    size = 2 * sf.next_fast_len(size // 2, real=True)
    y, x = (round(c) for c in particle.centre)
    image = project(
        particle.what,
        angles=particle.angles,
        size=size,
        pixel_size=pixel_size,
        voltage=voltage,
        offset=(particle.centre[0] - y, particle.centre[1] - x),
    )
    top, left = y - size // 2, x - size // 2
    rows = slice(max(0, top), min(phase.shape[0], top + size))
    columns = slice(max(0, left), min(phase.shape[1], left + size))
    phase[rows, columns] += image[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]


def _carbon(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Cover 0..1 of a carbon film whose gently curved edge crosses the field."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    direction, radius = rng.uniform(0, 2 * np.pi), 1.2 * max(shape)
    reach = radius + rng.uniform(0.12, 0.22) * min(shape)
    cy = shape[0] / 2 + reach * np.sin(direction)
    cx = shape[1] / 2 + reach * np.cos(direction)
    return _soft(radius - np.hypot(y - cy, x - cx), 6.0)


def _crystals(rng: np.random.Generator, shape: tuple[int, int], margin: int, pixel_size: float) -> FloatArray:
    """Cover 0..1 of a few irregular ice crystals."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    cover = np.zeros(shape, np.float32)
    for _ in range(4):
        cy, cx = rng.uniform(margin, np.array(shape) - margin)
        around = np.arctan2(y - cy, x - cx)
        outline = rng.uniform(120, 260) / pixel_size * np.ones(shape, np.float32)
        for lobes in (2, 3, 5):
            outline *= 1 + 0.3 / lobes * np.cos(lobes * around + rng.uniform(0, 2 * np.pi))
        cover = np.maximum(cover, _soft(outline - np.hypot(y - cy, x - cx), 4.0))
    return cover


def _soft(inside: FloatArray, width: float) -> FloatArray:
    """1 inside, 0 outside, with an edge ``width`` px wide."""
    return (0.5 + 0.5 * np.tanh(0.5 * inside / width)).astype(np.float32)


def _amorphous(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size: float, voltage: float
) -> FloatArray:
    """Phase of amorphous carbon, rad."""
    ky, kx = frequencies(shape, pixel_size)
    amplitude = carbon_noise(ky**2 + kx**2, CARBON_THICKNESS, voltage) / pixel_size
    return sf.irfft2(sf.rfft2(rng.standard_normal(shape, np.float32)) * amplitude, s=shape)
