"""Proteins as clouds of atoms, and the phase that an electron wave gathers passing through one."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import scipy.fft as sf

from nextpyp_nb.records import FloatArray

from .optics import ICE_POTENTIAL, frequencies, interaction_constant

PROTEIN_POTENTIAL = 7.6  # mean inner potential, V
VOLUME_PER_DALTON = 1.21  # Å³
HYDROGEN = 1.075  # mass with hydrogens over mass without, in proteins
ATOMIC_MASS = {6: 12.011, 7: 14.007, 8: 15.999, 11: 22.990, 12: 24.305, 15: 30.974, 16: 32.06}
# Electron scattering factors at k = 0, Å, and the shape of carbon's (Peng et al. 1996).
SCATTERING = {6: 2.509, 7: 2.211, 8: 1.983, 11: 4.776, 12: 5.207, 15: 5.488, 16: 5.161}
CARBON_A = (0.0893, 0.2563, 0.7570, 1.0487, 0.3575)
CARBON_B = (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)
THERMAL_B = 20.0  # Å²
SOLVENT_RIM = 2.5  # σ of the displaced solvent around each atom, Å


@dataclass(frozen=True, slots=True, kw_only=True)
class Protein:
    """A particle: ``xyz`` (atoms, 3) in Å about the centre of mass, scattering ``weights`` that sum to 1."""

    name: str
    xyz: FloatArray
    weights: FloatArray
    mass: float
    diameter: float


@cache
def protein(name: str) -> Protein:
    """One of the proteins in the package: ``bgal`` or ``apof``."""
    source = files(__package__) / "proteins" / f"{name}.npz"
    if not source.is_file():
        raise ValueError(f"no protein {name!r}; expected bgal or apof")
    with source.open("rb") as stream, np.load(stream) as atoms:
        xyz, element = atoms["xyz"].astype(np.float32) / 100, atoms["element"]
    weights = np.array([SCATTERING[int(z)] for z in range(17) if z in SCATTERING], np.float64)
    weights = weights[np.searchsorted(sorted(SCATTERING), element)]
    masses = np.array([ATOMIC_MASS[z] for z in sorted(ATOMIC_MASS)])
    mass = float(masses[np.searchsorted(sorted(ATOMIC_MASS), element)].sum() * HYDROGEN)
    diameter = float(2 * np.linalg.norm(xyz, axis=1).max())
    return Protein(name=name, xyz=xyz, weights=weights / weights.sum(), mass=mass, diameter=diameter)


def rotation(rot: float, tilt: float, psi: float) -> FloatArray:
    """Matrix (3, 3) from particle to image axes x, y, z for RELION's angles: about z, then y, then z."""
    about = np.deg2rad([rot, tilt, psi])
    (ca, cb, cg), (sa, sb, sg) = np.cos(about), np.sin(about)
    first = np.array([[ca, sa, 0], [-sa, ca, 0], [0, 0, 1]])
    second = np.array([[cb, 0, -sb], [0, 1, 0], [sb, 0, cb]])
    third = np.array([[cg, sg, 0], [-sg, cg, 0], [0, 0, 1]])
    return third @ second @ first


def project(
    what: Protein,
    *,
    angles: tuple[float, float, float],
    size: int,
    pixel_size: float,
    voltage: float = 300.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> FloatArray:
    """Phase (size, size) in rad of a particle in ice, its centre at pixel size//2 + offset (y, x).

    Atoms go bilinearly onto half pixels; their scattering factor less the ice they displace is
    multiplied in Fourier space.
    """
    fine = 2 * size
    turned = what.xyz @ rotation(*angles)[:2].T.astype(np.float32)
    # Half pixel 2u lies where pixel u does: cropping the spectrum keeps positions.
    column, row = (turned / (0.5 * pixel_size) + fine // 2 + 2 * np.array(offset[::-1], np.float32)).T
    spectrum = sf.rfft2(_bin(row, column, what.weights, fine))
    kept = np.concatenate([spectrum[: size // 2], spectrum[fine - size // 2 :]])[:, : size // 2 + 1]
    factor = _scattering(size, pixel_size) * np.float32(
        interaction_constant(voltage) * VOLUME_PER_DALTON * what.mass / pixel_size**2
    )
    return sf.irfft2(kept * factor, s=(size, size)).astype(np.float32)


def _bin(row: FloatArray, column: FloatArray, weights: FloatArray, size: int) -> FloatArray:
    """Weights spread bilinearly over a (size, size) grid that wraps around."""
    y, x = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    fy, fx = row - y, column - x
    grid = np.zeros(size * size)
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            place = (y + dy) % size * size + (x + dx) % size
            grid += np.bincount(place, weights * wy * wx, size * size)
    return grid.reshape(size, size).astype(np.float32)


@cache
def _scattering(size: int, pixel_size: float) -> FloatArray:
    """Protein's scattering factor minus the displaced ice's over frequency, V, undoing the bilinear bins."""
    ky, kx = frequencies((size, size), pixel_size)
    k2 = ky**2 + kx**2
    atom = sum(a * np.exp(-0.25 * b * k2) for a, b in zip(CARBON_A, CARBON_B, strict=True)) / sum(CARBON_A)
    atom *= np.exp(-0.25 * THERMAL_B * k2)
    solvent = np.exp(-2 * np.pi**2 * SOLVENT_RIM**2 * k2)
    bins = np.sinc(0.5 * pixel_size * ky) ** 2 * np.sinc(0.5 * pixel_size * kx) ** 2
    return ((PROTEIN_POTENTIAL * atom - ICE_POTENTIAL * solvent) / bins).astype(np.float32)
