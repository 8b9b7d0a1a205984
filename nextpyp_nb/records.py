"""What we know about movies, micrographs, particles and classes: plain frozen records.

Arrays are indexed (frame, y, x); shifts and coordinates are (y, x) in pixels; lengths are Å unless a
name ends in ``_px``; angles are degrees; defocus is positive under focus; dose is e⁻/Å².
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
# Of the frame number, in local motion.
POWERS = np.arange(1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """The frames of one exposure as they lie on disk."""

    path: Path
    n_frames: int
    height: int
    width: int
    dtype: str
    pixel_size: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModel:
    """How the specimen moved: a feature seen at p in frame 0 is seen at p + shifts[f] in frame f.

    ``shifts`` is (frames, 2) in (y, x) px of the raw movie and starts at zero. ``local`` holds the
    RELION-like coefficients (axis, basis 1 x x² y y² xy, power 1..3 of the frame number) in px with
    x, y in [-0.5, 0.5], same sign as ``shifts``; None where the whole frame moved as one.
    """

    shifts: FloatArray
    pixel_size: float
    dose_per_frame: float
    height: int
    width: int
    local: FloatArray | None = None

    def steps(self) -> FloatArray:
        """Length of each frame's step, Å, (frames - 1,)."""
        dy, dx = np.diff(self.shifts, axis=0).T
        return np.asarray(np.hypot(dy, dx) * self.pixel_size)

    @property
    def total(self) -> float:
        """Accumulated motion, Å."""
        return float(self.steps().sum())

    def early(self, until: float = 4.0) -> float:
        """Accumulated motion over the first ``until`` e⁻/Å², Å."""
        steps = self.steps()
        dose = np.arange(1, len(steps) + 1) * self.dose_per_frame
        return float(steps[dose <= until].sum())


def field_basis(centres: FloatArray) -> FloatArray:
    """RELION's six functions of the place: (place, 2) in (y, x), -0.5..0.5 -> (place, 6)."""
    y, x = np.moveaxis(np.asarray(centres), -1, 0)
    return np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], axis=-1)


def local_in_time(local: FloatArray, frames: Any) -> FloatArray:
    """Coefficients (frame, 2, 6) of `field_basis` in some frames, by those of MotionModel.local."""
    return np.asarray(np.einsum("abp,fp->fab", local, np.asarray(frames, float)[:, None] ** POWERS))


def local_shifts(local: FloatArray, centres: FloatArray, frame: int) -> FloatArray:
    """Shifts (place, 2) px of one frame by the coefficients of MotionModel.local."""
    return np.asarray(field_basis(centres) @ local_in_time(local, np.array([frame]))[0].T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ctf:
    """Contrast transfer function of one micrograph; U ≥ V, angle counter-clockwise from x."""

    defocus_u: float
    defocus_v: float
    defocus_angle: float
    voltage: float
    cs: float
    amplitude_contrast: float
    phase_shift: float = 0.0
    fit_resolution: float = float("nan")
    score: float = float("nan")
    defocus_error: float = float("nan")

    @property
    def defocus(self) -> float:
        """Mean defocus, Å."""
        return 0.5 * (self.defocus_u + self.defocus_v)

    @property
    def astigmatism(self) -> float:
        """Difference of the two defoci, Å."""
        return self.defocus_u - self.defocus_v


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfProfile:
    """Curves of a CTF fit over spatial frequency (1/Å), all (bins,) and scaled to 0..1 for plotting."""

    frequency: FloatArray
    radial_average: FloatArray
    equiphase_average: FloatArray
    fit: FloatArray
    quality: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """Particle centres of one micrograph: ``centres`` (n, 2) in (y, x) px, best score first."""

    centres: FloatArray
    scores: FloatArray
    radius: float
    pixel_size: float
    threshold: float = float("nan")
    junk_fraction: float = 0.0

    def __len__(self) -> int:
        return len(self.centres)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAverage:
    """One 2D class after a round: ``number`` is its 1-based place in the stack of averages."""

    number: int
    count: int
    share: float
    resolution: float
    score: float = float("nan")
