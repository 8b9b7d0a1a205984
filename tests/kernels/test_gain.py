import numpy as np
import pytest

from nextpyp_nb.kernels import gain

ASYMMETRIC = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({}, [[1, 2, 3], [4, 5, 6]]),
        ({"rotation": 1}, [[3, 6], [2, 5], [1, 4]]),
        ({"rotation": 2}, [[6, 5, 4], [3, 2, 1]]),
        ({"rotation": 3}, [[4, 1], [5, 2], [6, 3]]),
        ({"flip_horizontal": True}, [[3, 2, 1], [6, 5, 4]]),
        ({"flip_vertical": True}, [[4, 5, 6], [1, 2, 3]]),
        ({"flip_horizontal": True, "rotation": 1}, [[1, 4], [2, 5], [3, 6]]),
        ({"flip_vertical": True, "rotation": 1}, [[6, 3], [5, 2], [4, 1]]),
    ],
)
def test_flips_come_before_turns(turn, expected):
    turned = gain.orient_gain(ASYMMETRIC, **turn)
    assert turned.dtype == np.float32
    np.testing.assert_array_equal(turned, expected)


def test_division_turns_a_response_into_a_factor_and_keeps_zero():
    response = np.array([[2.0, 0.0], [1.0, 3.0]])
    np.testing.assert_allclose(
        gain.orient_gain(response, operation="divide"), [[1, 0], [2, 2 / 3]], rtol=1e-6
    )


def test_unusable_gain_is_refused():
    with pytest.raises(ValueError, match="no positive pixel"):
        gain.orient_gain(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="'sum'"):
        gain.orient_gain(ASYMMETRIC, operation="sum")
    with pytest.raises(ValueError, match="3 axes"):
        gain.orient_gain(ASYMMETRIC[None])


def poisson_sum(level, shape=(200, 240), seed=0):
    return np.random.default_rng(seed).poisson(level, shape).astype(np.float32)


def test_pixels_lines_and_blocks_are_found():
    counts = poisson_sum(54.0)
    truth = np.zeros(counts.shape, bool)
    for y, x in [(20, 30), (0, 0), (199, 239), (90, 101)]:
        counts[y, x] = 500
        truth[y, x] = True
    counts[50, 60] = 0
    truth[50, 60] = True
    counts[:, 140] *= 1.3
    truth[:, 140] = True
    counts[120:126, 30:36] = 0
    counts[160:166, 80:86] = 400
    truth[120:126, 30:36] = truth[160:166, 80:86] = True
    found = gain.find_defects(counts)
    assert found[truth].all()
    assert (found & ~truth).sum() <= 2


def test_dead_pixels_of_the_gain_are_bad():
    factor = np.ones((200, 240), np.float32)
    factor[:, 7] = 0
    found = gain.find_defects(poisson_sum(20.0), factor)
    assert found[:, 7].all()
    assert found.sum() == 200


@pytest.mark.parametrize("level", [0.7, 4.0, 54.0, 2000.0])
def test_strong_ice_is_not_a_defect(level):
    y, x = np.mgrid[:200, :240]
    crystal = 1 / (1 + np.exp((np.hypot(y - 100, x - 90) - 40) / 1.5))
    contrast = (1 - 0.5 * crystal) * (1 + 0.4 * np.sin(x / 2.5) * crystal)
    found = gain.find_defects(poisson_sum(level * contrast))
    assert found.mean() < 1e-4


def test_a_sensor_without_a_good_pixel_is_refused():
    with pytest.raises(ValueError, match="every pixel"):
        gain.find_defects(np.full((8, 8), np.nan))
    with pytest.raises(ValueError, match="every pixel"):
        gain.replace_defects(np.ones((8, 8)), np.ones((8, 8), bool))


def test_replacement_keeps_the_statistics_and_differs_between_frames():
    frames = np.random.default_rng(3).poisson(3.4, (40, 64, 64)).astype(np.float32)
    bad = np.zeros((64, 64), bool)
    bad[20:40, 20:40] = True
    bad[:, 5] = True
    spoiled = np.where(bad, 99, frames).astype(np.float32)
    kept = spoiled.copy()
    fixed = gain.replace_defects(spoiled, bad, seed=1)
    np.testing.assert_array_equal(spoiled, kept)
    np.testing.assert_array_equal(fixed[:, ~bad], frames[:, ~bad])
    values = fixed[:, bad]
    assert values.mean() == pytest.approx(3.4, abs=0.05)
    assert values.var() == pytest.approx(3.4, abs=0.15)
    between = np.corrcoef(values.reshape(40, -1))[np.triu_indices(40, 1)]
    assert abs(between.mean()) < 0.02
    np.testing.assert_array_equal(gain.replace_defects(spoiled, bad, seed=1), fixed)


def test_neighbours_are_close():
    ramp = np.tile(np.arange(64, dtype=np.uint16), (64, 1))
    bad = np.zeros((64, 64), bool)
    bad[30, 30] = True
    assert abs(int(gain.replace_defects(ramp, bad)[30, 30]) - 30) <= 2


def test_a_wrong_size_names_both_shapes():
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(8, 8\)"):
        gain.replace_defects(np.ones((8, 8)), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(8, 8\)"):
        gain.find_defects(np.ones((8, 8)), np.ones((4, 4)))
