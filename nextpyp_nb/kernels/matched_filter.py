"""Whitened matched filter: how much every place of a micrograph looks like a globular particle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from nextpyp_nb.kernels.backend import array_module, fft_module, to_numpy
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.fourier import irfft2_in_place, radial_frequency, rfft_frequency
from nextpyp_nb.records import Ctf, FloatArray

# Density fades over this share of the diameter: real particles are lumpy and seen from every side, so only
# their coarse shape can be foreseen.
SOFTNESS = 0.12
_QUIET_SHARE = 0.2
# So much of its power has white noise in the quietest fifth of its windows.
_QUIET_BY_CHANCE = 0.81


def clip_outliers(image: Any) -> Any:
    """``image`` with hot or dead pixels brought within 3 robust deviations of their four neighbours."""
    xp = array_module(image)
    margin = 3.0 * 1.05 * xp.median(xp.abs(xp.diff(image[::2, ::2], axis=1)))
    padded = xp.pad(image, 1, mode="reflect")
    up, down, left, right = padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    highest = xp.maximum(xp.maximum(up, down), xp.maximum(left, right))
    lowest = xp.minimum(xp.minimum(up, down), xp.minimum(left, right))
    return xp.clip(image, lowest - margin, highest + margin)


def gaussian_average(image: Any, valid: Any, sigma: float) -> Any:
    """Gaussian average of ``image`` over its ``valid`` pixels only, so that junk does not spill."""
    xp, fft = array_module(image), fft_module(image)
    ny, nx = image.shape
    shape = tuple(fft.next_fast_len(n + math.ceil(3.0 * sigma), True) for n in (ny, nx))
    ky, kx = (xp.asarray(k) for k in rfft_frequency(shape))
    blur = xp.exp(-2.0 * (math.pi * sigma) ** 2 * ky**2) * xp.exp(-2.0 * (math.pi * sigma) ** 2 * kx**2)
    # Around zero, so that float32 keeps the small differences that matter.
    level = xp.median(image[::4, ::4])
    weight = valid.astype(np.float32)
    sums = ((image - level) * weight, weight)
    total, share = (irfft2_in_place(fft.rfft2(a, s=shape) * blur, shape)[:ny, :nx] for a in sums)
    return level + total / xp.maximum(share, 1e-3)


def noise_spectrum(
    image: Any, valid: Any, *, pixel_size: float, diameter: float
) -> tuple[FloatArray, FloatArray]:
    """Radial power of the quietest fifth of ``image`` (y, x): frequency (bins,) 1/Å and power per px.

    Windows of two ``diameter`` (Å) that lie half over each other, at least 70 % inside ``valid``; quiet means
    little power at frequencies where particles have theirs (Sigworth 2004 takes windows of little variance).
    """
    xp, fft = array_module(image), fft_module(image)
    size = min(2 * math.ceil(diameter / pixel_size), min(image.shape) // 2 * 2)
    step = size // 2
    view = (xp.lib.stride_tricks.sliding_window_view(a, (size, size))[::step, ::step] for a in (image, valid))
    windows, inside = (v.reshape(-1, size, size) for v in view)
    share = inside.mean(axis=(1, 2))
    usable = share >= min(0.7, float(share.max()))
    taper = xp.asarray(np.hanning(size), np.float32)
    taper = taper[:, None] * taper[None, :]
    windows = (windows[usable] - windows[usable].mean(axis=(1, 2), keepdims=True)) * taper
    scale = xp.maximum(share[usable], 1e-3) * float((taper**2).sum())
    power = to_numpy(xp.abs(fft.rfft2(windows)) ** 2 / scale[:, None, None])
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    ring = np.minimum(np.rint(radius).astype(np.intp), size // 2)
    count = np.bincount(ring.ravel())
    rings = np.stack([np.bincount(ring.ravel(), p.ravel()) for p in power])
    frequency = np.arange(size // 2 + 1) / (size * pixel_size)
    band = (frequency > 0.75 / diameter) & (frequency < 6.0 / diameter)
    order = np.argsort(rings[:, band].sum(axis=1))
    quiet = rings[order[: max(4, int(_QUIET_SHARE * len(order)))]].mean(axis=0) / count
    quiet[frequency < 6.0 / diameter] /= _QUIET_BY_CHANCE
    return frequency, _smooth(np.maximum(quiet, 1e-6 * (quiet.max() or 1.0)))


def _smooth(power: FloatArray) -> FloatArray:
    """Running mean of the logarithm over three bins; the first bins, emptied by the taper, take the third."""
    power = power.copy()
    power[:3] = power[min(3, len(power) - 1)]
    log = np.pad(np.log(power), 1, mode="edge")
    return np.asarray(np.exp(0.25 * log[:-2] + 0.5 * log[1:-1] + 0.25 * log[2:]))


def ball(frequency: Any, diameter: float) -> Any:
    """Fourier transform of a solid ball with a soft edge, 1 at the origin; frequency 1/Å, diameter Å."""
    xp = array_module(frequency)
    x = math.pi * diameter * frequency + 1e-2
    soft = xp.exp(-2.0 * (math.pi * SOFTNESS * diameter * frequency) ** 2)
    return 3.0 * (xp.sin(x) - x * xp.cos(x)) / x**3 * soft


@dataclass(frozen=True, slots=True, kw_only=True)
class Balls:
    """Balls of several ``diameters`` (Å) as the microscope shows them: ``seen`` (diameters, ky, kx).

    On a grid of ``shape`` px, padded for the largest; ``frequency`` (ky, kx) in 1/Å.
    """

    diameters: FloatArray
    shape: tuple[int, int]
    frequency: Any
    seen: Any


def balls_of(like: Any, diameters: FloatArray, *, pixel_size: float, ctf: Ctf | None = None) -> Balls:
    """Balls to look for in images of the shape of ``like`` (y, x), px of ``pixel_size`` Å, under ``ctf``."""
    xp = array_module(like)
    largest = float(max(diameters))
    margin = math.ceil(largest / pixel_size)
    ny, nx = (scipy.fft.next_fast_len(n + margin, True) for n in like.shape)
    frequency = xp.asarray(radial_frequency((ny, nx), pixel_size), np.float32)
    # Below one cycle in a few diameters lies the background, not the particle.
    weight = 1.0 - xp.exp(-((1.25 * largest * frequency) ** 2))
    if ctf is not None:
        weight = weight * ctf_image(ctf, shape=(ny, nx), pixel_size=pixel_size, xp=xp)
    seen = xp.stack([weight * ball(frequency, float(d)) for d in diameters]).astype(np.float32)
    return Balls(diameters=np.asarray(diameters), shape=(ny, nx), frequency=frequency, seen=seen)


def score_maps(
    images: Sequence[Any], noise: tuple[FloatArray, FloatArray], balls: Balls
) -> tuple[list[Any], FloatArray]:
    """Matched-filter scores in noise standard deviations, float32 (diameters, y, x) of each image.

    ``images`` (y, x) of one shape with particles bright and background zero; ``noise`` from `noise_spectrum`.
    Filter = ball x CTF / noise power, the optimum for a known object (Sigworth 2004). The second result is
    the score (diameters,) of one ball as it is.
    """
    xp, fft = array_module(images[0]), fft_module(images[0])
    ny, nx = images[0].shape
    power = xp.interp(balls.frequency, *(xp.asarray(n, np.float32) for n in noise)).astype(np.float32)
    transforms = [fft.rfft2(image, s=balls.shape) / power for image in images]
    twice = xp.full(balls.shape[1] // 2 + 1, 2.0, np.float32)
    twice[0] = 1.0
    maps = [xp.empty((len(balls.seen), ny, nx), np.float32) for _ in images]
    strength = np.empty(len(balls.seen))
    for i, seen in enumerate(balls.seen):
        strength[i] = math.sqrt(float((twice * seen**2 / power).sum()) / (balls.shape[0] * balls.shape[1]))
        for scores, transform in zip(maps, transforms, strict=True):
            scores[i] = irfft2_in_place(transform * seen, balls.shape)[:ny, :nx] / strength[i]
    return maps, strength


def balls_image(
    like: Any, balls: Balls, centres: FloatArray, sizes: NDArray[np.intp], amplitudes: FloatArray
) -> Any:
    """Image (y, x) of the shape of ``like``: balls at the ``centres`` (n, 2) px, times ``amplitudes`` (n,).

    ``sizes`` (n,) are their places in the family.
    """
    xp, fft = array_module(like), fft_module(like)
    ny, nx = like.shape
    total: Any = 0.0
    for size in np.unique(sizes):
        some = sizes == size
        y, x = np.clip(np.rint(centres[some]).astype(np.intp), 0, (ny - 1, nx - 1)).T
        points = np.zeros(balls.shape, np.float32)
        np.add.at(points, (y, x), amplitudes[some])
        total = total + fft.rfft2(xp.asarray(points)) * balls.seen[size]
    return irfft2_in_place(total, balls.shape)[:ny, :nx]
