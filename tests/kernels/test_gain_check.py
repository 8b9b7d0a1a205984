"""The gain check against movies whose camera is known: every way to lie, both operations, few electrons."""

import numpy as np
import pytest
from scipy import ndimage

from nextpyp_nb.kernels import gain_check
from nextpyp_nb.kernels.gain import orient_gain
from nextpyp_nb.kernels.gain_check import (
    CORRECTED,
    FITS,
    FOREIGN,
    ORIENTATIONS,
    OTHER,
    UNCLEAR,
    check_gain,
    gain_picture,
)  # fmt: skip

SIDE = 384


def camera(seed, shape=(SIDE, SIDE), contrast=0.04):
    rng = np.random.default_rng(seed)
    y, x = (np.arange(n) / n for n in shape)
    factor = 1 + 0.06 * np.sin(8 * x) * np.cos(5 * y)[:, None] + rng.normal(0, contrast, shape)
    factor[:, shape[1] // 3] = 0
    factor[100:106, 90:96] = 0
    return factor.astype(np.float32)


def specimen(rng, shape):
    contrast = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2)
    y = np.arange(shape[0])[:, None] - shape[0] * rng.uniform(0.2, 0.8)
    return (1 + 0.06 * contrast / contrast.std()) * np.where(y > 0.3 * np.arange(shape[1]), 0.75, 1)


def sums(factor, counts, movies=1, seed=0):
    """Sums of raw frames: sensitivity is the inverse of the factor, a few pixels are hot."""
    rng = np.random.default_rng(100 + seed)
    sensitivity = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
    made = []
    for _ in range(movies):
        image = rng.poisson(counts * specimen(rng, factor.shape) * sensitivity).astype(np.float32)
        image[rng.integers(0, factor.shape[0], 6), rng.integers(0, factor.shape[1], 6)] += 12 * counts
        made.append(image)
    return made


def turned(image, way):
    return np.rot90(image[:: -1 if way[2] else 1, :: -1 if way[1] else 1], way[0])


def stored_for(factor, way, operation):
    """The reference that ``way`` brings to the frames."""
    probe = np.arange(4).reshape(2, 2)
    back = next(w for w in ORIENTATIONS if np.array_equal(turned(turned(probe, w), way), probe))
    held = factor
    if operation == "divide":
        held = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
    stored = np.ascontiguousarray(turned(held, back))
    again = orient_gain(
        stored, rotation=way[0], flip_horizontal=way[1], flip_vertical=way[2], operation=operation
    )
    assert np.corrcoef(again.ravel(), factor.ravel())[0, 1] > 0.9999
    return stored


def setting(way, operation):
    return {"rotation": way[0], "flip_horizontal": way[1], "flip_vertical": way[2], "operation": operation}


# Counts a pixel of all frames together: 8 is one movie of 16 frames at 0.5 e/px/frame.
@pytest.mark.parametrize(("counts", "movies"), [(8, 1), (8, 5), (54, 2)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finds_all_eight_ways_and_both_operations(counts, movies, seed):
    factor = camera(seed)
    frames = sums(factor, counts, movies, seed)
    for number, way in enumerate(ORIENTATIONS):
        for operation in ("multiply", "divide"):
            stored = stored_for(factor, way, operation)
            right = check_gain(frames, stored, **setting(way, operation))
            assert right.verdict == FITS
            assert right.best == right.chosen
            assert right.best.slope == pytest.approx(1, abs=0.2)
            other = ORIENTATIONS[(number + 1 + seed) % 8]
            wrong = check_gain(frames, stored, **setting(other, operation))
            assert wrong.verdict == OTHER
            assert wrong.best == right.best
            assert wrong.margin > 5
    inverse = check_gain(frames, factor, operation="divide")
    assert (inverse.verdict, inverse.best.operation) == (OTHER, "multiply")


def test_a_reference_on_its_side_leaves_four_ways():
    factor = camera(4, (300, 400))
    stored = stored_for(factor, (3, False, False), "multiply")
    found = check_gain(sums(factor, 20), stored)
    assert found.verdict == OTHER
    assert found.chosen is None
    assert (found.best.rotation, len(found.fits)) == (3, 8)
    with pytest.raises(ValueError, match=r"\(300, 401\).*\(300, 400\)"):
        check_gain(sums(factor, 20), np.ones((300, 401), np.float32))


def test_corrected_movies_and_another_camera():
    factor = camera(5)
    frames = sums(factor, 400, 5)
    assert check_gain([image * factor for image in frames], factor).verdict == CORRECTED
    assert check_gain(frames, camera(6)).verdict == FOREIGN


@pytest.mark.parametrize("own", [0.02, 0.04])
@pytest.mark.parametrize("other", [0.01, 0.02, 0.04, 0.08])
def test_another_cameras_reference_is_told_whatever_its_contrast(own, other):
    frames = sums(camera(1, contrast=own), 32, 5)
    assert check_gain(frames, camera(2, contrast=other)).verdict == FOREIGN


def test_a_corrected_movie_shows_the_noise_of_its_reference():
    factor = camera(3)
    noise = np.random.default_rng(9).normal(1, 0.02, factor.shape)
    reference = (factor * noise).astype(np.float32)
    frames = sums(factor, 32, 2)
    assert check_gain(frames, reference).verdict == FITS
    corrected = [image * reference for image in frames]
    found = check_gain(corrected, reference)
    assert (found.verdict, found.best.operation) == (CORRECTED, "divide")
    assert check_gain(corrected, reference, operation="divide").verdict != FITS


def test_the_middle_of_a_large_camera_tells_as_much(monkeypatch):
    factor = camera(6, (500, 601))
    stored = stored_for(factor, (1, True, False), "multiply")
    frames = sums(factor, 20, 2)
    monkeypatch.setattr(gain_check, "MIDDLE_PX", (150, 300))
    found = check_gain(frames, stored, **setting((1, True, False), "multiply"))
    assert (found.verdict, len(found.fits)) == (FITS, 8)
    assert found.best.slope == pytest.approx(1, abs=0.2)
    assert check_gain(frames, camera(7, (500, 601))).verdict == FOREIGN


def test_a_single_movie_without_the_pattern_tells_nothing():
    factor = camera(5)
    found = check_gain([image * factor for image in sums(factor, 400)], factor)
    assert found.verdict == UNCLEAR
    assert np.isnan(found.fixed)


def test_hardly_any_electrons_and_a_flat_reference_tell_nothing():
    factor = camera(7)
    assert check_gain(sums(factor, 0.02), factor).verdict == UNCLEAR
    assert check_gain(sums(factor, 20, 3), np.ones_like(factor)).verdict == UNCLEAR
    assert check_gain([np.zeros_like(factor)] * 2, factor).verdict == UNCLEAR
    with pytest.raises(ValueError, match="no movie"):
        check_gain([], factor)


def test_an_orientation_that_does_the_same_fits():
    """Rows that are all alike: upside-down cannot be told from upright, and does no harm."""
    factor = np.tile(camera(8)[:1], (SIDE, 1))
    found = check_gain(sums(factor, 54, 3), factor, flip_vertical=True)
    assert found.verdict == FITS


def test_the_picture_is_flat_where_the_reference_fits():
    factor = camera(9)
    frames = sums(factor, 54, 3)
    found = check_gain(frames, factor, rotation=2)
    picture = gain_picture(sum(frames), factor, chosen=found.chosen, best=found.best, max_side=96)
    raw, as_set, best = (picture[:, start : start + 96].astype(float) for start in (0, 100, 200))
    assert picture.shape == (96, 296)
    assert best.std() < raw.std() < as_set.std()
