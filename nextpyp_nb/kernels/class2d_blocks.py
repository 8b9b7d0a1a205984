"""Blocks of particles read from disk when they are due; the last used are kept on rings, within bounds."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, to_device
from nextpyp_nb.kernels.class2d_particles import RingedParticles, ring_particles
from nextpyp_nb.kernels.polar import PolarGrid
from nextpyp_nb.records import Ctf

ROOM_HOST, ROOM_GPU = 1 << 29, 1 << 31
# So many particles the noise of other optics groups is worth.
FEW = 30
Read = Callable[[Any], tuple[Any, Sequence[Ctf]]]


class Blocks:
    """``read(ids)`` behind a bounded memory; a block is always made in one piece, so bits agree."""

    def __init__(
        self, read: Read, *, grid: PolarGrid, pixel_size: float, radius: float, device: int | None
    ) -> None:
        self.read, self.grid, self.pixel_size, self.radius = read, grid, pixel_size, radius
        self.room, self.device = ROOM_HOST if device is None else ROOM_GPU, device
        self._kept: OrderedDict[int, RingedParticles] = OrderedDict()

    @property
    def fitting(self) -> int:
        """So many particles are kept."""
        return self.room // (self.grid.rings * self.grid.angles // 2 * np.dtype(np.complex64).itemsize)

    def get(self, block: int, ids: Any) -> RingedParticles:
        """The particles of ``block``, which are those of ``ids``, in that order."""
        found = self._kept.pop(block, None)
        if found is None:
            images, ctfs = self.read(ids)
            if images.shape != (len(ids), self.grid.box, self.grid.box) or len(ctfs) != len(ids):
                raise ValueError(
                    f"asked for {len(ids)} particles of {self.grid.box} px, got {images.shape} and"
                    f" {len(ctfs)} CTFs"
                )
            found = ring_particles(
                to_device(images, self.device), ctfs,
                grid=self.grid, pixel_size=self.pixel_size, radius=self.radius,
            )  # fmt: skip
        self._kept[block] = found
        while len(self._kept) > 1 and sum(p.half.nbytes for p in self._kept.values()) > self.room:
            self._kept.popitem(last=False)
        return found

    def forget(self, block: int) -> None:
        """A block whose particles changed is read anew."""
        self._kept.pop(block, None)


def together(parts: Sequence[RingedParticles]) -> RingedParticles:
    """Several blocks as one."""
    if len(parts) == 1:
        return parts[0]
    xp = array_module(parts[0].half)
    names = ("half", "ctf2", "power", "noise")
    return RingedParticles(parts[0].grid, *(xp.concatenate([getattr(p, n) for p in parts]) for n in names))


def whitened(particles: RingedParticles, ratio: Any) -> RingedParticles:
    """Particles (n,) whose images are worth ``ratio`` (n, rings) of those of the first optics group."""
    return RingedParticles(
        particles.grid,
        particles.half * ratio[:, :, None],
        particles.ctf2 * ratio,
        particles.power * ratio,
        particles.noise * ratio,
    )


def noise_of(seen: Sequence[Any], others: Sequence[Any]) -> Any:
    """Noise (rings,) of an optics group from that of particles ``seen`` (n, rings), a piece each block.

    Few particles are drawn to the mean of ``others``, groups known before.
    """
    xp = array_module(seen[0])
    own = xp.concatenate(seen)
    few = FEW if others else 0
    drawn = (own.sum(axis=0) + few * sum(others) / max(len(others), 1)) / (len(own) + few)
    return xp.maximum(drawn, 1e-3).astype(xp.float32)
