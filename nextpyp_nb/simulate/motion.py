"""How a specimen moves under the beam: a settling burst, steady drift, jitter and a gentle local field."""

from dataclasses import dataclass

import numpy as np

from nextpyp_nb.records import FloatArray

BASIS = "x,y,x^2-1/12,xy,y^2-1/12 with x=(col+.5)/nx-.5"
SETTLING_DOSE = 4.0  # e⁻/Å² over which the first burst dies away
JITTER = 0.08  # Å a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Shift of a feature in frame f at (y, x) in -0.5..0.5: ``shifts[f] + profile[f] * local @ basis``, px.

    ``shifts`` (frames, 2) and ``local`` (2, 5) have the axes y, x; all is zero in frame 0.
    """

    shifts: FloatArray
    local: FloatArray
    profile: FloatArray

    def at(self, y: float, x: float) -> FloatArray:
        """Shifts (frames, 2) in (y, x) px of a feature at one place of the field."""
        basis = np.array([x, y, x * x - 1 / 12, x * y, y * y - 1 / 12])
        return self.shifts + self.profile[:, None] * (self.local @ basis)


def beam_induced(
    rng: np.random.Generator,
    *,
    frames: int,
    dose_per_frame: float,
    pixel_size: float,
    drift: float,
    local: float,
) -> Motion:
    """Draw one movie's motion; ``drift`` and ``local`` are its scales in Å."""
    dose = np.arange(frames) * dose_per_frame
    burst = 1 - np.exp(-dose / SETTLING_DOSE)
    steady = dose / max(dose[-1], 1e-9)
    direction = rng.uniform(0, 2 * np.pi)
    later = direction + rng.normal(0, 0.7)
    shifts = drift * rng.uniform(0.5, 1.0) * np.outer(burst, [np.sin(direction), np.cos(direction)])
    shifts += drift * rng.uniform(0.2, 0.6) * np.outer(steady, [np.sin(later), np.cos(later)])
    shifts[1:] += np.cumsum(rng.normal(0, JITTER, (frames - 1, 2)), axis=0)
    field = rng.normal(0, 1, (2, 5))
    field *= 2 * local / pixel_size / np.abs(field).sum(axis=1, keepdims=True)
    profile = 0.75 * burst / max(burst[-1], 1e-9) + 0.25 * steady
    return Motion(shifts=shifts / pixel_size, local=field, profile=profile)
