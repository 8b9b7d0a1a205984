"""Correlation of images with the sum of the others, in the low frequencies and near the origin only.

Spectra are complex64 (set, frame, ky, kx): whole frames are one set, the patches of a movie are one each.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_correlation, _gpu_correlation
from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.kernels.fourier import rfft_frequency
from nextpyp_nb.records import FloatArray

HIGH_PASS = 0.008
CROSS = 1.5
SETS_AT_ONCE, FRAMES_AT_ONCE = 256, 8
CACHED = 1 << 16  # points of a spectrum that a core keeps at hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The low frequencies of an rfft2: numbers of its rows; frequencies of rows and columns, cycles/px.

    ``weight`` (ky, kx) damps the high ones by exp(-2 bfactor k²), and gradients; the lines that fixed
    patterns live on are zero.
    """

    rows: Any
    ky: FloatArray
    kx: FloatArray
    weight: FloatArray


@lru_cache(maxsize=8)
def low_band(shape: tuple[int, int], bfactor: float, smallest: float, reach: float = 0.0) -> Band:
    """The frequencies of images (y, x) that are damped by no more than ``smallest`` or below ``reach``."""
    ky, kx = (k.ravel() for k in rfft_frequency(shape))
    far = max(reach, np.sqrt(-np.log(smallest) / (2 * bfactor)) if bfactor > 0 else 1.0)
    rows = np.flatnonzero(np.abs(ky) < far)
    ky, kx = ky[rows], kx[kx < far]
    square = ky[:, None] ** 2 + kx**2
    weight = np.exp(-2 * bfactor * square) * -np.expm1(-square / (2 * HIGH_PASS**2))
    weight[np.abs(ky) * shape[0] < CROSS] = 0
    weight[:, kx * shape[1] < CROSS] = 0
    return Band(rows=rows, ky=ky, kx=kx, weight=np.asarray(weight, np.float32))


def low_spectra(images: Any, band: Band, out: Any = None) -> Any:
    """The band of the transforms of images: (..., y, x) -> (..., ky, kx), in ``out`` if given."""
    fft = fft_module(images)
    if on_gpu(images):
        rows = array_module(images).asarray(band.rows)
        found = fft.rfft2(images)[..., : len(band.kx)][..., rows, :]
        if out is None:
            return found
        out[...] = found
        return out
    half = fft.rfft(images, axis=-1)[..., : len(band.kx)]
    # Modes that look whether places are in range go through a copy.
    return np.take(fft.fft(half, axis=-2), band.rows, axis=-2, out=out, mode="clip")


def move_back(spectra: Any, band: Band, moves: FloatArray) -> Any:
    """Move images back by ``moves`` (set, frame, 2) px, in place; their sum over the frames (set, ky, kx)."""
    if on_gpu(spectra):
        return _gpu_correlation.turn_and_sum(spectra, moves, band.ky, band.kx, xp=array_module(spectra))
    there = np.asarray(2 * np.pi * moves, np.float32)
    turn_y, turn_x = (_unit(there[..., axis, None] * k) for axis, k in enumerate((band.ky, band.kx)))
    return _cpu_correlation.turn_and_sum(spectra, turn_y, turn_x)


def _unit(angle: FloatArray) -> Any:
    """exp(i angle): sine and cosine together cost a tenth of a complex exponential on the CPU."""
    turn = np.empty(angle.shape, np.complex64)
    turn.real, turn.imag = np.cos(angle), np.sin(angle)
    return turn


def correlations(spectra: Any, total: Any, band: Band, reach: int, step: float = 1.0) -> Any:
    """Each image with ``total`` (set, ky, kx) less itself, at -reach..reach times ``step`` px of y and x.

    Gives (set, frame, n, n). A few offsets cost less as products of matrices than as an inverse transform.
    """
    xp = array_module(spectra)
    weight = xp.asarray(band.weight)
    angle = np.asarray(2 * np.pi * step * np.arange(-reach, reach + 1)[:, None], np.float32)
    # Only the real part is wanted: of complex numbers taken as pairs.
    turn_x = _unit(angle * band.kx)
    to_x = xp.asarray(np.ascontiguousarray(turn_x.conj().view(np.float32).T))
    n = len(angle)
    maps = xp.empty((*spectra.shape[:2], n, n), np.float32)
    if on_gpu(spectra):
        to_y = _unit(angle * band.ky)
        for first in range(0, len(spectra), SETS_AT_ONCE):
            some = slice(first, first + SETS_AT_ONCE)
            lines = _gpu_correlation.correlate_down(spectra[some], total[some], weight, to_y, xp=xp)
            maps[some] = lines.view(np.float32) @ to_x
        return maps
    # Offsets up and down share the even part and, with the other sign, the odd part.
    half = angle[reach:] * band.ky
    even, odd = np.cos(half), np.sin(half[1:])
    to_x_odd = np.ascontiguousarray((-1j * turn_x.conj()).view(np.float32).T)
    # One product of large matrices costs half as much as one for each frame.
    frames = min(spectra.shape[1], max(1, CACHED // weight.size))
    sets = max(1, CACHED // (weight.size * frames))
    for s, f in product(range(0, len(spectra), sets), range(0, spectra.shape[1], frames)):
        these = np.s_[s : s + sets, f : f + frames]
        weighted = _cpu_correlation.weighted_product(spectra[these], total[s : s + sets], weight)
        flat = weighted.view(np.float32).reshape(*weighted.shape[:2], -1)
        found = maps[these].swapaxes(1, 2)
        same = ((even @ flat).reshape(-1, len(to_x)) @ to_x).reshape(len(flat), reach + 1, -1, n)
        other = ((odd @ flat).reshape(-1, len(to_x)) @ to_x_odd).reshape(len(flat), reach, -1, n)
        found[:, reach] = same[:, 0]
        np.add(same[:, 1:], other, out=found[:, reach + 1 :])
        np.subtract(same[:, 1:], other, out=found[:, :reach][:, ::-1])
    return maps


def spline_moments(maps: Any, at: Any, shapes: Any, times: Any, used: Any, amounts: FloatArray) -> Any:
    """What fits of offsets need of cubic-spline maps (patch, frame, n, n): (fit, patch, 21).

    An offset, px from the middle of its map, is shapes (patch, 5) times amounts (fit, 5, 3, 2) times times
    (fit, frame, 3) less ``at`` (patch, frame, 2); beyond the last but one point a map goes on level. Sums
    over the frames that are ``used`` (fit, frame): of values; of curvatures; of squared slopes; of slopes
    times each time, y and x; for y and for x, of curvatures less than 0, negated, times each pair of times.
    """
    if on_gpu(maps):
        xp = array_module(maps)
        return _gpu_correlation.spline_moments(maps, at, shapes, times, used, amounts, xp=xp)
    return _cpu_correlation.spline_moments(maps, at, shapes, times, used, amounts)
