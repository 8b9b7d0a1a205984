"""Images as rings of their Fourier transform: rotations are phases, masks are small matrices.

A ``PolarGrid`` samples a transform on rings of whole frequencies (1/box) over half a turn, which is all a
real image needs. There the Hartley form Re + Im is one real periodic function of the angle, whose angular
transform turns rotation into a phase and leaves products of two images real.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import scipy.special

from nextpyp_nb.kernels.backend import array_module, fft_module


@dataclass(frozen=True)
class PolarGrid:
    """Rings 1..``rings`` (frequency ring/box per px) by ``angles`` over a full turn, for ``box`` px."""

    box: int
    rings: int
    angles: int

    @classmethod
    def covering(cls, box: int, rings: int, radius: float) -> "PolarGrid":
        """The grid whose angles resolve an object of ``radius`` px on the outermost ring."""
        harmonics = math.ceil(2 * math.pi * rings * radius / box) + 8
        return cls(box, rings, 2 * int(_even_fast_length(harmonics)))

    @property
    def harmonics(self) -> int:
        """Angular frequencies kept: 0 .. angles/2."""
        return self.angles // 2 + 1

    @cached_property
    def frequencies(self) -> tuple[Any, Any]:
        """(ky, kx) in cycles per px at half-turn samples, (rings, angles/2) each; kx is never negative."""
        theta = 2 * np.pi * np.arange(self.angles // 2) / self.angles - np.pi / 2
        rho = np.arange(1, self.rings + 1)[:, None] / self.box
        return (rho * np.sin(theta)).astype(np.float32), np.abs(rho * np.cos(theta)).astype(np.float32)

    @cached_property
    def waves(self) -> tuple[Any, Any]:
        """exp(2πi k (p - box//2)) along y and x, complex64 (box, rings·angles/2) each."""
        offsets = np.arange(self.box)[:, None] - self.box // 2
        ky, kx = (2j * np.pi * k.ravel().astype(np.float64) for k in self.frequencies)
        return np.exp(offsets * ky).astype(np.complex64), np.exp(offsets * kx).astype(np.complex64)

    def sample(self, transform: Any) -> Any:
        """Half-turn samples (n, rings, angles/2) of rfft2 ``transform`` (n, size, size//2+1), bilinear.

        The images behind ``transform`` are centred on pixel (0, 0) and padded well beyond their content.
        """
        xp = array_module(transform)
        flat = transform.reshape(len(transform), -1)
        out = xp.zeros((len(flat), self.rings * (self.angles // 2)), xp.complex64)
        for place, weight in _corners_on(self, transform.shape[1], xp):
            out += flat[:, place] * weight
        return out.reshape(len(flat), self.rings, self.angles // 2)

    def phases(self, shifts: Any, rings: int | None = None) -> Any:
        """exp(2πi k·shift): multiplying moves images by minus ``shifts`` (n, 2) in (y, x) px."""
        xp = array_module(shifts)
        ky, kx = (k[:rings] for k in _frequencies_on(self, xp))
        shifts = xp.asarray(shifts, xp.float32)[:, :, None, None] * xp.float32(2 * np.pi)
        angle = shifts[:, 0] * ky + shifts[:, 1] * kx
        out = xp.empty(angle.shape, xp.complex64)
        out.real, out.imag = xp.cos(angle), xp.sin(angle)
        return out

    def image(self, half: Any) -> Any:
        """Real images (n, box, box) float32 of half-turn samples (n, rings, angles/2) (unitary transform)."""
        xp = array_module(half)
        ey, ex = _waves_on(self, xp)
        area = 2 * np.pi * np.arange(1, half.shape[1] + 1)[:, None] / (self.box * self.angles / 2)
        weights = xp.asarray(np.broadcast_to(area, half.shape[1:]).ravel().astype(np.float32))
        samples = half.reshape(len(half), -1) * weights
        return xp.stack([((ey[:, : s.size] * s) @ ex[:, : s.size].T).real for s in samples]).astype(
            xp.float32
        )

    def mask_operator(self, window: Any) -> Any:
        """Matrices (harmonics, rings, rings) that multiply an image by a radial ``window``, float32.

        ``window`` holds the mask at radii 0.5, 1, 1.5 ... px. A harmonic of an image and of its transform
        are Hankel transforms of each other, so masking couples rings but never harmonics.
        """
        r = 0.5 * np.arange(1, len(window) + 1)
        k = np.arange(1, self.rings + 1)
        argument = 2 * np.pi * np.outer(k, r) / self.box
        bessel = scipy.special.jv(np.arange(self.harmonics)[:, None, None], argument)
        ring_to_radius = (2 * np.pi / self.box) ** 2 * bessel.transpose(0, 2, 1) * k
        return ((bessel * (0.5 * r * window)) @ ring_to_radius).astype(np.float32)


@lru_cache(maxsize=8)
def _frequencies_on(grid: PolarGrid, xp: Any) -> tuple[Any, Any]:
    """``grid.frequencies`` where they are needed again and again."""
    ky, kx = grid.frequencies
    return xp.asarray(ky), xp.asarray(kx)


@lru_cache(maxsize=4)
def _corners_on(grid: PolarGrid, size: int, xp: Any) -> list[tuple[Any, Any]]:
    """The four neighbours of each half-turn sample in a flat rfft2 of ``size`` px: places and weights."""
    y, x = (k.ravel() * np.float32(size) for k in grid.frequencies)
    y0, x0 = np.floor(y).astype(np.int32), np.floor(x).astype(np.int32)
    fy, fx = y - y0, x - x0
    return [
        (
            xp.asarray((y0 + dy) % size * (size // 2 + 1) + x0 + dx),
            xp.asarray((wy * wx).astype(np.float32)),
        )
        for dy, wy in ((0, 1 - fy), (1, fy))
        for dx, wx in ((0, 1 - fx), (1, fx))
    ]


@lru_cache(maxsize=2)
def _waves_on(grid: PolarGrid, xp: Any) -> tuple[Any, Any]:
    """``grid.waves`` likewise."""
    ey, ex = grid.waves
    return xp.asarray(ey), xp.asarray(ex)


def _even_fast_length(least: int) -> int:
    """The next length ≥ ``least`` with factors 2, 3 and 5 only, and even."""
    size = least + least % 2
    while max(_prime_factors(size)) > 5:
        size += 2
    return size


def _prime_factors(number: int) -> list[int]:
    """Prime factors of ``number``, ascending."""
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors or [1]


def harmonics(half: Any, keep: int | None = None) -> Any:
    """Angular harmonics (n, rings, keep) complex64 of the Hartley form of half-turn samples."""
    hartley = array_module(half).concatenate([half.real + half.imag, half.real - half.imag], axis=-1)
    out = fft_module(half).rfft(hartley, axis=-1)
    return out if keep is None else out[..., :keep]


def half_turn(spectrum: Any, angles: int) -> Any:
    """Half-turn samples (n, rings, angles/2) complex64 of angular harmonics: undoes ``harmonics``."""
    xp = array_module(spectrum)
    hartley = fft_module(spectrum).irfft(spectrum, n=angles, axis=-1)
    first, second = hartley[..., : angles // 2], hartley[..., angles // 2 :]
    out = xp.empty(first.shape, xp.complex64)
    out.real, out.imag = 0.5 * (first + second), 0.5 * (first - second)
    return out


def rotate(spectrum: Any, degrees: Any) -> Any:
    """Turn images counter-clockwise (y up) by ``degrees`` (n,): a phase on their harmonics."""
    xp = array_module(spectrum)
    order = xp.arange(spectrum.shape[-1], dtype=xp.float32)
    angle = xp.asarray(degrees, xp.float32)[:, None, None] * order * xp.float32(np.pi / 180)
    return spectrum * (xp.cos(angle) - 1j * xp.sin(angle)).astype(xp.complex64)


def radial_window(radius: float, edge: float, box: int) -> Any:
    """A mask of 1 within ``radius`` px that falls to 0 over ``edge`` px, at radii 0.5, 1, 1.5 ... px."""
    r = 0.5 * np.arange(1, box + 1)
    ramp: Any = np.clip((r - radius) / edge, 0, 1)
    return 0.5 + 0.5 * np.cos(np.pi * ramp)


def ring_product(first: Any, second: Any, grid: PolarGrid) -> Any:
    """Mean over the angle of the product of two sets of harmonics (..., rings, harmonics) on each ring."""
    product = (first * second.conj()).real
    total = 2 * product.sum(axis=-1) - product[..., 0] - product[..., grid.angles // 2]
    return total / grid.angles**2


def ring_power(spectrum: Any, grid: PolarGrid) -> Any:
    """Mean |transform|² on each ring (..., rings) of harmonics (..., rings, harmonics)."""
    return ring_product(spectrum, spectrum, grid)
