"""A counting camera: pixel response, gain, dead and hot pixels, Poisson arrivals."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nextpyp_nb.records import FloatArray

from .motion import Motion

QUANTUM_AMPLITUDE = 0.95
HOT_RATE = 12.0
INVERSE = (1 / np.maximum(np.arange(256), 1)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """``gain`` (y, x) flattens counts, 0 where a pixel is dead; ``hot`` marks hot ones."""

    gain: FloatArray
    hot: NDArray[np.bool_]

    def sensitivity(self) -> FloatArray:
        """Counts per arriving electron (y, x): 0 in dead and ``HOT_RATE`` in hot pixels."""
        with np.errstate(divide="ignore"):
            sensitivity = np.where(self.gain > 0, 1 / self.gain, 0)
        return np.where(self.hot, HOT_RATE, sensitivity).astype(np.float32)


def build_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """A camera whose gain is smooth with column bands and pixel noise; some pixels are dead, some hot."""
    y, x = np.arange(height)[:, None] / height, np.arange(width)[None, :] / width
    gain = 1 + 0.06 * np.sin(2 * np.pi * (1.3 * x + 0.2)) * np.cos(1.6 * np.pi * y)
    gain = gain + 0.03 * (np.floor(8 * x) % 2) + rng.normal(0, 0.03, (height, width))
    gain /= gain.mean()
    few = max(4, height * width // 40_000)
    gain[rng.integers(0, height, few), rng.integers(0, width, few)] = 0
    gain[:, int(0.31 * width)] = 0
    top, left = int(0.7 * height), int(0.6 * width)
    gain[top : top + 6, left : left + 6] = 0
    hot = np.zeros((height, width), bool)
    hot[rng.integers(0, height, few // 3), rng.integers(0, width, few // 3)] = True
    return Camera(gain=gain.astype(np.float32), hot=hot & (gain > 0))


def response(ky: FloatArray, kx: FloatArray, pixel_size: float) -> FloatArray:
    """Amplitude (y, x) that square pixels and lost electrons leave of the signal."""
    return (QUANTUM_AMPLITUDE * np.sinc(ky * pixel_size) * np.sinc(kx * pixel_size)).astype(np.float32)


def spline_prefilter(ky: FloatArray, kx: FloatArray, pixel_size: float) -> FloatArray:
    """Factor in Fourier space that turns samples into the B-spline coefficients that `count` expects."""
    py, px = (2 / 3 + np.cos(2 * np.pi * k * pixel_size) / 3 for k in (ky, kx))
    return (1 / (py * px)).astype(np.float32)


def count(
    coefficients: FloatArray,
    sensitivity: FloatArray,
    motion: Motion,
    frame: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Electrons counted in one frame, (y, x).

    ``coefficients`` are the B-spline coefficients of the expected electrons a pixel over a canvas with
    equal margins; the local part of the motion is applied here, the global shift before.
    """
    field = (motion.local * motion.profile[frame]).astype(np.float32)
    rate = np.empty_like(sensitivity)
    _resample(coefficients, field, rate)
    rate *= sensitivity
    return _arrivals(np.maximum(rate, 0), rng.random(rate.shape, np.float32), INVERSE)


@njit(cache=True, fastmath=True)
def _weights(f):  # type: ignore[no-untyped-def]
    """Cubic B-spline weights of the four samples around a point that lies f past the second."""
    g = 1 - f
    a, d = g * g * g / 6, f * f * f / 6
    b = np.float32(2 / 3) - f * f * (2 - f) / 2
    return a, b, 1 - a - b - d, d


@njit(cache=True, fastmath=True)
def _resample(canvas, field, out):  # type: ignore[no-untyped-def]
    """Values at p - d(p), the smooth d taken once per eight columns (wrong by less than 0.02 px)."""
    height, width = out.shape
    top, left = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
    for i in range(height):
        y = (i + 0.5) / height - 0.5
        for start in range(0, width, 8):
            n = min(8, width - start)
            x = (start + 0.5 * n) / width - 0.5
            basis = (x, y, x * x - 1 / 12, x * y, y * y - 1 / 12)
            sy, sx = float(i + top), float(start + left)
            for k in range(5):
                sy -= field[0, k] * basis[k]
                sx -= field[1, k] * basis[k]
            iy = min(max(int(np.floor(sy)), 1), canvas.shape[0] - 3)
            ix = min(max(int(np.floor(sx)), 1), canvas.shape[1] - 2 - n)
            a0, a1, a2, a3 = _weights(np.float32(sy - iy))
            b0, b1, b2, b3 = _weights(np.float32(sx - ix))
            for j in range(n):
                k = ix - 1 + j
                r0, r1, r2, r3 = canvas[iy - 1], canvas[iy], canvas[iy + 1], canvas[iy + 2]
                value = a0 * (b0 * r0[k] + b1 * r0[k + 1] + b2 * r0[k + 2] + b3 * r0[k + 3])
                value += a1 * (b0 * r1[k] + b1 * r1[k + 1] + b2 * r1[k + 2] + b3 * r1[k + 3])
                value += a2 * (b0 * r2[k] + b1 * r2[k + 1] + b2 * r2[k + 2] + b3 * r2[k + 3])
                value += a3 * (b0 * r3[k] + b1 * r3[k + 1] + b2 * r3[k + 2] + b3 * r3[k + 3])
                out[i, start + j] = value


@njit(cache=True, fastmath=True)
def _arrivals(rate, uniform, inverse):  # type: ignore[no-untyped-def]
    """Poisson counts by stepping up the cumulative distribution to the uniform number; 255 at most."""
    counts = np.empty(rate.shape, np.uint8)
    for i in range(rate.shape[0]):
        none = np.exp(-rate[i])
        for j in range(rate.shape[1]):
            chance, wanted, n = none[j], uniform[i, j], 0
            total = chance
            # Rounding can leave the sum just short of 1: end where nothing more is to come.
            while wanted > total and n < 255 and (chance > 1e-8 or n < rate[i, j]):
                n += 1
                chance *= rate[i, j] * inverse[n]
                total += chance
            counts[i, j] = n
    return counts
