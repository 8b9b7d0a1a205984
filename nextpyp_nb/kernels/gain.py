"""What the detector does to the counts: gain orientation, defects and their replacement."""

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from nextpyp_nb.kernels import _cpu_motion, _gpu_motion
from nextpyp_nb.kernels.backend import array_module, on_gpu, to_numpy

THRESHOLD = 6.0
BLOCK_CONTRAST = 3.0
LINE_CONTRAST = 0.1
TYPICAL = 1 << 14  # px that tell the usual count
FRAME_STEP, ATTEMPT_STEP = 0x9E3779B1, 0x7F4A7C15
REACH_PX = (2, 2, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64)


def orient_gain(
    gain: Any,
    *,
    rotation: int = 0,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
    operation: str = "multiply",
) -> Any:
    """Bring a gain reference to the orientation of the frames, to multiply them with; 0 marks a dead pixel.

    (y, x) -> float32 (y, x), both y up. Flips left-right, then up-down, then turns ``rotation`` quarter
    turns from +x towards the first row (``np.rot90``), the order of nextPYP. ``operation`` "divide" says
    that ``gain`` holds the response itself, so the factor is mean / gain and 0 stays 0.
    """
    xp = array_module(gain)
    if gain.ndim != 2:
        raise ValueError(f"the gain reference has {gain.ndim} axes, expected one image (y, x)")
    if operation not in ("multiply", "divide"):
        raise ValueError(f"gain operation is {operation!r}, expected 'multiply' or 'divide'")
    gain = xp.asarray(gain, dtype=xp.float32)
    gain = xp.where(xp.isfinite(gain) & (gain > 0), gain, xp.float32(0))
    if not bool((gain > 0).any()):
        raise ValueError("the gain reference has no positive pixel: check that it is the right file")
    if operation == "divide":
        response = float(gain[gain > 0].mean(dtype=xp.float64))
        gain = xp.where(gain > 0, xp.float32(response) / xp.maximum(gain, xp.float32(1e-30)), xp.float32(0))
    if flip_horizontal:
        gain = gain[:, ::-1]
    if flip_vertical:
        gain = gain[::-1]
    return xp.ascontiguousarray(xp.rot90(gain, rotation % 4))


def find_defects(frame_sum: Any, gain: Any = None) -> Any:
    """Find dead, hot and cold pixels, bad lines and blocks in the sum of raw counts: (y, x) -> bool (y, x).

    A pixel is bad where its square root is far from that of the median of 5 × 5 neighbours, against
    Poisson noise, so strong but smooth contrast passes; a block where it is several times the median of a
    wider window; a line where it differs from its two neighbours on both sides as a whole.
    """
    xp = array_module(frame_sum)
    if gain is not None and gain.shape != frame_sum.shape:
        raise ValueError(f"the gain reference is {gain.shape}, expected {frame_sum.shape} as the frames")
    factor = xp.float32(1) if gain is None else xp.asarray(gain, dtype=xp.float32)
    counts = xp.asarray(frame_sum, dtype=xp.float32) * factor
    bad = ~xp.isfinite(counts) | (factor <= 0)
    if bool(bad.all()):
        raise ValueError("every pixel is dead or not finite: check the gain reference and the frames")
    # Odd, so that all columns have their part.
    some = slice(None, None, counts.size // TYPICAL | 1)
    usual = counts.ravel()[some][~bad.ravel()[some]]
    counts[bad] = xp.median(usual if len(usual) else counts[~bad])
    root = xp.maximum(counts, 0)
    root += xp.float32(0.375)
    root = xp.sqrt(root, out=root)
    root *= 2
    bad |= _outliers(root, step=1, contrast=1.0) | _outliers(root, step=3, contrast=BLOCK_CONTRAST)
    counts[bad] = 0
    off = bad.view(xp.uint8)
    columns, rows = (
        xp.asarray(_lines(counts.sum(axis=axis), bad.shape[axis] - off.sum(axis=axis, dtype=xp.float32)))
        for axis in (0, 1)
    )
    bad |= columns | rows[:, None]
    return bad


def _outliers(root: Any, *, step: int, contrast: float) -> Any:
    """Pixels off the median of 5 × 5 pixels ``step`` apart; at an edge the window moves inwards."""
    if on_gpu(root):
        return _gpu_motion.outliers(
            root, step=step, limit=THRESHOLD, contrast=contrast, xp=array_module(root)
        )
    return _cpu_motion.outliers(root, step, THRESHOLD, contrast)


def _lines(sums: Any, weight: Any) -> NDArray[np.bool_]:
    """Which columns (or rows) differ from the median of five by more than noise and gain residue."""
    sums, weight = to_numpy(sums), to_numpy(weight)
    mean = sums / np.maximum(weight, 1)
    typical = scipy.ndimage.median_filter(mean, 5, mode="reflect")
    noise = np.sqrt(np.maximum(typical, 0.01) / np.maximum(weight, 1))
    off = np.abs(mean - typical)
    return np.asarray((weight > 0) & (off > THRESHOLD * noise) & (off > LINE_CONTRAST * typical))


def replace_defects(frames: Any, bad: Any, seed: int = 0) -> Any:
    """Replace bad pixels by random good neighbours of the same frame, so that the noise stays white.

    (y, x) or (frame, y, x) -> a copy of the same type. A mean would leave a calm spot that is the same in
    all frames and ties the alignment to zero shift; a new neighbour is drawn for each frame instead.
    """
    xp = array_module(frames)
    if bad.shape != frames.shape[-2:]:
        raise ValueError(f"the defect map is {bad.shape}, expected {frames.shape[-2:]} as the frames")
    frames, bad = xp.array(frames), xp.asarray(bad)
    places = xp.flatnonzero(bad)
    for number, frame in enumerate(frames.reshape(-1, bad.size)):
        frame[places] = frame[donor_pixels(bad, places, seed + number, seed + number + 1)[0]]
    return frames


def donor_pixels(bad: Any, places: Any, first: int, last: int) -> Any:
    """A random good pixel near each bad one: flat indices (frame, place), for frames first..last - 1.

    The search widens until one is found. What is drawn depends on the frame and the place alone, so that
    it is the same on every device and whichever frames are asked for together.
    """
    xp, (height, width) = array_module(bad), bad.shape
    if not len(places):
        return xp.zeros((last - first, 0), xp.int32)
    keys = xp.arange(first, last, dtype=xp.uint32)[:, None] * xp.uint32(FRAME_STEP) + places.astype(xp.uint32)
    keys, rows, columns = keys.ravel(), *(xp.tile(axis, last - first) for axis in xp.divmod(places, width))
    donors = xp.full(keys.shape, -1, xp.int32)
    open_ = xp.arange(len(keys))
    for attempt, reach in enumerate(REACH_PX):
        noise = _scrambled(keys[open_] + xp.uint32(ATTEMPT_STEP * attempt % 2**32))
        across, down = noise >> 16, noise & 0xFFFF
        y = rows[open_] - reach + (down * (2 * reach + 1) >> 16).astype(xp.int32)
        x = columns[open_] - reach + (across * (2 * reach + 1) >> 16).astype(xp.int32)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        found = inside & ~bad[xp.clip(y, 0, height - 1), xp.clip(x, 0, width - 1)]
        donors[open_[found]] = y[found] * width + x[found]
        open_ = open_[~found]
        if not len(open_):
            break
    else:
        anywhere = xp.flatnonzero(~bad)
        if not len(anywhere):
            raise ValueError("every pixel is marked bad: check the defect file and the gain reference")
        donors[open_] = anywhere[(_scrambled(keys[open_]) % len(anywhere)).astype(xp.int32)]
    return donors.reshape(last - first, -1)


def _scrambled(keys: Any) -> Any:
    """Even random bits (uint32) of numbers (murmur3's finaliser, Appleby 2008)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        keys = (keys ^ (keys >> shift)) * np.uint32(factor)
    return keys ^ (keys >> 16)
