"""How a specimen moves under the beam: in time by one of several laws, in space by a gentle local field."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nextpyp_nb.records import FloatArray

BASIS = "x,y,x^2-1/12,xy,y^2-1/12 with x=(col+.5)/nx-.5"
SETTLING_DOSE = 4.0  # e⁻/Å² over which the first burst dies away
JITTER = 0.08  # Å a frame
JERK_FRAMES = 1.5
Law = Literal["settling", "exponential", "jerk", "walk"]


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
    law: Law = "settling",
) -> Motion:
    """Draw one movie's motion; ``drift`` and ``local`` are its scales in Å.

    "settling" is a burst, steady drift and jitter; "exponential" a pure decay; "jerk" a steady drift with one
    sudden step; "walk" a random walk, in which the local field walks too.
    """
    if law != "settling":
        return _by_law(rng, law, frames, dose_per_frame * np.arange(frames), drift, local, pixel_size)
    dose = np.arange(frames) * dose_per_frame
    burst = 1 - np.exp(-dose / SETTLING_DOSE)
    steady = dose / max(dose[-1], 1e-9)
    direction = rng.uniform(0, 2 * np.pi)
    later = direction + rng.normal(0, 0.7)
    shifts = drift * rng.uniform(0.5, 1.0) * np.outer(burst, [np.sin(direction), np.cos(direction)])
    shifts += drift * rng.uniform(0.2, 0.6) * np.outer(steady, [np.sin(later), np.cos(later)])
    shifts[1:] += np.cumsum(rng.normal(0, JITTER, (frames - 1, 2)), axis=0)
    field = _field(rng, local / pixel_size)
    profile = 0.75 * burst / max(burst[-1], 1e-9) + 0.25 * steady
    return Motion(shifts=shifts / pixel_size, local=field, profile=profile)


def _by_law(
    rng: np.random.Generator,
    law: Law,
    frames: int,
    dose: FloatArray,
    drift: float,
    local: float,
    pixel_size: float,
) -> Motion:
    direction = rng.uniform(0, 2 * np.pi)
    along = drift * rng.uniform(0.6, 1.2) * np.array([np.sin(direction), np.cos(direction)])
    if law == "walk":
        steps = rng.normal(0, 1, (frames - 1, 3)) / np.sqrt(max(1, frames - 1))
        walks = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
        return Motion(
            shifts=walks[:, :2] * drift / pixel_size,
            local=_field(rng, local / pixel_size),
            profile=walks[:, 2],
        )
    steady = dose / max(dose[-1], 1e-9)
    if law == "exponential":
        profile = -np.expm1(-dose / rng.uniform(2.0, 8.0))
        shifts = np.outer(profile, along)
    elif law == "jerk":
        when = rng.uniform(0.3, 0.7) * frames
        step = 1 / (1 + np.exp(-4 * (np.arange(frames) - when) / JERK_FRAMES))
        aside = along[::-1] * [1, -1] * rng.uniform(0.3, 0.6)
        profile, shifts = steady, np.outer(steady, along) + np.outer(step - step[0], aside)
    else:
        raise ValueError(f"motion law {law!r} is unknown; expected settling, exponential, jerk or walk")
    return Motion(shifts=shifts / pixel_size, local=_field(rng, local / pixel_size), profile=profile)


def _field(rng: np.random.Generator, amount: float) -> FloatArray:
    """Coefficients (2, 5) of a local field up to about ``amount`` px."""
    field = rng.normal(0, 1, (2, 5))
    return np.asarray(field * (2 * amount / np.abs(field).sum(axis=1, keepdims=True)))
