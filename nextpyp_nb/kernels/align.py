"""Where each frame lies against the others: leave-one-out correlation with a smooth trajectory."""

from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.fft import prev_fast_len

from nextpyp_nb.kernels.backend import array_module, on_gpu, to_numpy
from nextpyp_nb.kernels.correlation import FRAMES_AT_ONCE, correlations, low_band, low_spectra, move_back
from nextpyp_nb.kernels.fourier import irfft2_in_place, resize_rows
from nextpyp_nb.records import FloatArray

SEARCH_PX = 64
FINE_PX = 6
NEAR_PX = 3  # once all frames are there within a px
FINE_ROUNDS = 4
TOLERANCE_PX = 0.05
COARSE, COARSE_BFACTOR = 4.0, 30.0  # times the fine one, at least px²
SMALLEST_WEIGHT = 0.2
HALF_BAND = 0.25  # cycles/px, what frames of half the size hold
SAMPLING = 0.4  # of the width of a correlation peak
SURE = 5.0
COARSE_ROUNDS = 2
NOISE_PX = 0.05
EXPECTED_FRAMES = 4
ROUGHNESS = (1e-1, 1e9, 60)
WALKS = (0.0, *np.geomspace(1e-2, 1e4, 13))
WALK_EVIDENCE = 8.0


def align_frames(fine: "FrameSpectra", *, group: int = 1) -> FloatArray:
    """Find how the specimen moved between frames: shifts (frame, 2) in (y, x) px.

    A feature at p in frame 0 is at p + shifts[f] in frame f. Each frame is correlated with the sum of the
    others; the sum moves along until nothing changes.
    Frames too weak to be seen are taken in larger groups; where nothing is seen the shifts are zero.
    """
    n = fine.n_frames
    shifts: FloatArray = np.zeros((n, 2))
    if n < 2:
        return shifts
    coarse = fine.damped(max(COARSE * fine.bfactor, COARSE_BFACTOR))
    search = min(SEARCH_PX, min(fine.shape) // 4)
    for _ in range(COARSE_ROUNDS):
        for some, size in _attempts(coarse, fine, group, n):
            offsets, height = some.offsets(shifts, search, size)
            if np.mean(height > SURE) >= 0.5:
                break
        if not (height > SURE).any():
            return np.zeros((n, 2))
        group = size
        shifts = _from_first(shifts + _bridged(offsets, height > SURE))
        if np.abs(offsets).max() < FINE_PX / 2 and (height > SURE).all():
            break
    search = min(search, FINE_PX)
    for _ in range(FINE_ROUNDS):
        offsets, _height = fine.offsets(shifts, search, group)
        before, shifts = shifts, _from_first(shifts + offsets)
        change = np.abs(shifts - before).max()
        if change < TOLERANCE_PX:
            break
        search = min(search, NEAR_PX + int(change))
    return shifts


def _attempts(coarse: Any, fine: Any, group: int, n: int) -> Iterator[tuple[Any, int]]:
    """Spectra and group sizes to look for the frames with; bare ice shows only at fine detail."""
    while True:
        yield coarse, group
        yield fine, group
        if 4 * group > n:
            return
        group *= 2


def _from_first(shifts: FloatArray) -> FloatArray:
    """The smooth trajectory, starting at zero."""
    smooth = smooth_trajectory(shifts)
    return np.asarray(smooth - smooth[0])


def _bridged(offsets: FloatArray, sure: Any) -> FloatArray:
    """Offsets with those of unsure frames taken from their sure neighbours in time."""
    frames = np.arange(len(offsets))
    return np.stack([np.interp(frames, frames[sure], axis[sure]) for axis in offsets.T], axis=1)


class FrameSpectra:
    """Low frequencies of frames (frame, y, x), moved back by what is known of their shifts.

    ``frames`` hold what moves (``moving_frames``) and may be made as they are asked for; what correlates is
    damped by exp(-2 bfactor k²) with k in cycles/px.
    """

    def __init__(self, frames: Any, bfactor: float) -> None:
        xp = array_module(frames)
        ny, nx = (2 * prev_fast_len(n // 2, real=True) for n in frames.shape[1:])
        self.n_frames, self.shape, self.bfactor = len(frames), (ny, nx), bfactor
        self._band = low_band(self.shape, bfactor, SMALLEST_WEIGHT, HALF_BAND)
        self._at: FloatArray = np.zeros((len(frames), 2))
        self._values = xp.empty((1, len(frames), *self._band.weight.shape), xp.complex64)
        together = FRAMES_AT_ONCE if on_gpu(frames) else 1
        for first in range(0, len(frames), together):
            some = slice(first, first + together)
            low_spectra(frames[some][:, :ny, :nx], self._band, out=self._values[0, some])
        self._step = 1

    def damped(self, bfactor: float) -> "FrameSpectra":
        """A copy in the narrower band of a larger ``bfactor``."""
        narrow = copy(self)
        narrow._band = low_band(self.shape, bfactor, SMALLEST_WEIGHT)
        rows = np.flatnonzero(np.isin(self._band.rows, narrow._band.rows))
        values = self._values[..., : len(narrow._band.kx)][:, :, rows]
        narrow._values = array_module(values).ascontiguousarray(values)
        narrow._step = max(1, int(SAMPLING * np.sqrt(bfactor)))
        return narrow

    def halved(self, shifts: FloatArray, group: int = 1) -> Any:
        """Frames moved back by ``shifts``, those of a ``group`` added up, with pixels twice as large.

        float32 (group, y, x); frames left over join the last group.
        """
        self._move_back(shifts)
        ny, nx = (n // 2 for n in self.shape)
        values, last = self._values[0, ..., : (nx + 1) // 2], self.n_frames // group * group
        half = resize_rows(values[:last:group], ny)
        for member in range(1, group):
            half += resize_rows(values[member:last:group], ny)
        for left_over in values[last:]:
            half[-1] += resize_rows(left_over, ny)
        half *= np.float32(0.25)
        return irfft2_in_place(half, (ny, nx))

    def _move_back(self, shifts: FloatArray) -> Any:
        """Move the frames back by ``shifts`` of them as recorded; their sum."""
        total = move_back(self._values, self._band, (shifts - self._at)[None])
        self._at = shifts
        return total

    def offsets(self, shifts: FloatArray, search: int, group: int) -> tuple[FloatArray, FloatArray]:
        """Where each frame, moved back, correlates best with the sum of the others; peak height over noise.

        Frames are taken in groups of ``group``.
        """
        xp, n = array_module(self._values), len(shifts)
        total = self._move_back(shifts)
        parts = self._values
        if group > 1:
            parts = [parts[:, first : first + group].sum(axis=1) for first in range(0, n, group)]
            parts = xp.stack(parts, axis=1)
        reach = search // self._step
        near = to_numpy(correlations(parts, total, self._band, reach, self._step)[0])
        offsets = self._step * (peak_positions(near) - reach)
        # Every other place tells the noise.
        some = near[:, ::2, ::2].reshape(len(near), -1)
        middle = np.median(some, axis=1, keepdims=True)
        noise = 1.4826 * np.median(np.abs(some - middle), axis=1)
        height = near.max(axis=(1, 2)) / np.maximum(noise, 1e-30)
        number = np.arange(n) // group
        return offsets[number], height[number]


def peak_positions(images: FloatArray) -> FloatArray:
    """Places (image, 2) of the highest inner pixels of images (image, y, x).

    Refined by a paraboloid through the 3 × 3 neighbours, by at most a pixel.
    """
    inner = images[:, 1:-1, 1:-1]
    row, column = np.unravel_index(inner.reshape(len(images), -1).argmax(axis=1), inner.shape[1:])
    near = np.arange(3)
    number = np.arange(len(images))[:, None, None]
    patch = images[number, row[:, None, None] + near[:, None], column[:, None, None] + near].astype(
        np.float64
    )
    rows, columns = patch.sum(axis=2), patch.sum(axis=1)
    slope_y, slope_x = (rows[:, 2] - rows[:, 0]) / 6, (columns[:, 2] - columns[:, 0]) / 6
    bend_y, bend_x = (rows @ [1, -2, 1]) / 3, (columns @ [1, -2, 1]) / 3
    cross = (patch[:, 2, 2] - patch[:, 2, 0] - patch[:, 0, 2] + patch[:, 0, 0]) / 4
    curved = bend_y * bend_x - cross**2
    peaked = (curved > 0) & (bend_y < 0)
    safe = np.where(peaked, curved, 1)
    step = np.stack([bend_x * slope_y - cross * slope_x, bend_y * slope_x - cross * slope_y], axis=1)
    step = np.where(peaked[:, None], np.clip(-step / safe[:, None], -1, 1), 0)
    return np.asarray(np.stack([row, column], axis=1) + 1 + step)


def smooth_trajectory(shifts: FloatArray) -> FloatArray:
    """Trajectory as smooth as the data ask for: (frame, 2) px.

    The specimen moves fast at first and slowly later: a cubic smoothing spline in the square root of time,
    which is a random acceleration seen through noise. Where the evidence is clear it also jumps from frame
    to frame, a random walk. The strengths of both against the noise are the likeliest ones (Wahba 1985,
    REML), with the usual noise counted as a few more frames so that a jump in a short movie is not taken
    for noise.
    """
    n = len(shifts)
    if n < 4:
        return shifts
    ratio = np.geomspace(*ROUGHNESS)[:, None]
    expected = EXPECTED_FRAMES * NOISE_PX**2
    seen, back, strength, volume = _priors(n)
    amplitude = seen @ shifts
    variance = 1 + ratio * strength[:, None]
    scatter = ((1 / variance) @ (amplitude**2).sum(axis=2)[..., None])[..., 0] + expected
    cost = (amplitude[0].size + EXPECTED_FRAMES) * np.log(scatter) + 2 * np.log(variance).sum(axis=2)
    cost += np.where(volume > 0, 2 * volume + WALK_EVIDENCE, 2 * volume)[:, None]
    walk, rough = np.unravel_index(cost.argmin(), cost.shape)
    return np.asarray(shifts - back[walk] @ (amplitude[walk] / variance[walk, rough][:, None]))


@lru_cache(maxsize=8)
def _priors(n: int) -> tuple[FloatArray, ...]:
    """For each strength of the walk: shapes without the straight line as seen (n - 2, n) and as noise
    (n, n - 2), the variance the spline gives each, and the log determinant of noise and walk.
    """
    frames = np.arange(n)
    time = np.sqrt(frames / (n - 1))
    early, late = np.minimum.outer(time, time), np.maximum.outer(time, time)
    spline = early**2 * (late / 2 - early / 6)
    walk = np.minimum.outer(frames, frames)
    line = np.stack([np.ones(n), time], axis=1)
    bent = np.linalg.qr(line, mode="complete")[0][:, 2:]
    priors = []
    for jumps in WALKS:
        root = np.linalg.cholesky(bent.T @ (np.eye(n) + jumps * walk) @ bent)
        whiten = np.linalg.solve(root, bent.T)
        strength, turn = np.linalg.eigh(whiten @ spline @ whiten.T)
        seen = turn.T @ whiten
        priors.append((seen, seen.T, np.maximum(strength, 0), 2 * np.log(np.diag(root)).sum()))
    seen, back, strengths, volumes = (np.array(some) for some in zip(*priors, strict=True))
    return seen, back, strengths, volumes
