"""Particles made ready for 2D classification: CTF-multiplied, masked and sampled on rings, once a round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, fft_module, on_gpu
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.fourier import irfft2_in_place
from nextpyp_nb.kernels.polar import PolarGrid
from nextpyp_nb.records import Ctf

BATCH_HOST, BATCH_GPU = 64, 512


@dataclass(frozen=True)
class RingedParticles:
    """What classification needs of n particles, each array running over particles first.

    ``half`` CTF x image on the half-turn samples of ``grid`` (n, rings, angles/2) complex64, ``ctf2``
    the mean CTF², ``power`` the mean |transform|² of the unmasked image and ``noise`` that of what lies
    outside the particle, on each ring (n, rings). White noise of variance 1 has power 1.
    """

    grid: PolarGrid
    half: Any
    ctf2: Any
    power: Any
    noise: Any

    def __len__(self) -> int:
        return len(self.half)

    def taken(self, chosen: Any) -> "RingedParticles":
        """Those of the particles at ``chosen`` (b,)."""
        parts = (self.half, self.ctf2, self.power, self.noise)
        return RingedParticles(self.grid, *(part[chosen] for part in parts))


def ring_particles(
    images: Any,
    ctfs: Sequence[Ctf],
    *,
    grid: PolarGrid,
    pixel_size: float,
    radius: float,
    advance: Callable[[int], None] = lambda _: None,
) -> RingedParticles:
    """Sample CTF x image of (n, box, box) float32 ``images`` on the rings of ``grid``.

    Multiplying by the CTF first gathers the signal that defocus spread, so the mask of ``radius`` px
    around the centre then cuts noise and neighbours but hardly any signal.
    """
    xp = array_module(images)
    n, box = len(images), grid.box
    half = xp.empty((n, grid.rings, grid.angles // 2), xp.complex64)
    ctf2, power, noise = (xp.empty((n, grid.rings), xp.float32) for _ in range(3))
    window, outside, rings = _tables(box, radius, grid.rings, xp)
    batch = BATCH_GPU if on_gpu(images) else BATCH_HOST
    for start in range(0, n, batch):
        part = slice(start, min(start + batch, n))
        padded = xp.zeros((part.stop - start, 2 * box, 2 * box), xp.float32)
        middle = slice(box // 2, box // 2 + box)
        padded[:, middle, middle] = images[part]
        transform = fft_module(padded).rfft2(padded)
        transfer = _transfers(ctfs[part], 2 * box, pixel_size, xp)
        ctf2[part] = (transfer * transfer).reshape(len(transfer), -1) @ rings
        power[part] = _power(transform, box) @ rings
        noise[part] = _power(fft_module(padded).rfft2(padded * outside), box) @ rings
        half[part] = _recentred(transform * transfer, window, box, grid)
        advance(part.stop - start)
    return RingedParticles(grid, half, ctf2, power, noise)


def ring_images(images: Any, grid: PolarGrid) -> Any:
    """Half-turn samples (n, rings, angles/2) of centred ``images`` (n, box, box), no CTF, no mask."""
    xp, box = array_module(images), grid.box
    middle = slice(box // 2, box // 2 + box)
    padded = xp.zeros((len(images), 2 * box, 2 * box), xp.float32)
    padded[:, middle, middle] = images
    window = xp.asarray(_windows(box, box)[0])
    return _recentred(fft_module(padded).rfft2(padded), window, box, grid)


def _recentred(transform: Any, window: Any, box: int, grid: PolarGrid) -> Any:
    """Ring samples of the masked images whose padded transforms are given."""
    xp, fft = array_module(transform), fft_module(transform)
    masked = irfft2_in_place(transform, (2 * box, 2 * box)) * window
    # The particle sits at pixel (box, box); this sign pattern moves it to (0, 0) of the torus.
    signs = 1.0 - 2.0 * (xp.arange(2 * box) % 2)
    out = fft.rfft2(masked) * (signs[:, None] * signs[: box + 1]).astype(xp.float32)
    return grid.sample(out) / xp.float32(box)


def _transfers(ctfs: Sequence[Ctf], size: int, pixel_size: float, xp: Any) -> Any:
    """CTF images (n, size, size//2+1), computed once for each different CTF."""
    different = {c: number for number, c in enumerate(dict.fromkeys(ctfs))}
    images = [ctf_image(c, shape=(size, size), pixel_size=pixel_size, xp=xp) for c in different]
    # One gather: on a GPU a stack of as many arrays as there are particles is as many copies.
    return xp.stack(images)[xp.asarray([different[c] for c in ctfs])]


def _power(transform: Any, box: int) -> Any:
    """|transform|² per image as rows, scaled so that white noise of variance 1 gives 1."""
    square = transform.real**2 + transform.imag**2
    return square.reshape(len(square), -1) / np.float32(box * box)


@lru_cache(maxsize=2)
def _tables(box: int, radius: float, rings: int, xp: Any) -> tuple[Any, Any, Any]:
    """The masks and the matrix that averages over rings, where the particles are."""
    tables = (*_windows(box, radius), _ring_averages(2 * box, box, rings))
    window, outside, averages = (xp.asarray(table) for table in tables)
    return window, outside, averages


def _windows(box: int, radius: float) -> tuple[Any, Any]:
    """Mask over the particle (with the roll-off of bilinear sampling undone) and its outside, padded."""
    axis = np.arange(2 * box) - box
    r = np.hypot(axis[:, None], axis[None, :])
    inside = 0.5 + 0.5 * np.cos(np.pi * np.clip((r - radius) / (0.06 * box), 0, 1))
    roll_off = np.sinc(axis / (2 * box)) ** 2
    square = (np.abs(axis + 0.5) <= box / 2).astype(float)
    outside = np.clip((r - radius) / (0.06 * box), 0, 1) * square[:, None] * square[None, :]
    # A mask as wide as the box has no outside.
    outside *= box / np.sqrt(max((outside**2).sum(), 1e-12))
    return (inside / np.outer(roll_off, roll_off)).astype(np.float32), outside.astype(np.float32)


def _ring_averages(size: int, box: int, rings: int) -> Any:
    """Matrix (size·(size//2+1), rings) that averages an rfft2 plane over rings one 1/box wide."""
    ky, kx = np.fft.fftfreq(size, 1 / box)[:, None], np.fft.rfftfreq(size, 1 / box)[None, :]
    ring = np.rint(np.hypot(ky, kx)).astype(int).ravel()
    weights = np.broadcast_to(np.where(kx > 0, 2.0, 1.0), (size, size // 2 + 1)).ravel()
    sums = np.bincount(ring, weights, minlength=rings + 1)
    out = (ring[:, None] == np.arange(1, rings + 1)) * (weights / sums[ring])[:, None]
    return out.astype(np.float32)
