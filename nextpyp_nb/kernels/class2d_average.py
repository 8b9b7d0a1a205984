"""From matched particles to class averages: CTF-weighted half sums, Wiener filter, noise, centring."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.kernels.class2d_particles import RingedParticles
from nextpyp_nb.kernels.polar import (
    PolarGrid,
    half_turn,
    harmonics,
    radial_window,
    ring_power,
    ring_product,
    rotate,
)
from nextpyp_nb.records import FloatArray

# Rings that the ring-by-ring signal-to-noise of one class is worth against the mean over classes.
POOLED_RINGS = 12.0


@dataclass
class HalfSums:
    """Sums over the particles of K classes, in two halves.

    ``signal`` (2, K, rings, harmonics) complex64 of CTF x image on its class, ``weight`` (2, K, rings)
    of CTF², ``power`` (2, K, rings) of |image|², ``count`` (2, K) of particles.
    """

    signal: Any
    weight: Any
    power: Any
    count: FloatArray

    @classmethod
    def empty(cls, classes: int, grid: PolarGrid, xp: Any) -> "HalfSums":
        """Sums of nothing."""
        return cls(
            xp.zeros((2, classes, grid.rings, grid.harmonics), xp.complex64),
            xp.zeros((2, classes, grid.rings), xp.float32),
            xp.zeros((2, classes, grid.rings), xp.float32),
            np.zeros((2, classes)),
        )

    def clear(self, place: int) -> None:
        """Empty one class."""
        for part in (self.signal, self.weight, self.power, self.count):
            part[:, place] = 0

    def add(
        self, particles: RingedParticles, chosen: Any, half: Any, number: Any, rotation: Any, shift: Any,
        *, sign: float = 1.0,
    ) -> None:  # fmt: skip
        """Add (or take away, ``sign`` -1) particles ``chosen`` (b,) of classes ``number`` (b,) as posed."""
        if len(chosen) == 0:
            return
        xp = array_module(self.signal)
        halves, classes = self.weight.shape[:2]
        phases = particles.grid.phases(xp.asarray(shift))
        aligned = rotate(harmonics(particles.half[chosen] * phases), rotation)
        member = np.zeros((halves * classes, len(chosen)), np.float32)
        member[np.asarray(half) * classes + number, np.arange(len(chosen))] = sign
        self.count += member.sum(axis=1).reshape(halves, classes)
        member = xp.asarray(member)
        # As real numbers, so that the product runs as one real matrix product.
        flat = xp.ascontiguousarray(aligned).view(xp.float32).reshape(len(chosen), -1)
        self.signal += (member @ flat).view(xp.complex64).reshape(self.signal.shape)
        self.weight += (member @ particles.ctf2[chosen]).reshape(self.weight.shape)
        self.power += (member @ particles.power[chosen]).reshape(self.weight.shape)


def half_correlation(sums: HalfSums, grid: PolarGrid) -> FloatArray:
    """Fourier ring correlation (K, rings) of the two halves of each class, over three rings."""
    rho = np.arange(1, grid.rings + 1)

    def smooth(rings: Any) -> FloatArray:
        padded = np.pad(to_numpy(rings).astype(np.float64) * rho, ((0, 0), (1, 1)), mode="edge")
        return padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]

    first, second = sums.signal
    cross = smooth(ring_product(first, second, grid))
    power = smooth(ring_power(first, grid)) * smooth(ring_power(second, grid))
    curve: FloatArray = cross / np.sqrt(power + 1e-20)
    curve[(sums.count < 1).any(axis=0)] = 0.0
    return curve


def signal_to_noise(sums: HalfSums, grid: PolarGrid) -> FloatArray:
    """Spectral SNR (K, rings) of the averages, drawn towards what other classes reach per particle."""
    curve = np.clip(half_correlation(sums, grid), 0, 0.98)
    own, count = 2 * curve / (1 - curve), sums.count.sum(axis=0)[:, None]
    enough = count[:, 0] >= 4
    mean = (own * count)[enough].sum(axis=0) / max(float((count[enough] ** 2).sum()), 1.0)
    rho = np.arange(1, grid.rings + 1)
    return np.asarray((rho * own + POOLED_RINGS * count * mean) / (rho + POOLED_RINGS))


def wiener(signal: Any, weight: Any, ratio: Any, mask: Any) -> Any:
    """References (K, rings, harmonics) complex64: sums over weights, damped by SNR ``ratio``, masked."""
    xp = array_module(signal)
    damping = 1 + 1 / xp.maximum(xp.asarray(ratio, xp.float32), 1e-3)
    filtered = signal / (weight * damping + 1e-3)[:, :, None]
    masked = mask @ filtered.transpose(2, 1, 0)
    return xp.ascontiguousarray(masked.transpose(2, 1, 0)).astype(xp.complex64)


def references_from(sums: HalfSums, grid: PolarGrid, mask: Any) -> Any:
    """The references of all classes from both halves together."""
    return wiener(sums.signal.sum(axis=0), sums.weight.sum(axis=0), signal_to_noise(sums, grid), mask)


def seed_references(particles: RingedParticles, chosen: Any, shifts: Any, noise: Any, mask: Any) -> Any:
    """References from single particles, damped by the mean SNR of one particle."""
    xp = array_module(particles.half)
    signal = xp.maximum(particles.power.mean(axis=0) - noise, 0) / particles.ctf2.mean(axis=0)
    weight = particles.ctf2[chosen]
    half = particles.half[chosen] * particles.grid.phases(xp.asarray(shifts))
    return wiener(harmonics(half), weight, weight * signal / noise, mask)


def residual_noise(references: Any, sums: HalfSums, grid: PolarGrid) -> Any:
    """Noise power on each ring: mean |image - CTF x reference|² over the particles in ``sums``.

    The cross terms follow from the sums, so that no image is needed.
    """
    xp = array_module(references)
    explained = 2 * ring_product(sums.signal.sum(axis=0), references, grid)
    explained -= sums.weight.sum(axis=0) * ring_power(references, grid)
    power, count = sums.power.sum(axis=(0, 1)), max(float(sums.count.sum()), 1.0)
    left = (power - explained.sum(axis=0)) / count
    return xp.maximum(left, 0.05 * power / count).astype(xp.float32)


def centred(references: Any, grid: PolarGrid, radius: float, most: float) -> Any:
    """References moved so that their bright density is centred, by at most ``most`` px."""
    xp = array_module(references)
    rings = min(grid.rings, max(4, round(grid.box / radius * 3)))
    half = half_turn(references, grid.angles)
    images = grid.image(half[:, :rings])
    axis = xp.arange(grid.box, dtype=xp.float32) - grid.box // 2
    within = xp.hypot(axis[:, None], axis) <= radius
    bright = xp.maximum(images - 0.25 * images.max(axis=(1, 2), keepdims=True), 0) * within
    total = xp.maximum(bright.sum(axis=(1, 2)), 1e-12)
    offset = xp.stack([bright.sum(axis=2) @ axis, bright.sum(axis=1) @ axis], axis=1) / total[:, None]
    length = xp.hypot(offset[:, 0], offset[:, 1])[:, None]
    offset *= xp.minimum(1, most / xp.maximum(length, 1e-6))
    return harmonics(half * grid.phases(offset))


def on_flat_ground(averages: FloatArray, radius: float) -> FloatArray:
    """Averages whose rim is level 0 inside a soft mask of ``radius`` px: rings say nothing of the mean."""
    box = averages.shape[-1]
    axis = np.arange(box) - box // 2
    r = np.hypot(axis[:, None], axis[None, :])
    window = np.interp(r, 0.5 * np.arange(1, box + 1), radial_window(radius, 0.05 * box, box))
    rim = averages[:, np.abs(r - 0.95 * radius) <= 0.05 * radius]
    return np.asarray((averages - np.median(rim, axis=1)[:, None, None]) * window, np.float32)
