"""What the pages call a micrograph's numbers: label, unit, and how many of our units make one of theirs."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.views.markup import known, number


@dataclass(frozen=True, slots=True)
class Quantity:
    """``column`` divided by ``scale`` is shown in ``unit`` with so many digits; None: four that count."""

    column: str
    label: str
    unit: str = ""
    scale: float = 1.0
    digits: int | None = 1
    short: str = ""

    @property
    def heading(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def words(self, value: Any) -> str:
        """A value with its unit."""
        if self.digits is None and known(value):
            return f"{value / self.scale:.4g}".replace("-", "−")
        return number(value / self.scale if known(value) else None, self.digits or 0, self.unit)

    def rounded(self, shown: float) -> float:
        """What a value in the shown unit is in the column's, as exactly as it is written."""
        written = float(f"{shown:.4g}") if self.digits is None else round(shown, self.digits)
        return float(f"{written * self.scale:.12g}")


QUANTITIES = {
    q.column: q
    for q in (
        Quantity("fit_resolution", "CTF fit resolution", "Å", short="fit resolution"),
        Quantity("ctf_score", "CTF score", digits=3, short="score"),
        Quantity("defocus", "Mean defocus", "µm", 1e4, 2),
        Quantity("defocus_u", "Defocus 1", "µm", 1e4, 3, short="defocus 1"),
        Quantity("defocus_v", "Defocus 2", "µm", 1e4, 3, short="defocus 2"),
        Quantity("defocus_angle", "Astigmatism angle", "°", digits=0, short="angle"),
        Quantity("astigmatism", "Astigmatism", "nm", 10.0),
        Quantity("defocus_error", "Defocus error", "Å", digits=0),
        Quantity("phase_shift", "Phase shift", "°", digits=0),
        Quantity("tilt", "Tilt", "°"),
        Quantity("tilt_axis", "Tilt axis", "°", digits=0),
        Quantity("thickness", "Thickness", "nm", 10.0, 0),
        Quantity("total_motion", "Motion, total", "Å", short="motion"),
        Quantity("early_motion", "Early drift", "Å", short="early"),
        Quantity("late_motion", "Late motion", "Å"),
        Quantity("ice_ring", "Ice ring", digits=2),
        Quantity("ice_thickness", "Ice thickness", "of noise", digits=3),
        Quantity("particles", "Particles", digits=0, short="particles"),
        Quantity("pick_threshold", "Pick threshold", "σ", digits=2),
        Quantity("junk_fraction", "Masked", "%", 0.01, short="masked"),
        Quantity("mean_dose", "Mean dose", "e⁻/px", digits=2),
        Quantity("dose_evenness", "Dose evenness", digits=3),
        Quantity("acquired_defocus", "Target defocus", "µm", 1e4, 2),
        Quantity("latency", "Latency", "s", digits=0),
    )
}
# Numbers that say how a micrograph was made, not how good it is.
_BOOKKEEPING = {
    "id",
    "revision",
    "n_frames",
    "height",
    "width",
    "pixel_size",
    "dose_per_frame",
    "excluded",
} | {
    "seconds_motion",
    "seconds_ctf",
    "seconds_picking",
    "corrupt_frames",
}
# The shot within a hole, as EPU names its movies.
_SHOT = re.compile(r"_Data_(\w+?)_\d+_\d{8}_")


def quantity(column: str) -> Quantity:
    """A known quantity, or a column of the user's under its own name."""
    return QUANTITIES.get(column) or Quantity(column, column.replace("_", " "), digits=None)


def measured(table: pd.DataFrame) -> list[str]:
    """The columns of numbers that have any value: known ones in our order, then the user's."""
    have = [c for c in table.columns if c not in _BOOKKEEPING and pd.api.types.is_numeric_dtype(table[c])]
    have = [c for c in have if table[c].notna().any()]
    return [c for c in QUANTITIES if c in have] + [c for c in have if c not in QUANTITIES]


def values(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64, NaN where there is no number."""
    if column not in table:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def seconds(table: pd.DataFrame) -> np.ndarray:
    """When each was taken, in seconds of the epoch; when it was finished where nobody recorded that."""
    if not len(table):
        return np.zeros(0)
    moments = pd.to_datetime(table["finished"], utc=True)
    if "acquired_time" in table:
        taken = table["acquired_time"]
        unit = "s" if pd.api.types.is_numeric_dtype(taken) else None
        moments = pd.to_datetime(taken, utc=True, errors="coerce", unit=unit).fillna(moments)
    return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64)


def stamps(table: pd.DataFrame) -> np.ndarray:
    """A whole number a row that is another once the micrograph was done again, excluded or taken in."""
    made = pd.DatetimeIndex(table["finished"]).asi8 if len(table) else np.zeros(0, np.int64)
    return np.asarray(2 * (made // 2) + table["excluded"].to_numpy(bool))


def shot_groups(table: pd.DataFrame) -> np.ndarray | None:
    """The shot position or optics group of each micrograph, or None where there is but one."""
    for column in ("acquired_shot", "optics_group"):
        if column in table and table[column].nunique() > 1:
            return table[column].fillna("–").astype(str).to_numpy(object)
    names = table["name"] if "name" in table else pd.Series(dtype=object)
    shots = [found[1] if (found := _SHOT.search(name)) else "–" for name in names]
    return np.array(shots, object) if len(set(shots)) > 1 else None
