"""Classes against the known views: agreement of labels, resolution of averages, error of poses."""

from typing import Any

import numpy as np
import scipy.fft as sf
import scipy.ndimage

from nextpyp_nb.records import FloatArray

FIRST_RING = 6
FEWEST = 20


def score_classes(
    table: Any, averages: FloatArray, views: FloatArray, truth: dict[str, Any], pixel_size: float
) -> dict[str, Any]:
    """Figures of particles ``table`` (RELION's columns) and their ``averages`` against ``truth``.

    The label of a particle is its view, -1 for junk; a class is junk if half its members are.
    """
    index = table["rlnImageName"].str.split("@").str[0].astype(int).to_numpy() - 1
    known = [truth["particles"][i] for i in index]
    label = np.array([p["view"] for p in known])
    number = table["rlnClassNumber"].to_numpy(int)
    names = ["junk", *dict.fromkeys(view["species"] for view in truth["views"])]
    kinds = np.array([0 if v < 0 else names.index(truth["views"][v]["species"]) for v in label])
    junk = label < 0
    in_junk = np.isin(number, [k for k in np.unique(number) if junk[number == k].mean() >= 0.5])
    resolutions, turns, shifts = [], [], []
    for k, view in _pure_classes(number, label):
        if averages.shape[1:] == views.shape[1:]:
            resolutions.append(resolution(averages[k - 1], views[view], pixel_size))
        members = np.flatnonzero((number == k) & (label == view))
        turn, shift = pose_errors(table.iloc[members], [known[i] for i in members], pixel_size)
        turns.append(turn)
        shifts.append(shift)
    return {
        "particles": len(label),
        "ARI": adjusted_rand(number, label),
        "purity": purity(number, label),
        "species": purity(number, kinds),
        "junk_recall": float((in_junk & junk).sum() / max(1, junk.sum())),
        "junk_precision": float((in_junk & junk).sum() / max(1, in_junk.sum())),
        "frc_classes": len(resolutions),
        "frc05_median_A": float(np.median(resolutions)) if resolutions else None,
        "in_plane_deg": float(np.median(turns)) if turns else None,
        "shift_px": float(np.median(shifts)) if shifts else None,
    }


def _pure_classes(number: Any, label: Any) -> list[tuple[int, int]]:
    """Classes of twenty or more, half of one view, with that view."""
    found = []
    for k in np.unique(number[number > 0]):
        kinds, count = np.unique(label[number == k], return_counts=True)
        if count.sum() >= FEWEST and count.max() >= 0.5 * count.sum() and kinds[count.argmax()] >= 0:
            found.append((int(k), int(kinds[count.argmax()])))
    return found


def _table(first: Any, second: Any) -> FloatArray:
    a, b = (np.unique(x, return_inverse=True)[1] for x in (first, second))
    return np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1)).reshape(
        a.max() + 1, -1
    )


def adjusted_rand(first: Any, second: Any) -> float:
    """Adjusted Rand index of two labellings (Hubert & Arabie 1985)."""
    table = _table(first, second).astype(np.float64)
    both, one, other, pairs = (
        float((x * (x - 1) / 2).sum()) for x in (table, table.sum(1), table.sum(0), table.sum())
    )
    chance = one * other / pairs
    return (both - chance) / max(0.5 * (one + other) - chance, 1e-12)


def purity(number: Any, label: Any) -> float:
    """The part of all particles that carry the commonest label of their class."""
    return float(_table(number, label).max(axis=1).sum() / len(label))


def resolution(average: FloatArray, view: FloatArray, pixel_size: float) -> float:
    """Å at which the ring correlation with the noiseless view, best turned and moved, falls below 0.5."""
    box = len(average)
    axis = np.arange(box) - box // 2
    mask = np.clip((0.46 * box - np.hypot(axis[:, None], axis)) / (0.0625 * box), 0, 1)
    k = np.hypot(sf.fftfreq(box, pixel_size)[:, None], sf.rfftfreq(box, pixel_size))
    smooth = sf.rfft2(average * mask) * np.exp(-((12 * k) ** 2) * np.log(2))

    def best_shift(angle: float) -> tuple[float, tuple[int, int]]:
        turned = scipy.ndimage.rotate(view, angle, reshape=False, order=1)
        match = sf.fftshift(sf.irfft2(smooth * sf.rfft2(turned).conj(), s=(box, box)))
        y, x = np.unravel_index(int(match.argmax()), match.shape)
        return float(match.max()), (int(y) - box // 2, int(x) - box // 2)

    angle = max(np.arange(0, 360, 3.0), key=lambda a: best_shift(a)[0])
    angle = max(angle + np.arange(-3, 3.1, 0.5), key=lambda a: best_shift(a)[0])
    dy, dx = best_shift(angle)[1]
    turned = scipy.ndimage.rotate(view, angle, reshape=False, order=3)
    ring = np.rint(k * box * pixel_size).astype(int)
    found, curve = -np.inf, np.zeros(box // 2)
    for y in dy + np.arange(-0.75, 0.76, 0.25):
        for x in dx + np.arange(-0.75, 0.76, 0.25):
            moved = scipy.ndimage.shift(turned, (y, x), order=3)
            now = _ring_correlation(average * mask, moved * mask, ring)
            if now[1 : box // 4].sum() > found:
                found, curve = now[1 : box // 4].sum(), now
    low = np.flatnonzero(curve[FIRST_RING:] < 0.5)
    last = FIRST_RING + int(low[0]) if len(low) else len(curve) - 1
    return float(box * pixel_size / last)


def _ring_correlation(first: FloatArray, second: FloatArray, ring: Any) -> FloatArray:
    a, b = sf.rfft2(first), sf.rfft2(second)
    sums = [
        np.bincount(ring.ravel(), x.ravel())[: len(first) // 2]
        for x in ((a * b.conj()).real, abs(a) ** 2, abs(b) ** 2)
    ]
    return np.asarray(sums[0] / np.sqrt(sums[1] * sums[2] + 1e-30))


def pose_errors(members: Any, known: list[dict[str, Any]], pixel_size: float) -> tuple[float, float]:
    """Median error of rotation (degrees) and of the shift (px a axis) of members of one class and view.

    The class may lie turned and moved as it likes; a symmetric view may be turned by a symmetry.
    """
    psi = members["rlnAnglePsi"].to_numpy(float)
    true = np.array([p["psi"] for p in known])
    turns = []
    for sign in (1, -1):
        for fold in (1, 2, 3, 4, 6):
            angle = np.deg2rad(fold * (psi - sign * true))
            away = np.angle(np.exp(1j * angle) / np.exp(1j * angle).mean())
            turns.append(float(np.median(abs(np.rad2deg(away)))) / fold)
    moved = -members[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(float) / pixel_size
    wrong = moved - np.array([(p["dx"], p["dy"]) for p in known])
    wrong = wrong[:, 0] + 1j * wrong[:, 1]
    turned = np.exp(-1j * np.deg2rad(psi))
    # The centre of the class, as it lies in each particle.
    centre = np.median((wrong / turned).real) + 1j * np.median((wrong / turned).imag)
    left = wrong - centre * turned
    return min(turns), float(np.median(np.abs(np.concatenate([left.real, left.imag]))))
