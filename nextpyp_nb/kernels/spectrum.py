"""Power spectrum of a micrograph from overlapping tiles, robust against carbon edges and ice chunks."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.kernels.backend import array_module, fft_module, in_threads, to_numpy
from nextpyp_nb.kernels.fourier import bin_image
from nextpyp_nb.kernels.polar_grid import PolarGrid, polar_grid
from nextpyp_nb.records import FloatArray

_TAPER = 0.25
_STRIDE = 0.75
_BLOCK = 16
_GROUPS = 8
_AT_ONCE_ON_GPU = 32

_Corner = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Mean power (n, n//2+1) in rfft layout, white shot noise = 1; ``groups`` are sets of tiles.

    ``pixel_size`` (Å) is that of the n x n grid, which may be coarser than the micrograph's. ``shares``
    are the groups' shares of the tiles, ``places`` (groups, 2) their middles (y, x) in Å from that of the
    image; the variance of ``power`` is ``between`` times that between groups spread over the image. A ring
    was measured as often as the curve ``worth`` says: frequencies (1/Å) and times, None for once.
    """

    power: FloatArray
    groups: Any
    shares: FloatArray
    places: FloatArray
    between: float
    pixel_size: float
    n_tiles: int
    n_dropped: int
    worth: tuple[FloatArray, FloatArray] | None = None

    @property
    def size(self) -> int:
        """Side n of the full square grid."""
        return int(self.power.shape[0])

    def grid(self, lowest: float, highest: float) -> PolarGrid:
        """Cells for its power between two frequencies (1/Å)."""
        grid = polar_grid(self.size, self.pixel_size, lowest, highest)
        return grid if self.worth is None else grid.worth(np.interp(grid.frequency, *self.worth))


def power_spectrum(
    average: Any,
    *,
    pixel_size: float,
    tile: int = 512,
    finest: float = 2.8,
    most_tiles: int | None = None,
    fields: int | None = None,
    like: Any = None,
) -> Spectrum:
    """Average the power of tapered tiles of ``average`` (y, x), unweighted sum or mean of frames.

    Of several images (n, y, x), such as sums of a few frames each, the spectra are averaged.
    ``like`` is the image that scales them and shows which tiles are good, else their sum does.
    ``tile`` is the side of the returned grid; where pixels are finer than ``finest``/2 (Å) larger
    tiles are cut and their spectra cropped. Tiles unlike the rest are left out, and others too where
    ``most_tiles`` says that a sample is enough. Groups are spread over the image, or are its ``fields`` x
    ``fields`` parts. After Welch 1967, with a flatter window so that less of
    a small micrograph is thrown away.
    """
    xp = array_module(average)
    if average.ndim not in (2, 3):
        raise ValueError(f"got an image of {average.ndim} dimensions, expected (y, x) or (n, y, x)")
    images = average if average.ndim == 3 else average[None]
    shape = images.shape[1:]
    side = _tile_side(min(shape), tile, 0.5 * finest / pixel_size)
    size = min(tile, side)
    corners = _corners(shape, side)
    if most_tiles is not None:
        corners = corners[:: max(1, math.ceil(len(corners) / most_tiles))]
    brightness = abs(float((average if like is None else like).mean()))
    if like is None:
        like = images.sum(axis=0) if len(images) > 1 else images[0]
    keep = _typical(like, corners, side)
    line = xp.asarray(_window(side), xp.float32)
    kept = [corner for corner, good in zip(corners, keep, strict=True) if good]
    members = _parts(kept, fields) if fields else [kept[n::_GROUPS] for n in range(min(_GROUPS, len(kept)))]
    middle = 0.5 * np.array([length - side for length in shape])
    groups = xp.stack(in_threads(lambda tiles: _mean_power(images, tiles, line, size), members, average))
    groups /= max(brightness, 1e-12)
    shares = np.array([len(tiles) for tiles in members]) / len(kept)
    return Spectrum(
        power=to_numpy(xp.tensordot(xp.asarray(shares, np.float32), groups, 1)),
        groups=groups,
        shares=shares,
        places=np.array([np.mean([corner[2:] for corner in tiles], 0) - middle for tiles in members])
        * pixel_size,
        between=float("nan") if fields else _between(kept, len(members), to_numpy(line)),
        pixel_size=pixel_size * side / size,
        n_tiles=len(kept),
        n_dropped=len(corners) - len(kept),
    )


def _mean_power(images: Any, tiles: list[_Corner], line: Any, size: int) -> Any:
    """Mean power (size, size // 2 + 1) of ``tiles`` of all ``images`` under the window of one ``line``."""
    xp, fft = array_module(images), fft_module(images)
    side, half = len(line), size // 2
    window = line[:, None] * line[None, :]
    every = [(image, y, x) for image in images for _, _, y, x in tiles]
    # Squares of real and imaginary parts lie beside each other until the end.
    squares = xp.zeros((size, 2 * (half + 1)), xp.float32)
    ends = slice(half), slice(-half, None)
    # One tile after the other stays in a core's cache; a card wants many at once.
    at_once = 1 if xp is np else _AT_ONCE_ON_GPU
    for start in range(0, len(every), at_once):
        cut = xp.stack([image[y : y + side, x : x + side] for image, y, x in every[start : start + at_once]])
        # Less the mean under the window, so that it does not leak.
        cut -= ((cut @ line) @ line / window.sum())[:, None, None]
        cut *= window
        transform = fft.rfft2(cut)
        low = xp.concatenate([transform[:, rows, : half + 1] for rows in ends], axis=1).view(xp.float32)
        low *= low
        squares += low[0] if len(low) == 1 else low.sum(axis=0)
    squares /= float((window**2).sum()) * len(every)
    return squares[:, ::2] + squares[:, 1::2]


def _parts(kept: list[_Corner], fields: int) -> list[list[_Corner]]:
    """Tiles by the part of the image in which they lie."""
    rows, columns = (1 + max(corner[axis] for corner in kept) for axis in (0, 1))
    parts: dict[tuple[int, int], list[_Corner]] = {}
    for corner in kept:
        parts.setdefault((corner[0] * fields // rows, corner[1] * fields // columns), []).append(corner)
    return list(parts.values())


def _between(kept: list[_Corner], n_groups: int, line: FloatArray) -> float:
    """Variance of the mean of overlapping tiles over the variance expected between their groups."""
    if n_groups < 2:
        return float("nan")
    side = len(line)
    likeness = np.correlate(line, line, "full")[side - 1 :] / (line**2).sum()
    likeness = np.append(likeness, 0.0)
    places = np.array([corner[2:] for corner in kept])
    apart = np.minimum(np.abs(places[:, None] - places[None]), side)
    # Powers of two tiles are as alike as the square of what their windows share.
    covariance = likeness[apart].prod(axis=2) ** 2
    of_mean = float(covariance.mean())
    sets = [slice(group, None, n_groups) for group in range(n_groups)]
    within = sum(float(covariance[own, own].mean()) * len(kept[own]) for own in sets) / len(kept)
    return of_mean / max(within - of_mean, 1e-9)


def _tile_side(shortest: int, tile: int, oversampling: float) -> int:
    """Side in px of a tile whose cropped spectrum has side ``tile``: even and quick to transform."""
    wanted = int(min(shortest, tile * max(1.0, oversampling)))
    side = wanted - wanted % 2
    while scipy.fft.next_fast_len(side, real=True) != side:
        side -= 2
    return max(side, 2)


def _corners(shape: tuple[int, int], side: int) -> list[_Corner]:
    """(row, column, y, x) of tiles that reach every edge."""
    starts = []
    for length in shape:
        count = math.ceil((length - side) / (_STRIDE * side)) + 1
        starts.append(np.linspace(0, length - side, count).round().astype(int).tolist())
    return [(r, c, y, x) for r, y in enumerate(starts[0]) for c, x in enumerate(starts[1])]


def _window(side: int) -> FloatArray:
    """Flat with cosine shoulders of a quarter of the side each."""
    place = (np.arange(side) + 0.5) / side
    edge = np.clip(np.minimum(place, 1 - place) / _TAPER, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * edge))


def _typical(average: Any, corners: list[_Corner], side: int) -> list[bool]:
    """Which tiles look like the rest: no strong edge, ice chunk or unexposed corner; at least half stay."""
    blocks = to_numpy(bin_image(average, _BLOCK))
    reach = max(side // _BLOCK, 1)
    cut = [
        blocks[y // _BLOCK : y // _BLOCK + reach, x // _BLOCK : x // _BLOCK + reach] for *_, y, x in corners
    ]
    mean = np.array([b.mean() for b in cut])
    spread = np.array([b.std() for b in cut])
    typical = (spread <= 3.0 * np.median(spread)) & (np.abs(mean) >= 0.5 * np.median(np.abs(mean)))
    if 2 * typical.sum() < len(corners):
        return [True] * len(corners)
    return [bool(t) for t in typical]
