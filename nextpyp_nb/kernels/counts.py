"""Raw frames together with what corrects them, so that no corrected copy of a movie is ever held."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, on_gpu
from nextpyp_nb.kernels.gain import donor_pixels

DONORS_AT_ONCE = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Raw frames (frame, y, x) of any type, a gain to multiply with or None, a map of bad pixels (y, x)."""

    raw: Any
    gain: Any
    bad: Any

    @cached_property
    def places(self) -> Any:
        """The bad pixels, flat."""
        return array_module(self.bad).flatnonzero(self.bad)

    def factor(self) -> Any:
        """What counts are multiplied with, 0 where bad: float32 (y, x), made anew at each call."""
        xp = array_module(self.bad)
        even = xp.float32(1) if self.gain is None else xp.asarray(self.gain)
        factor = xp.broadcast_to(even, self.bad.shape).astype(xp.float32, order="C")
        factor.reshape(-1)[self.places] = 0
        return factor

    @cached_property
    def sensor(self) -> tuple[Any, Any]:
        """The factor, kept, and how many of its pixels are good: what kernels on a GPU correct with."""
        factor = self.factor()
        return factor, _gpu_motion.good_pixels(factor, xp=array_module(factor))

    @cached_property
    def _donors(self) -> Any:
        """What fills the bad pixels of all frames (frame, place), where those are few."""
        return donor_pixels(self.bad, self.places, 0, len(self.raw))

    def blocks(self, most: int = 1 << 30, within: slice = slice(None)) -> Iterator[tuple[slice, Any]]:
        """Some frames at a time, ``most`` or fewer, with what fills their bad pixels (frame, place)."""
        first, last, _ = within.indices(len(self.raw))
        together = max(1, DONORS_AT_ONCE // max(len(self.places), 1))
        few = together >= len(self.raw)
        together = min(most, together)
        for begin in range(first, last, together):
            end = min(begin + together, last)
            some = slice(begin, end)
            yield some, self._donors[some] if few else donor_pixels(self.bad, self.places, begin, end)

    def corrected(self) -> Iterator[tuple[int, Any]]:
        """Numbers and float32 frames (y, x), gain applied, bad pixels replaced; all in the same place."""
        xp = array_module(self.raw)
        held = xp.empty(self.raw.shape[1:], xp.float32)
        for some, donors in self.blocks():
            for number, fill in zip(range(some.start, some.stop), donors, strict=True):
                held[...] = self.raw[number]
                if self.gain is not None:
                    held *= self.gain
                flat = held.reshape(-1)
                flat[self.places] = flat[fill]
                yield number, held


def total_counts(frames: Any) -> Any:
    """Sum of frames (frame, y, x) of any type, float32 (y, x)."""
    xp = array_module(frames)
    if on_gpu(frames):
        return _gpu_motion.total_counts(frames, xp=xp)
    if frames.dtype == np.float16:
        return frames.sum(axis=0, dtype=xp.float32)
    total = np.zeros(frames.shape[1:], np.float32)
    for frame in frames:
        _cpu_motion.add_counts(total, frame)
    return total
