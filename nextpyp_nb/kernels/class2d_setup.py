"""What a streaming 2D classification is made for, and what it tells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nextpyp_nb.kernels.polar import PolarGrid
from nextpyp_nb.records import ClassAverage, FloatArray

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Class2dSetup:
    """What a classification is made for: images (``box`` px, ``pixel_size`` Å), ``diameter`` Å, at most
    ``classes``, one for each ``per_class`` particles; rings between the resolutions (Å) are compared.
    """

    box: int
    pixel_size: float
    diameter: float
    classes: int
    seed: int = 0
    min_resolution: float = 100.0
    max_resolution: float = 8.0
    per_class: int = 30

    def __post_init__(self) -> None:
        if self.box % 2 or self.box < 16 or self.classes < 1 or self.diameter <= 0 or self.per_class < 2:
            raise ValueError(f"an even box of 16 px or more, a diameter and classes are needed; got {self}")

    @property
    def grid(self) -> PolarGrid:
        """Rings up to the highest resolution."""
        rings = min(self.box // 2 - 1, int(self.box * self.pixel_size / self.max_resolution))
        return PolarGrid.covering(self.box, rings, 0.4 * self.box)

    @property
    def radius(self) -> float:
        """Of the mask, px."""
        return min(0.5 * self.diameter / self.pixel_size, 0.46 * self.box)

    @property
    def reach(self) -> float:
        """Of shifts, px."""
        return min(max(0.12 * self.diameter, 10.0) / self.pixel_size, 0.2 * self.box)


@dataclass(frozen=True)
class Class2dUpdate:
    """An update: its number, particles new and seen again, whether classes were found anew, and churn.

    ``churn`` is the share of particles seen again that changed class; ``settled`` that all were seen often.
    """

    number: int
    new: int
    replayed: int
    annealed: bool
    churn: float
    settled: bool


@dataclass(frozen=True)
class Class2dResult:
    """Classes as they stand; rows of particles in the order of arrival, all host arrays.

    Particle and average are related by
        particle(p) ≈ CTF * average(c + R(rotation) (p - c - shift)),
    with c = (box//2, box//2), R(a) = [[cos a, -sin a], [sin a, cos a]] acting on (x, y), y up (row 0 at
    the bottom). So the particle's centre lies at c + ``shift``, and moving the particle by -``shift``,
    then turning it counter-clockwise by ``rotation`` lays it on the average: in RELION rlnAnglePsi =
    rotation, rlnOriginXAngst = -shift[1] · Å/px, rlnOriginYAngst = -shift[0] · Å/px.

    ``averages`` (K, box, box) float32, protein bright; ``identity`` (K,) names each class for good: a place
    that is given to other particles gets another. ``class_number`` (n,) is 1-based, 0 for particles that
    wait for an update; ``rotation`` (n,) degrees; ``shift`` (n, 2) (y, x) px; ``probability`` (n,) of the
    class given.
    """

    averages: FloatArray
    classes: tuple[ClassAverage, ...]
    identity: Any
    ids: Any
    class_number: Any
    rotation: FloatArray
    shift: FloatArray
    probability: FloatArray


class Counted:
    """Counts particles looked at and says so."""

    def __init__(self, tell: Progress | None, *expected: int) -> None:
        self.tell, self.done, self.total = tell, 0.0, sum(expected)

    def __call__(self, count: float, text: str) -> None:
        """So many more are done."""
        self.done += count
        if self.tell:
            self.tell(int(self.done), int(max(self.total, self.done)), text)
