"""Rings and sectors over which power spectra are averaged before a CTF is fitted."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.records import FloatArray

_SECTORS = 36
_CROSS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarGrid:
    """Cells (sector, ring) over half a spectrum; ``cell`` gives the number of each chosen rfft point.

    Of its ``points`` a cell holds ``count`` independent measurements.
    """

    chosen: Any
    cell: Any
    shape: tuple[int, int]
    points: FloatArray
    count: FloatArray
    k2: FloatArray
    k2_cos: FloatArray
    k2_sin: FloatArray
    frequency: FloatArray

    def pool(self, values: Any) -> FloatArray:
        """Mean over each cell of rfft-layout images (..., y, x) on any device; 0 where a cell is empty."""
        xp = array_module(values)
        chosen, cell = xp.asarray(self.chosen), xp.asarray(self.cell)
        images = values.reshape(-1, values.shape[-2] * values.shape[-1])
        totals = xp.stack([xp.bincount(cell, image[chosen], self.points.size) for image in images])
        return np.asarray(
            to_numpy(totals).reshape(*values.shape[:-2], *self.shape) / np.maximum(self.points, 1)
        )

    def worth(self, measurements: FloatArray) -> "PolarGrid":
        """The same cells where each ring (frequency,) was measured so many times."""
        return replace(self, count=self.points * measurements)

    def stacked(self, shares: FloatArray) -> "PolarGrid":
        """The cells of as many spectra above each other, counted by what each weighs (1 on average)."""
        deep = (len(shares), 1)
        return replace(
            self,
            shape=(len(shares) * self.shape[0], self.shape[1]),
            count=np.concatenate([share * self.count for share in shares]),
            k2=np.tile(self.k2, deep),
            k2_cos=np.tile(self.k2_cos, deep),
            k2_sin=np.tile(self.k2_sin, deep),
        )


@lru_cache(maxsize=8)
def polar_grid(
    size: int, pixel_size: float, lowest: float, highest: float, sectors: int = _SECTORS
) -> PolarGrid:
    """Half-pixel rings and sectors between two frequencies (1/Å), without the lines kx = 0 and ky = 0."""
    ky = np.fft.fftfreq(size, pixel_size)[:, None]
    kx = np.fft.rfftfreq(size, pixel_size)[None, :]
    k2 = kx**2 + ky**2
    step = 0.5 / (size * pixel_size)
    edge = (_CROSS + 0.5) * 2 * step
    chosen = (k2 >= lowest**2) & (k2 <= highest**2) & (np.abs(ky) > edge) & (kx > edge)
    rows, columns = np.nonzero(chosen)
    chosen = rows * chosen.shape[1] + columns
    angle = np.arctan2(ky[rows, 0], kx[0, columns]) % np.pi
    sector = np.minimum((angle * (sectors / np.pi)).astype(np.int64), sectors - 1)
    ring = np.rint(np.sqrt(k2.ravel()[chosen]) / step).astype(np.int64)
    first = ring.min()
    shape = (sectors, int(ring.max() - first) + 1)
    cell = sector * shape[1] + ring - first
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    empty = np.empty(0)
    grid = PolarGrid(
        chosen=chosen, cell=cell, shape=shape, points=count, count=count,
        k2=empty, k2_cos=empty, k2_sin=empty, frequency=(first + np.arange(shape[1])) * step,
    )  # fmt: skip
    pool = grid.pool
    return replace(grid, k2=pool(k2), k2_cos=pool(kx**2 - ky**2), k2_sin=pool(2 * kx * ky))
