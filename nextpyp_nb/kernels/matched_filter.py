"""Whitened matched filter: how much every place of a micrograph looks like a globular particle."""

import math
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, fft_module, to_numpy
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.fourier import radial_frequency, rfft_frequency
from nextpyp_nb.records import Ctf, FloatArray

# Density fades over this share of the diameter: real particles are lumpy and seen from every side, so only
# their coarse shape can be foreseen.
SOFTNESS = 0.12
_QUIET_SHARE = 0.2
# So much of its power has white noise in the quietest fifth of its windows.
_QUIET_BY_CHANCE = 0.81


def block_mean(image: Any, factor: int) -> Any:
    """Mean over ``factor`` x ``factor`` blocks; left-over rows and columns are dropped."""
    ny, nx = (n // factor for n in image.shape)
    blocks = image[: ny * factor, : nx * factor].reshape(ny, factor, nx * factor).mean(axis=1)
    return blocks.reshape(ny, nx, factor).mean(axis=2)


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
    level = xp.median(image)
    weight = valid.astype(np.float32)
    sums = ((image - level) * weight, weight)
    total, share = (fft.irfft2(fft.rfft2(a, s=shape) * blur, s=shape)[:ny, :nx] for a in sums)
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


def score_maps(
    image: Any,
    noise: tuple[FloatArray, FloatArray],
    diameters: FloatArray,
    *,
    pixel_size: float,
    ctf: Ctf | None = None,
) -> Any:
    """Matched-filter scores in noise standard deviations, float32 (diameters, y, x).

    ``image`` (y, x) with particles bright and background zero, px of ``pixel_size`` Å; ``noise`` from
    `noise_spectrum`. Filter = ball x CTF / noise power, the optimum for a known object (Sigworth 2004).
    """
    xp, fft = array_module(image), fft_module(image)
    ny, nx = image.shape
    largest = float(max(diameters))
    margin = math.ceil(largest / pixel_size)
    shape = (fft.next_fast_len(ny + margin, True), fft.next_fast_len(nx + margin, True))
    frequency = xp.asarray(radial_frequency(shape, pixel_size))
    power = xp.interp(frequency, *(xp.asarray(n, np.float32) for n in noise)).astype(np.float32)
    # Below one cycle in a few diameters lies the background, not the particle.
    weight = 1.0 - xp.exp(-((1.25 * largest * frequency) ** 2))
    if ctf is not None:
        weight = weight * ctf_image(ctf, shape=shape, pixel_size=pixel_size, xp=xp)
    transform = fft.rfft2(image, s=shape) / power
    twice = xp.full(shape[1] // 2 + 1, 2.0, np.float32)
    twice[0] = 1.0
    maps = xp.empty((len(diameters), ny, nx), np.float32)
    for i, diameter in enumerate(diameters):
        template = weight * ball(frequency, float(diameter))
        variance = float((twice * template**2 / power).sum()) / (shape[0] * shape[1])
        maps[i] = fft.irfft2(transform * template, s=shape)[:ny, :nx] / math.sqrt(variance)
    return maps
