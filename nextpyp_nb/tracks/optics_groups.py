"""The optics group of each movie, by beam shift: numbers that stay while the session grows."""

from collections import Counter, deque
from collections.abc import Iterable

import numpy as np
import pandas as pd

from nextpyp_nb.kernels.shift_groups import shift_groups

# Below this many shifts nothing is grouped; the groups are found anew each time their number has doubled.
FIRST = 16
MOST = 1024

Shift = tuple[int, float | None, float | None]


class OpticsGroups:
    """Numbers, from 1, for movies by their beam shift (x, y), in whatever unit.

    A number once given stays with its group. Groups are found anew when the known shifts have doubled, on
    the newest ``MOST``; a group that proves to be several is split, and its largest part keeps the number.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float, float, int]] = deque(maxlen=MOST)
        self._centres: dict[int, tuple[float, float, int]] = {}
        self._reach = float("inf")
        self._count = 0
        self._last = 0

    def restore(self, known: Iterable[tuple[Shift, int]]) -> None:
        """Know the movies of a session again, each with its group."""
        for (movie, x, y), group in known:
            self._last = max(self._last, group)
            if x is not None and y is not None:
                self._add(movie, x, y, group)
        if self._count >= FIRST:
            self._reach = shift_groups(self._shifts())[1]

    def assign(self, shifts: Iterable[Shift]) -> dict[int, int]:
        """The groups of new movies, and of older ones that were split off: movie → number."""
        changed: dict[int, int] = {}
        for movie, x, y in shifts:
            if x is None or y is None:
                continue
            changed[movie] = group = self._nearest(x, y)
            self._add(movie, x, y, group)
            if self._count >= FIRST and self._count & (self._count - 1) == 0:
                changed |= self._find_anew()
        return changed

    def _shifts(self) -> np.ndarray:
        return np.array([(x, y) for _, x, y, _ in self._recent])

    def _new(self) -> int:
        self._last += 1
        return self._last

    def _nearest(self, x: float, y: float) -> int:
        distances = {n: float(np.hypot(cx - x, cy - y)) for n, (cx, cy, _) in self._centres.items()}
        nearest = min(distances, key=lambda n: distances[n], default=0)
        return nearest if nearest and distances[nearest] <= self._reach else self._new()

    def _add(self, movie: int, x: float, y: float, group: int) -> None:
        self._count += 1
        self._recent.append((movie, x, y, group))
        cx, cy, n = self._centres.get(group, (0.0, 0.0, 0))
        self._centres[group] = ((n * cx + x) / (n + 1), (n * cy + y) / (n + 1), n + 1)

    def _find_anew(self) -> dict[int, int]:
        """What changes when the recent movies are grouped again by where their shifts lie."""
        labels, self._reach = shift_groups(self._shifts())
        movies = list(self._recent)
        held: dict[int, Counter[int]] = {}
        for (_, _, _, group), label in zip(movies, labels.tolist(), strict=True):
            held.setdefault(label, Counter())[group] += 1
        numbers: dict[int, int] = {}
        for label in sorted(held, key=lambda label: -held[label].total()):
            old = held[label].most_common(1)[0][0]
            numbers[label] = old if old not in numbers.values() else self._new()
        changed, count = {}, self._count
        self._recent.clear()
        self._centres = {n: c for n, c in self._centres.items() if n not in set(numbers.values())}
        for (movie, x, y, old), label in zip(movies, labels.tolist(), strict=True):
            self._add(movie, x, y, numbers[label])
            if numbers[label] != old:
                changed[movie] = numbers[label]
        self._count = count
        return changed


def optics_numbers(micrographs: pd.DataFrame) -> "pd.Series[int]":
    """The optics group of each micrograph, by name: of its beam shift, else of its shot, else 1.

    Where some are known, the others are a group of their own, the last.
    """
    known = np.full(len(micrographs), np.nan)
    if micrographs["optics_group"].notna().any():
        known = pd.to_numeric(micrographs["optics_group"]).to_numpy(float)
    elif "acquired_shot" in micrographs and micrographs["acquired_shot"].notna().any():
        codes = pd.factorize(micrographs["acquired_shot"])[0].astype(float)
        known = np.where(codes < 0, np.nan, codes + 1)
    unknown = int(np.nanmax(known, initial=0)) + 1
    return pd.Series(np.where(np.isnan(known), unknown, known).astype(int), index=micrographs["name"])
