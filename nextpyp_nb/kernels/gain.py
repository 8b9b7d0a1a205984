"""What the detector does to the counts: gain orientation, defects and their replacement."""

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.records import FloatArray

THRESHOLD = 6.0
BLOCK_CONTRAST = 3.0
LINE_CONTRAST = 0.1
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
    counts = to_numpy(frame_sum).astype(np.float32)
    bad = ~np.isfinite(counts)
    if gain is not None:
        factor = to_numpy(gain)
        if factor.shape != counts.shape:
            raise ValueError(f"the gain reference is {factor.shape}, expected {counts.shape} as the frames")
        bad |= factor <= 0
        counts = counts * factor
    if bad.all():
        raise ValueError("every pixel is dead or not finite: check the gain reference and the frames")
    counts[bad] = np.median(counts[~bad])
    root = 2 * np.sqrt(np.maximum(counts, 0) + np.float32(0.375))
    bad |= _outliers(root, step=1, contrast=1.0) | _outliers(root, step=3, contrast=BLOCK_CONTRAST)
    good = np.where(bad, 0, counts)
    weight = ~bad
    bad |= _lines(good.sum(axis=0), weight.sum(axis=0))[None, :]
    bad |= _lines(good.sum(axis=1), weight.sum(axis=1))[:, None]
    return xp.asarray(bad)


def _outliers(root: FloatArray, *, step: int, contrast: float) -> NDArray[np.bool_]:
    """Pixels off the median of 5 × 5 pixels ``step`` apart; only those off the local mean are sorted."""
    mean = scipy.ndimage.uniform_filter(root, 5 * step, mode="reflect")
    rows, columns = np.nonzero(np.abs(root - mean) > 0.5 * THRESHOLD)
    median = _window_median(root, rows, columns, step)
    value = root[rows, columns]
    ratio = (value / median) ** 2
    off = np.abs(value - median) > THRESHOLD
    bad = np.zeros(root.shape, bool)
    bad[rows, columns] = off & ((ratio >= contrast) | (ratio <= 1 / contrast))
    return bad


def _window_median(image: FloatArray, rows: Any, columns: Any, step: int) -> FloatArray:
    """Median of 5 × 5 pixels, ``step`` apart, around each point; at an edge the window moves inwards."""
    reach = 2 * step
    offsets = np.arange(-reach, reach + 1, step)
    y, x = (
        np.clip(np.clip(centre, reach, max(n - 1 - reach, 0))[:, None] + offsets, 0, n - 1)
        for centre, n in zip((rows, columns), image.shape, strict=True)
    )
    values = image[y[:, :, None], x[:, None, :]]
    return np.asarray(np.median(values.reshape(len(rows), 25), axis=1), np.float32)


def _lines(sums: FloatArray, weight: Any) -> NDArray[np.bool_]:
    """Which columns (or rows) differ from the median of five by more than noise and gain residue."""
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
    mask = to_numpy(bad)
    if mask.shape != frames.shape[-2:]:
        raise ValueError(f"the defect map is {mask.shape}, expected {frames.shape[-2:]} as the frames")
    frames = xp.array(frames)
    if not mask.any():
        return frames
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(mask)
    for frame in frames.reshape(-1, mask.size):
        fill_defects(frame, mask, places, rng)
    return frames


def fill_defects(
    frame: Any, bad: NDArray[np.bool_], places: NDArray[np.intp], rng: np.random.Generator
) -> None:
    """Fill the bad ``places`` (flat) of one frame, given flat too, in place from random good neighbours."""
    xp = array_module(frame)
    frame[xp.asarray(places)] = frame[xp.asarray(donor_pixels(bad, places, rng))]


def donor_pixels(
    bad: NDArray[np.bool_], places: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """A random good pixel near each bad one, as flat indices; the search widens until one is found."""
    rows, columns = np.divmod(places, bad.shape[1])
    donors = np.full(len(rows), -1, np.intp)
    for reach in REACH_PX:
        open_ = np.flatnonzero(donors < 0)
        if not len(open_):
            return donors
        y = rows[open_] + rng.integers(-reach, reach + 1, len(open_))
        x = columns[open_] + rng.integers(-reach, reach + 1, len(open_))
        inside = (y >= 0) & (y < bad.shape[0]) & (x >= 0) & (x < bad.shape[1])
        open_, y, x = open_[inside], y[inside], x[inside]
        good = ~bad[y, x]
        donors[open_[good]] = y[good] * bad.shape[1] + x[good]
    open_ = np.flatnonzero(donors < 0)
    anywhere = np.flatnonzero(~bad)
    if not len(anywhere):
        raise ValueError("every pixel is marked bad: check the defect file and the gain reference")
    donors[open_] = rng.choice(anywhere, len(open_))
    return donors
