"""What stands in for bad pixels in an average is as if they had counted there."""

import numpy as np

from nextpyp_nb.kernels.motion import correct_motion

SHAPE, FRAMES = (256, 320), 24


def test_hot_and_cold_pixels_are_replaced_by_what_poisson_statistics_expect():
    rng = np.random.default_rng(11)
    level = np.linspace(0.4, 2.5, SHAPE[1])
    frames = rng.poisson(np.broadcast_to(level, (FRAMES, *SHAPE))).astype(np.uint8)
    kind = rng.choice(3, SHAPE, p=[0.985, 0.01, 0.005])
    # Cold pixels can only be told where there is enough to miss.
    hot, cold = kind == 1, (kind == 2) & (level > 1.5)
    frames[:, hot] = rng.poisson(30, (FRAMES, hot.sum()))
    frames[:, cold] = 0
    result = correct_motion(frames, pixel_size=2.0, voltage=300, dose_per_frame=None, method="none")
    assert result.defects[hot].all()
    assert result.defects[cold].all()
    assert (result.defects & ~hot & ~cold).sum() < 10
    total, expected = result.average * FRAMES, np.broadcast_to(level * FRAMES, SHAPE)
    for pixels in (hot, cold):
        error = (total - expected)[pixels] / np.sqrt(expected[pixels])
        n = pixels.sum()
        assert abs(error.mean()) < 5 / np.sqrt(n)
        # As wide as counts are: neither smoothed, nor the same donor in every frame.
        assert abs(error.var() - 1) < 5 * np.sqrt(2 / n)
        # Skewed to the right, as Poisson counts are.
        assert error.max() < 6
        assert error.min() > -5


def test_every_frame_has_its_own_stand_in():
    rng = np.random.default_rng(12)
    frames = rng.poisson(3.0, (2, *SHAPE)).astype(np.uint8)
    bad = rng.random(SHAPE) < 0.02
    known = {"pixel_size": 2.0, "voltage": 300, "dose_per_frame": None, "method": "none"}
    first, second = (
        correct_motion(frames, defects=bad, first_frame=n, last_frame=n, hot_pixels=False, **known).average
        for n in (0, 1)
    )
    values = np.concatenate([first[bad], second[bad]])
    np.testing.assert_allclose(values, np.rint(values), atol=1e-4)
    often = np.bincount(np.rint(values).astype(int), minlength=12)[:12] / len(values)
    poisson = np.exp(-3.0) * 3.0 ** np.arange(12) / np.cumprod([1, *range(1, 12)])
    assert np.abs(often - poisson).max() < 4 * np.sqrt(0.25 / len(values))
    assert abs(np.corrcoef(first[bad], second[bad])[0, 1]) < 4 / np.sqrt(bad.sum())
