import numpy as np
import pytest

from nextpyp_nb.kernels.magnification import stretch_matrix, stretched
from nextpyp_nb.kernels.motion import correct_motion

SHAPE = (256, 320)
CENTRE = (np.array(SHAPE) - 1) / 2
MAJOR, MINOR, ANGLE = 1.03, 0.99, 25.0
RNG = np.random.default_rng(7)
# Cycles per px, direction and phase of plane waves.
WAVES = [(RNG.uniform(0.01, 0.25), RNG.uniform(0, np.pi), RNG.uniform(0, 6)) for _ in range(50)]


def pattern(y, x):
    """Plane waves at any places relative to the centre, of unit variance."""
    waves = (
        np.cos(2 * np.pi * k * (np.sin(turn) * y + np.cos(turn) * x) + phase) for k, turn, phase in WAVES
    )
    return sum(waves) / np.sqrt(len(WAVES) / 2)


def seen(shift=(0.0, 0.0)):
    """The pattern as a microscope shows it that magnifies too little by the factors above."""
    y, x = (np.mgrid[: SHAPE[0], : SHAPE[1]].T - CENTRE - shift).T
    cos, sin = np.cos(np.radians(ANGLE)), np.sin(np.radians(ANGLE))
    along, across = x * cos + y * sin, -x * sin + y * cos
    along, across = along * MAJOR, across * MINOR
    return pattern(along * sin + across * cos, along * cos - across * sin)


def true_pattern():
    return pattern(*(np.mgrid[: SHAPE[0], : SHAPE[1]].T - CENTRE).T)


INNER = np.s_[24:-24, 24:-24]


def test_a_distorted_pattern_becomes_the_true_one():
    error = stretched(seen().astype(np.float32), MAJOR, MINOR, ANGLE) - true_pattern()
    assert np.std(error[INNER]) < 0.01
    for wrong in ((MAJOR, MINOR, -ANGLE), (MINOR, MAJOR, ANGLE), (1 / MAJOR, 1 / MINOR, ANGLE)):
        other = stretched(seen().astype(np.float32), *wrong) - true_pattern()
        assert np.std(other[INNER]) > 1


def test_the_axis_is_counted_from_x_with_y_up():
    along = stretch_matrix(1.1, 1.0, 30) @ [np.sin(np.pi / 6), np.cos(np.pi / 6)]
    np.testing.assert_allclose(along, 1.1 * np.array([0.5, np.sqrt(0.75)]))
    np.testing.assert_allclose(stretch_matrix(1.1, 1.0, 0) @ [1, 0], [1, 0])
    with pytest.raises(ValueError, match="expected numbers above 0"):
        stretch_matrix(0, 1, 0)


def test_averages_are_stretched_and_trajectories_stay_in_raw_px():
    truth = np.array([[0, 0], [1.4, -0.7], [2.3, -1.6], [2.8, -2.0], [3.1, -2.2], [3.2, -2.3]])
    rng = np.random.default_rng(3)
    frames = np.stack([rng.poisson(20 * np.maximum(1 + 0.2 * seen(shift), 0)) for shift in truth]).astype(
        np.uint8
    )
    known = {"pixel_size": 1.5, "voltage": 300.0, "dose_per_frame": 1.0, "bfactor": 0.0, "halves": True}
    plain = correct_motion(frames, **known)
    result = correct_motion(frames, magnification=(MAJOR, MINOR, ANGLE), **known)
    np.testing.assert_array_equal(result.motion.shifts, plain.motion.shifts)
    assert np.abs(result.motion.shifts - truth).max() < 0.5
    for image in (result.average, result.weighted, *result.halves):
        wanted, found = true_pattern()[INNER].ravel(), image[INNER].ravel()
        before = plain.average[INNER].ravel()
        assert np.corrcoef(found, wanted)[0, 1] > 0.75
        assert np.corrcoef(before, wanted)[0, 1] < 0.6
    np.testing.assert_allclose(sum(result.halves), result.average, atol=1e-3)
