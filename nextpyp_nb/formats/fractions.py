"""Which raw detector frames of an EER make one movie frame, and the dose of each."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Fractions:
    """Raw frames bounds[n] to bounds[n + 1] - 1 make frame n; ``doses`` (e⁻/Å²) where a table gives them."""

    bounds: tuple[int, ...]
    doses: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Raw frames in each."""
        bounds = np.asarray(self.bounds, np.int64)
        return bounds[1:] - bounds[:-1]

    @property
    def constant(self) -> int | None:
        """Raw frames in every one of them; None where they differ."""
        sizes = set(self.sizes.tolist())
        return sizes.pop() if len(sizes) == 1 else None


def equal_fractions(n_raw: int, group: int) -> Fractions:
    """Groups of ``group`` raw frames; a last one that is not full is left out, as RELION does."""
    if group < 1:
        raise ValueError(f"{group} raw frames a fraction, expected 1 or more")
    group = min(group, n_raw)
    return Fractions(bounds=tuple(range(0, n_raw + 1, group)))


def frames_per_dose(n_raw: int, exposure: float, wanted: float) -> int:
    """Raw frames that come closest to ``wanted`` of the ``exposure`` (both e⁻/Å²) of all ``n_raw``."""
    if not exposure > 0:
        raise ValueError(
            "fractions by dose need the dose of the exposure: give it in Settings, Microscope, or give the "
            "raw frames per fraction instead"
        )
    return min(max(1, math.floor(wanted * n_raw / exposure + 0.5)), n_raw)


def read_fractions(path: str | os.PathLike[str], n_raw: int) -> Fractions:
    """Read a table of MotionCor: lines "raw frames, raw frames per fraction, dose per raw frame in e⁻/Å²".

    Raw frames that make no full fraction, at the end of the movie or of the table, are left out.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no fraction table at {path}; give the right file in Settings, Frame alignment"
        )
    if path.stat().st_size > 1 << 20:
        raise BadFile(f"{path.name} has more than 1 MB, expected a few lines")
    bounds, doses = [0], []
    for n, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.split("#")[0].split()
        if not words or bounds[-1] == n_raw:
            continue
        raw, group, dose = _row(words, f'line {n} of {path.name} is "{line.strip()[:60]}"')
        stops = range(bounds[-1] + group, min(bounds[-1] + raw, n_raw) + 1, group)
        bounds += stops
        doses += [group * dose] * len(stops)
        if len(stops) < raw // group:
            break
    if len(bounds) < 2:
        raise BadFile(f"{path.name} makes no fraction of {n_raw} raw frames")
    return Fractions(bounds=tuple(bounds), doses=tuple(doses) if any(doses) else None)


def _row(words: list[str], where: str) -> tuple[int, int, float]:
    try:
        raw, group, dose = int(words[0]), int(words[1]), float(words[2])
        good = len(words) == 3 and 0 < group <= raw < 1 << 30 and raw % group == 0 and 0 <= dose < 1000
    except (ValueError, IndexError):
        good = False
    if not good:
        raise BadFile(
            f'{where}, expected "raw frames, raw frames per fraction (a divisor of them), dose per raw frame"'
        )
    return raw, group, dose


def frame_doses(fractions: Fractions, n_raw: int, exposure: float) -> NDArray[np.float64]:
    """Dose of each frame, e⁻/Å²: the table's, else its share of the ``exposure`` of all ``n_raw``."""
    if fractions.doses is not None:
        return np.asarray(fractions.doses, np.float64)
    return np.asarray(fractions.sizes * (exposure / n_raw), np.float64)
