"""Where each frame lies against the others: leave-one-out correlation with a smooth trajectory."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import array_module, fft_module, ndimage_module, to_numpy
from nextpyp_nb.kernels.fourier import rfft_frequency
from nextpyp_nb.records import FloatArray

SEARCH_PX = 64
FINE_PX = 6
EDGE_PX = 4
EDGE_CONTRAST = 4.0
FLAT_PX = 12
CROSS = 2
HIGH_PASS = 0.008
FINE_ROUNDS = 4
TOLERANCE_PX = 0.02
COARSE = 4.0
SURE = 5.0
COARSE_ROUNDS = 2
NOISE_PX = 0.1
EXPECTED_FRAMES = 4
ROUGHNESS = (1e-1, 1e9, 60)
WALKS = (0.0, *np.geomspace(1e-2, 1e4, 13))
WALK_EVIDENCE = 8.0


def align_frames(frames: Any, *, bfactor: float = 8.0, group: int = 1) -> FloatArray:
    """Find how the specimen moved between frames: (frame, y, x) -> shifts (frame, 2) in (y, x) px.

    ``frames`` hold what moves (``moving_part``).
    A feature at p in frame 0 is at p + shifts[f] in frame f. Each frame is correlated with the sum of the
    others, damped by exp(-2 bfactor k²) with k in cycles/px; the sum moves along until nothing changes.
    Frames too weak to be seen are taken in larger groups; where nothing is seen the shifts are zero.
    """
    n = len(frames)
    shifts: FloatArray = np.zeros((n, 2))
    if n < 2:
        return shifts
    spectra = _spectra(frames)
    shape = frames.shape[1:]
    xp = array_module(frames)
    coarse, fine = (xp.asarray(_weight(shape, b)) for b in (COARSE * bfactor, bfactor))
    search = min(SEARCH_PX, min(shape) // 4)
    for _ in range(COARSE_ROUNDS):
        for weight, size in _attempts(coarse, fine, group, n):
            offsets, height = _offsets(spectra, shape, weight, shifts, search, size)
            if np.mean(height > SURE) >= 0.5:
                break
        if not (height > SURE).any():
            return np.zeros((n, 2))
        group = size
        shifts = _from_first(shifts + _bridged(offsets, height > SURE))
    for _ in range(FINE_ROUNDS):
        offsets, _height = _offsets(spectra, shape, fine, shifts, min(search, FINE_PX), group)
        before, shifts = shifts, _from_first(shifts + offsets)
        if np.abs(shifts - before).max() < TOLERANCE_PX:
            break
    return shifts


def _attempts(coarse: Any, fine: Any, group: int, n: int) -> Iterator[tuple[Any, int]]:
    """Weights and group sizes to look for the frames with; bare ice shows only at fine detail."""
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


def moving_part(frames: Any) -> Any:
    """Frames less what stands still, in place: the local mean taken off, and sharp edges masked."""
    xp, nd = array_module(frames), ndimage_module(frames)
    mean = frames.mean(axis=0)
    slope = nd.gaussian_gradient_magnitude(mean, EDGE_PX, mode="reflect")
    edges = slope > EDGE_CONTRAST * xp.median(slope)
    mask = 1 - 4 * nd.gaussian_filter(edges.astype(xp.float32), EDGE_PX, mode="reflect")
    mask = xp.clip(mask, 0, 1)
    share = nd.gaussian_filter(mask, FLAT_PX, mode="reflect")
    local = nd.gaussian_filter(mean * mask, FLAT_PX, mode="reflect") / xp.maximum(share, 1e-3)
    frames -= local
    frames *= mask
    return frames


def _spectra(frames: Any) -> Any:
    xp, fft = array_module(frames), fft_module(frames)
    spectra = xp.empty((*frames.shape[:2], frames.shape[2] // 2 + 1), xp.complex64)
    for number, frame in enumerate(frames):
        spectra[number] = fft.rfft2(frame)
    return spectra


def _weight(shape: tuple[int, int], bfactor: float) -> FloatArray:
    """Damping of high frequencies, of gradients, and of the lines that fixed patterns live on."""
    ky, kx = rfft_frequency(shape)
    square = ky**2 + kx**2
    weight = np.exp(-2 * bfactor * square) * -np.expm1(-square / (2 * HIGH_PASS**2))
    weight[np.abs(ky[:, 0]) * shape[0] < CROSS - 0.5] = 0
    weight[:, np.abs(kx[0]) * shape[1] < CROSS - 0.5] = 0
    return np.asarray(weight, np.float32)


def _offsets(
    spectra: Any, shape: tuple[int, int], weight: Any, shifts: FloatArray, search: int, group: int
) -> tuple[FloatArray, FloatArray]:
    """Where each frame, moved back, correlates best with the sum of the others; peak height over noise."""
    xp, fft = array_module(spectra), fft_module(spectra)
    ky, kx = (xp.asarray(k) for k in rfft_frequency(shape))
    aligned = xp.empty_like(spectra)
    for number, (dy, dx) in enumerate(shifts):
        turn = xp.exp(2j * np.pi * float(dy) * ky) * xp.exp(2j * np.pi * float(dx) * kx)
        aligned[number] = spectra[number] * turn.astype(xp.complex64)
    total = aligned.sum(axis=0)
    offsets, height = np.zeros_like(shifts), np.zeros(len(shifts))
    for first in range(0, len(shifts), group):
        some = slice(first, first + group)
        part = aligned[some].sum(axis=0)
        correlation = fft.irfft2(xp.conj(total - part) * part * weight, s=shape)
        near = xp.roll(correlation, (search, search), (0, 1))[: 2 * search + 1, : 2 * search + 1]
        near = to_numpy(near)
        offsets[some] = peak_position(near) - search
        noise = 1.4826 * np.median(np.abs(near - np.median(near)))
        height[some] = near.max() / max(noise, 1e-30)
    return offsets, height


def peak_position(image: FloatArray) -> FloatArray:
    """Place (y, x) of the highest inner pixel, refined by a paraboloid through its 3 × 3 neighbours."""
    inner = image[1:-1, 1:-1]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    place = np.array([row + 1.0, column + 1.0])
    patch = np.asarray(image[row : row + 3, column : column + 3], np.float64)
    rows, columns = patch.sum(axis=1), patch.sum(axis=0)
    gradient = np.array([rows[2] - rows[0], columns[2] - columns[0]]) / 6
    cross = (patch[2, 2] - patch[2, 0] - patch[0, 2] + patch[0, 0]) / 4
    bend = np.array([rows[0] - 2 * rows[1] + rows[2], columns[0] - 2 * columns[1] + columns[2]]) / 3
    hessian = np.array([[bend[0], cross], [cross, bend[1]]])
    if np.linalg.eigvalsh(hessian).max() >= 0:
        return place
    return np.asarray(place - np.clip(np.linalg.solve(hessian, gradient), -1, 1))


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
    least, best = np.inf, shifts
    for seen, back, strength, volume in _priors(n):
        amplitude = seen @ shifts
        variance = 1 + ratio * strength
        scatter = (1 / variance) @ np.sum(amplitude**2, axis=1) + expected
        cost = (amplitude.size + EXPECTED_FRAMES) * np.log(scatter) + 2 * np.log(variance).sum(axis=1)
        cost += 2 * volume + (WALK_EVIDENCE if volume > 0 else 0)
        likeliest = np.argmin(cost)
        if cost[likeliest] < least:
            least = cost[likeliest]
            best = shifts - back @ (amplitude / variance[likeliest][:, None])
    return np.asarray(best)


@lru_cache(maxsize=8)
def _priors(n: int) -> list[tuple[FloatArray, FloatArray, FloatArray, float]]:
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
    return priors
