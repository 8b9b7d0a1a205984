"""Figures of quality in the words of operators: unit, meaning, alarm limit and what is normal here."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_SPREAD = 3.0 * 1.4826
_LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimit:
    """One column of the table of micrographs; ``worse`` says on which side of ``limit`` it alarms.

    Without a limit only a value far from what is normal in the session alarms.
    """

    name: str
    label: str
    unit: str
    meaning: str
    worse: str
    limit: float | None = None

    def passes(self, values: "pd.Series[float]") -> "pd.Series[bool]":
        """Which values keep the limit; what is unknown passes."""
        if self.limit is None:
            return pd.Series(True, index=values.index)
        beyond = values > self.limit if self.worse == "above" else values < self.limit
        return ~beyond


def _limit(
    name: str, label: str, unit: str, meaning: str, *, above: float | None = None, below: float | None = None
) -> QualityLimit:
    limit = above if below is None else below
    worse = "below" if below is not None else "above" if above is not None else "either"
    return QualityLimit(name=name, label=label, unit=unit, meaning=meaning, worse=worse, limit=limit)


QUALITY = (
    _limit("early_motion", "Early drift", "Å", "Path of the specimen over the first 4 e⁻/Å².", above=30.0),
    _limit("late_motion", "Late drift", "Å", "Path after that: the stage has not settled.", above=40.0),
    _limit("total_motion", "Total drift", "Å", "Path over the whole exposure.", above=60.0),
    _limit("fit_resolution", "CTF fit resolution", "Å", "How far Thon rings are seen.", above=8.0),
    _limit("defocus_error", "Defocus error", "Å", "Doubt about the mean defocus.", above=150.0),
    _limit("astigmatism", "Astigmatism", "Å", "Difference of the two defoci: stigmators.", above=1000.0),
    _limit("ice_ring", "Ice ring", "", "Crystalline ice at 3.7 Å against the second Thon ring.", above=1.0),
    _limit("ice_thickness", "Ice thickness", "share of noise", "Water at 3.7 Å over noise: grows with it."),
    _limit("mean_dose", "Dose", "e⁻/px/frame", "Mean of a frame: thick ice or a blocked beam is low."),
    _limit("dose_evenness", "Dose spread", "share of mean", "Unevenness over the field.", above=0.15),
    _limit("junk_fraction", "Junk", "share of area", "Carbon, ice, dirt: none is picked there.", above=0.5),
    _limit("particle_density", "Particles", "per µm²", "Picked particles on the whole micrograph."),
)


def ctf_doubt(row: Mapping[str, Any]) -> str:
    """Why a fit of the CTF is not to be trusted, in words; empty where nothing speaks against it."""
    words = {
        "defocus_error": "its defocus may be off by {value:.0f} Å (alarm at {limit:.0f})",
        "fit_resolution": "rings are seen to {value:.1f} Å only (alarm at {limit:.0f})",
    }
    reasons = []
    for figure in QUALITY:
        value = row.get(figure.name)
        if figure.name in words and figure.limit is not None and value is not None and value > figure.limit:
            reasons.append(words[figure.name].format(value=value, limit=figure.limit))
    return f"doubtful fit: {' and '.join(reasons)}" if reasons else ""


def with_density(micrographs: pd.DataFrame) -> pd.DataFrame:
    """The table of micrographs with its particle density, per µm²."""
    area = micrographs["height"] * micrographs["width"] * (1e-4 * micrographs["pixel_size"]) ** 2
    return micrographs.assign(particle_density=micrographs["particles"] / area.where(area > 0))


def normal_ranges(micrographs: pd.DataFrame, *, last: int = 200) -> pd.DataFrame:
    """What was normal over the ``last`` micrographs: n, median, low and high, one row a figure.

    Low and high lie three robust standard deviations (1.4826 median deviations) about the median; they
    are NaN below eight known values.
    """
    table = with_density(micrographs).tail(last)
    rows = {}
    for figure in QUALITY:
        known = table[figure.name].dropna().to_numpy(float) if figure.name in table else np.empty(0)
        median = float(np.median(known)) if len(known) else float("nan")
        band = _SPREAD * float(np.median(np.abs(known - median))) if len(known) >= _LEAST else float("nan")
        rows[figure.name] = {"n": len(known), "median": median, "low": median - band, "high": median + band}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def alarms(micrographs: pd.DataFrame, *, last: int = 200) -> pd.DataFrame:
    """Which figures of which micrographs alarm: True beyond the limit, or without one beyond what is normal.

    The normal range of a micrograph is that of the ``last`` before and with it.
    """
    return _named(_alarming(_figures(micrographs), last), micrographs)


class Alarms:
    """`alarms` of a table that grows: only the rows that a change can reach are worked out again."""

    def __init__(self, last: int = 200) -> None:
        self._last = last
        self._values: np.ndarray[Any, Any] = np.zeros((0, len(QUALITY)))
        self._found = np.zeros((0, len(QUALITY)), bool)
        self._guard = threading.Lock()

    def of(self, micrographs: pd.DataFrame) -> pd.DataFrame:
        """The alarms of ``micrographs``, row by row."""
        if micrographs.empty:
            return pd.DataFrame(columns=[figure.name for figure in QUALITY], dtype=bool)
        with self._guard:
            return _named(self._updated(_figures(micrographs)), micrographs)

    def _updated(self, values: "np.typing.NDArray[np.float64]") -> "np.typing.NDArray[np.bool_]":
        kept = min(len(values), len(self._values))
        new, old = values[:kept], self._values[:kept]
        differs = ~((new == old) | (np.isnan(new) & np.isnan(old))).all(axis=1)
        first = int(differs.argmax()) if differs.any() else kept
        if first < len(values):
            start = max(0, first - self._last + 1)
            found = _alarming(values[start:], self._last)[first - start :]
            self._found = np.concatenate([self._found[:first], found])
        self._values, self._found = values, self._found[: len(values)]
        return self._found


def _named(found: "np.typing.NDArray[np.bool_]", micrographs: pd.DataFrame) -> pd.DataFrame:
    names = [figure.name for figure in QUALITY]
    return pd.DataFrame(found, index=micrographs.index, columns=names, copy=True)


def _figures(micrographs: pd.DataFrame) -> "np.typing.NDArray[np.float64]":
    """The figures of `QUALITY`, a column each; NaN where unknown."""
    names = {figure.name for figure in QUALITY} | {"height", "width", "pixel_size", "particles"}
    table = {name: micrographs[name].to_numpy(np.float64) for name in names & set(micrographs)}
    area = table["height"] * table["width"] * (1e-4 * table["pixel_size"]) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        table["particle_density"] = np.where(area > 0, table["particles"] / area, np.nan)
    unknown = np.full(len(micrographs), np.nan)
    return np.column_stack([table.get(figure.name, unknown) for figure in QUALITY])


def _alarming(values: "np.typing.NDArray[np.float64]", last: int) -> "np.typing.NDArray[np.bool_]":
    found = np.zeros(values.shape, bool)
    for at, figure in enumerate(QUALITY):
        if figure.limit is not None:
            above = figure.worse == "above"
            found[:, at] = values[:, at] > figure.limit if above else values[:, at] < figure.limit
            continue
        median, deviation = _running(values[:, at], last)
        # All alike but one: a difference in the last digits is no alarm.
        band = np.maximum(_SPREAD * deviation, 0.02 * np.abs(median))
        found[:, at] = np.abs(values[:, at] - median) > band
    return found


def _running(values: "np.typing.NDArray[Any]", last: int) -> tuple[Any, Any]:
    """Median, and median deviation from it, of each value with the ``last`` - 1 before; NaN below eight."""
    padded = np.concatenate([np.full(last, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, last)[1:]
    median, deviation = np.full((2, len(values)), np.nan)
    # As many rows at once as a processor keeps near.
    for start in range(0, len(values), 500):
        part = windows[start : start + 500]
        median[start : start + 500] = middle = _medians(part)
        deviation[start : start + 500] = _medians(np.abs(part - middle[:, None]))
    return median, deviation


def _medians(rows: "np.typing.NDArray[np.float64]") -> Any:
    """The median of what is known in each row, NaN below eight; NumPy's own takes rows one by one."""
    ordered, known = np.sort(rows, axis=1), np.isfinite(rows).sum(axis=1)
    at = np.maximum(known - 1, 0)
    places = np.arange(len(rows))
    found = 0.5 * (ordered[places, at // 2] + ordered[places, (at + 1) // 2])
    return np.where(known >= _LEAST, found, np.nan)
