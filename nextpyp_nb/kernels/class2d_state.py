"""What a round of 2D classification gives, and what the next one starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nextpyp_nb.records import ClassAverage, FloatArray


@dataclass(frozen=True)
class Class2dState:
    """Memory between rounds, all host arrays; class k keeps place k.

    ``averages`` (K, box, box), ``count`` (K,) particles in each, ``noise`` (rings,) power on rings
    1/box wide (white noise of variance 1 has 1), ``sampling`` () Å/px, ``rounds`` () how many so far.
    """

    averages: FloatArray
    count: FloatArray
    noise: FloatArray
    sampling: FloatArray
    rounds: Any

    def to_arrays(self) -> dict[str, Any]:
        """The state as named arrays, to be saved with ``numpy.savez``."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Class2dState":
        """The state back from ``to_arrays`` (a dictionary or an open npz file)."""
        missing = [f.name for f in fields(cls) if f.name not in arrays]
        if missing:
            raise ValueError(
                f"the saved classification lacks {', '.join(missing)}: it is not one of this program's; "
                "classify anew, without a state"
            )
        return cls(**{f.name: np.asarray(arrays[f.name]) for f in fields(cls)})

    def check(self, box: int, pixel_size: float) -> None:
        """Refuse particles of another box or pixel size."""
        if self.averages.shape[-1] != box or not np.isclose(self.sampling, pixel_size, rtol=1e-3):
            raise ValueError(
                f"the classes so far are {self.averages.shape[-1]} px of {float(self.sampling):.4g} Å, the"
                f" particles {box} px of {pixel_size:.4g} Å: box them alike or classify without a state"
            )


@dataclass(frozen=True)
class Class2dRound:
    """Classes of n particles after a round.

    Particle and average are related by
        particle(p) ≈ CTF * average(c + R(rotation) (p - c - shift)),
    with c = (box//2, box//2), R(a) = [[cos a, -sin a], [sin a, cos a]] acting on (x, y), y up (row 0 at
    the bottom). So the particle's centre lies at c + ``shift``, and moving the particle by -``shift``,
    then turning it counter-clockwise by ``rotation`` lays it on the average: in RELION rlnAnglePsi =
    rotation, rlnOriginXAngst = -shift[1] · Å/px, rlnOriginYAngst = -shift[0] · Å/px.

    ``averages`` (K, box, box) float32, protein bright; ``class_number`` (n,) 1-based; ``rotation`` (n,)
    degrees; ``shift`` (n, 2) (y, x) px; ``probability`` (n,) of the class given.
    """

    averages: FloatArray
    class_number: Any
    rotation: FloatArray
    shift: FloatArray
    probability: FloatArray
    classes: tuple[ClassAverage, ...]
    state: Class2dState
