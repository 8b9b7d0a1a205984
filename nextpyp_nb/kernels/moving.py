"""What moves in the frames of a movie: their pixels binned, less what stands still."""

from typing import Any

import numpy as np

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, ndimage_module, on_gpu
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.fourier import bin_image

EDGE_PX = 4
EDGE_CONTRAST = 4.0
FLAT_PX = 12


def moving_frames(counts: Counts, total: Any, bin_: int) -> Any:
    """What moves in the frames of a movie, whose sum is ``total``: float32 (frame, y, x), pixels binned.

    On the CPU frames are made as they are asked for, so that no copy of a movie is held.
    """
    if on_gpu(counts.raw):
        return moving_part(binned(counts, bin_))
    return _Moving(counts, total, bin_)


class _Moving:
    """Frames (frame, y, x) that are made anew for each slice of them."""

    def __init__(self, counts: Counts, total: Any, bin_: int) -> None:
        factor = counts.factor()
        whole = Counts(raw=total[None], gain=counts.gain, bad=counts.bad)
        mean = _Binned(whole, factor, bin_)[:][0] * np.float32(1 / len(counts.raw))
        self._frames = _Binned(counts, factor, bin_)
        self._still = [_doubled(image, mean.shape) for image in _standing(mean)]
        self.shape = (len(counts.raw), *mean.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, some: slice) -> Any:
        frames = self._frames[some]
        _cpu_motion.take_off(frames, *self._still)
        return frames


def moving_part(frames: Any) -> Any:
    """Frames less what stands still, in place: the local mean taken off, and sharp edges masked."""
    still = _standing(frames.mean(axis=0))
    if on_gpu(frames):
        _gpu_motion.take_off(frames, *still, xp=array_module(frames))
    else:
        _cpu_motion.take_off(frames, *(_doubled(image, frames.shape[1:]) for image in still))
    return frames


def _standing(mean: Any) -> tuple[Any, Any]:
    """The local mean of the mean of frames, and a mask of its sharp edges, with pixels twice as large."""
    xp, nd = array_module(mean), ndimage_module(mean)
    mean = _halved(mean)
    slope = nd.gaussian_gradient_magnitude(mean, EDGE_PX / 2, mode="reflect")
    edges = slope > EDGE_CONTRAST * xp.median(slope[::2, ::2])
    mask = 1 - 4 * nd.gaussian_filter(edges.astype(xp.float32), EDGE_PX / 2, mode="reflect")
    mask = xp.clip(mask, 0, 1)
    # What is smooth is found on pixels twice as large again.
    seen, share = (
        nd.gaussian_filter(_halved(image), FLAT_PX / 4, mode="reflect") for image in (mean * mask, mask)
    )
    return _doubled(seen / xp.maximum(share, 1e-3), mean.shape), mask


def _halved(image: Any) -> Any:
    """Means of 2 × 2 px: what is smooth over several px is smoothed at a fraction of the cost."""
    ny, nx = image.shape
    return bin_image(array_module(image).pad(image, ((0, ny % 2), (0, nx % 2)), mode="edge"), 2)


def _doubled(image: Any, shape: tuple[int, int]) -> Any:
    """A halved image at its former ``shape``, in between linear."""
    xp = array_module(image)
    for axis, length in enumerate(shape):
        wide = xp.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(2)], mode="edge")
        before, after = (wide[:-2], wide[2:]) if axis == 0 else (wide[:, :-2], wide[:, 2:])
        pair = xp.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=axis + 1)
        doubled = list(image.shape)
        doubled[axis] *= 2
        image = pair.reshape(doubled)
        image = image[:length] if axis == 0 else image[:, :length]
    return image


def binned(counts: Counts, bin_: int) -> Any:
    """Corrected frames with bin_ × bin_ pixels averaged, float32 (frame, y, x)."""
    if on_gpu(counts.raw):
        return _gpu_motion.bin_frames(counts.raw, *counts.sensor, bin_, xp=array_module(counts.raw))
    return _Binned(counts, counts.factor(), bin_)[:]


class _Binned:
    """Corrected frames (frame, y, x), pixels binned, that are made anew for each slice of them."""

    def __init__(self, counts: Counts, factor: Any, bin_: int) -> None:
        self._counts, self._factor, self._bin = counts, factor, bin_
        ny, nx = self._shape = tuple(n // bin_ for n in counts.raw.shape[1:])
        rows, columns = (places // bin_ for places in np.divmod(counts.places, counts.raw.shape[2]))
        self._inside = (rows < ny) & (columns < nx)
        self._holes = rows[self._inside], columns[self._inside]

    def __getitem__(self, some: slice) -> Any:
        frames, factor = self._counts.raw, self._factor
        first, last, _ = some.indices(len(frames))
        small = np.empty((last - first, *self._shape), np.float32)
        share, half = np.float32(1 / self._bin**2), frames.dtype == np.float16
        for these, donors in self._counts.blocks(_cpu_motion.TOGETHER if half else len(frames), some):
            # numba does not know half precision.
            part = frames[these].astype(np.float32) if half else frames[these]
            there = small[these.start - first : these.stop - first]
            _cpu_motion.bin_frames(part, factor, self._bin, there)
            for frame, image, fill in zip(part, there, donors[:, self._inside], strict=True):
                np.add.at(image, self._holes, frame.reshape(-1)[fill] * (share * factor.reshape(-1)[fill]))
        return small
