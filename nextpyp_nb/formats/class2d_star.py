"""RELION particle STAR files, 3.0 and 3.1, as 2D classification reads and writes them.

Origins are minus where the particle lies: in Å in 3.1, in px in 3.0. ``rlnAnglePsi`` turns the particle,
moved by its origin, onto the class average, counter-clockwise with y up.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.formats.star_text import Block, read_star, write_star
from nextpyp_nb.records import ClassAverage, Ctf, FloatArray

_OPTICS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_UNKNOWN = 999.0


@dataclass(frozen=True)
class ParticleStar:
    """Particles of a STAR: its blocks, the stack and place (from 0) of each image, CTF and optics group."""

    path: Path
    blocks: dict[str, Block]
    name: str
    table: pd.DataFrame
    stacks: tuple[Path, ...]
    stack: Any
    place: Any
    ctfs: tuple[Ctf, ...]
    groups: Any
    pixel_size: float
    box: int

    def __len__(self) -> int:
        return len(self.table)

    def images(self, ids: Any) -> FloatArray:
        """Images (n, box, box) float32 of rows ``ids``."""
        out = np.empty((len(ids), self.box, self.box), np.float32)
        for number in np.unique(self.stack[ids]):
            here = np.flatnonzero(self.stack[ids] == number)
            images, _ = read_mrc(self.stacks[number], stack=True)
            places = self.place[ids][here]
            if images.shape[1:] != out.shape[1:] or places.max() >= len(images):
                raise BadFile(
                    f"{self.stacks[number].name} holds {len(images)} images of {images.shape[2]} x"
                    f" {images.shape[1]} px; {self.path.name} wants number {places.max() + 1},"
                    f" {self.box} px wide"
                )
            out[here] = images[places]
        if not np.isfinite(out).all():
            raise BadFile(f"an image of {self.path.name} holds values that are no numbers")
        return out


def read_particle_star(path: str | os.PathLike[str]) -> ParticleStar:
    """Read a particle STAR with or without optics table; BadFile says what is wrong."""
    path = Path(path)
    blocks = read_star(path)
    name = "particles" if "particles" in blocks else next(iter(blocks))
    table = blocks[name]
    if not isinstance(table, pd.DataFrame) or "rlnImageName" not in table or not len(table):
        raise BadFile(f"{path.name} lists no particles: a table with rlnImageName is expected")
    wide = _with_optics(table, blocks.get("optics"), path)
    missing = [label for label in (*_OPTICS, *_DEFOCUS) if label not in wide]
    if missing:
        raise BadFile(f"{path.name} lacks {', '.join(missing)}: the particles' CTF must be known")
    stacks, stack, place = _stacks(table["rlnImageName"].astype(str), path)
    first, header_size = read_mrc(stacks[0], stack=True)
    group = wide["rlnOpticsGroup"] if "rlnOpticsGroup" in wide else np.ones(len(wide))
    return ParticleStar(
        path, blocks, name, table, stacks, stack, place, _ctfs(wide), np.asarray(group, np.int64),
        _pixel_size(wide, header_size, path), int(first.shape[-1]),
    )  # fmt: skip


def _with_optics(table: pd.DataFrame, optics: Any, path: Path) -> pd.DataFrame:
    if not isinstance(optics, pd.DataFrame):
        return table
    if "rlnOpticsGroup" not in optics or "rlnOpticsGroup" not in table:
        raise BadFile(f"{path.name} has an optics table but no rlnOpticsGroup to go by")
    unknown = set(table["rlnOpticsGroup"]) - set(optics["rlnOpticsGroup"])
    if unknown:
        raise BadFile(f"{path.name}: optics group {sorted(unknown)[0]} is not in its optics table")
    more = [c for c in optics.columns if c == "rlnOpticsGroup" or c not in table]
    return table.merge(optics[more], on="rlnOpticsGroup", how="left")


def _stacks(names: Any, path: Path) -> tuple[tuple[Path, ...], Any, Any]:
    parts = names.str.split("@", n=1, expand=True)
    if parts.shape[1] < 2 or parts[1].isna().any() or not parts[0].str.fullmatch(r"0*[1-9]\d*").all():
        raise BadFile(f"{path.name}: an rlnImageName such as 000001@stack.mrcs is expected")
    number, different = pd.factorize(parts[1])
    return tuple(_found(stack, path) for stack in different), number, parts[0].astype(int).to_numpy() - 1


def _found(stack: str, path: Path) -> Path:
    """A stack beside the STAR, in a folder above it (the project's), or here."""
    folders = [path.resolve().parent, Path.cwd(), *path.resolve().parents]
    for folder in folders:
        if (folder / stack).is_file():
            return folder / stack
    raise FileNotFoundError(
        f"{stack}, named in {path.name}, is neither in {folders[0]}, nor in a folder above it,"
        f" nor in {folders[1]}"
    )


def _ctfs(wide: pd.DataFrame) -> tuple[Ctf, ...]:
    phase = wide["rlnPhaseShift"] if "rlnPhaseShift" in wide else pd.Series(0.0, index=wide.index)
    columns = [wide[c].to_numpy(float) for c in (*_DEFOCUS, *_OPTICS)] + [phase.to_numpy(float)]
    if not all(np.isfinite(c).all() for c in columns):
        raise BadFile("a defocus or optics value of the particles is no number")
    return tuple(
        Ctf(
            defocus_u=u, defocus_v=v, defocus_angle=angle,
            voltage=voltage, cs=cs, amplitude_contrast=amplitude, phase_shift=shift,
        )
        for u, v, angle, voltage, cs, amplitude, shift in zip(*(c.tolist() for c in columns), strict=True)
    )  # fmt: skip


def _pixel_size(wide: pd.DataFrame, header_size: float, path: Path) -> float:
    """Å per px: of the image (3.1), of detector and magnification (3.0), or the stack's own."""
    if "rlnImagePixelSize" in wide:
        sizes = wide["rlnImagePixelSize"].to_numpy(float)
    elif {"rlnDetectorPixelSize", "rlnMagnification"} <= set(wide):
        sizes = 1e4 * wide["rlnDetectorPixelSize"].to_numpy(float) / wide["rlnMagnification"].to_numpy(float)
    else:
        sizes = np.array([header_size])
    if not np.isfinite(sizes).all() or sizes.min() <= 0:
        raise BadFile(f"{path.name} tells no pixel size: rlnImagePixelSize or a magnification is expected")
    if np.ptp(sizes) > 1e-3 * sizes[0]:
        raise BadFile(
            f"{path.name} mixes pixel sizes of {sizes.min():g} to {sizes.max():g} Å; scale them alike"
        )
    return float(sizes[0])


def write_class_assignments(
    path: Path, particles: ParticleStar, class_number: Any, rotation: FloatArray, shift: FloatArray
) -> None:
    """Write the particles again with class, ``rotation`` (degrees) and ``shift`` (n, 2) (y, x) Å."""
    table = particles.table.copy()
    table["rlnImageName"] = [
        f"{place + 1:06d}@{os.path.relpath(particles.stacks[stack], path.parent)}"
        for stack, place in zip(particles.stack, particles.place, strict=True)
    ]
    table["rlnClassNumber"] = np.asarray(class_number, int)
    table["rlnAnglePsi"] = (np.asarray(rotation, float) + 180) % 360 - 180
    modern = "rlnOriginXAngst" in table or "optics" in particles.blocks
    unit, names = (
        (1.0, ("rlnOriginYAngst", "rlnOriginXAngst"))
        if modern
        else (particles.pixel_size, ("rlnOriginY", "rlnOriginX"))
    )
    for axis, name in enumerate(names):
        table[name] = -np.asarray(shift, float)[:, axis] / unit
    version = {} if "optics" in particles.blocks else {"version": ""}
    write_star(path, {**particles.blocks, particles.name: table}, **version)


def write_classes_star(
    path: Path, stack: str, classes: Sequence[ClassAverage], *, pixel_size: float, box: int
) -> None:
    """Write the classes as RELION's model file lists them."""
    known = [c.resolution if np.isfinite(c.resolution) else _UNKNOWN for c in classes]
    write_star(
        path,
        {
            "model_general": {
                "rlnReferenceDimensionality": 2, "rlnDataDimensionality": 2, "rlnOriginalImageSize": box,
                "rlnPixelSize": pixel_size, "rlnNrClasses": len(classes),
            },
            "model_classes": pd.DataFrame(
                {
                    "rlnReferenceImage": [f"{c.number:06d}@{stack}" for c in classes],
                    "rlnClassDistribution": [c.share for c in classes],
                    "rlnEstimatedResolution": known,
                    "rlnClassScore": [c.score for c in classes],
                    "rlnNrParticles": [c.count for c in classes],
                }
            ),
        },
    )  # fmt: skip
