import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.stats import poisson

from nextpyp_nb.simulate.detector import HOT_RATE, build_camera, count
from nextpyp_nb.simulate.motion import Motion


def still(local=0.0):
    rng = np.random.default_rng(5)
    return Motion(shifts=np.zeros((1, 2)), local=local * rng.normal(size=(2, 5)), profile=np.ones(1))


@pytest.mark.parametrize("rate", [0.0, 0.3, 3.4, 40.0])
def test_counts_are_poisson(rate):
    canvas, flat = np.full((600, 600), rate, np.float32), np.ones((512, 512), np.float32)
    counts = count(canvas, flat, still(), 0, np.random.default_rng(1)).astype(int)
    assert counts.mean() == pytest.approx(rate, abs=5 * np.sqrt(rate) / 512)
    assert counts.var() == pytest.approx(rate, rel=0.02)
    seen = np.bincount(counts.ravel(), minlength=100)[:100]
    expected = poisson.pmf(np.arange(100), rate) * counts.size
    assert (np.abs(seen - expected) < 6 * np.sqrt(expected) + 6).all()


def test_counts_follow_the_displaced_image():
    rng = np.random.default_rng(2)
    shape, canvas = (256, 320), rng.uniform(5, 60, (320, 384)).astype(np.float32)
    motion = still(local=3.0)
    y, x = np.indices(shape).astype(float)
    v, u = (y + 0.5) / shape[0] - 0.5, (x + 0.5) / shape[1] - 0.5
    dy, dx = np.einsum("ab,b...->a...", motion.local, [u, v, u * u - 1 / 12, u * v, v * v - 1 / 12])
    expected = map_coordinates(canvas, [y + 32 - dy, x + 32 - dx], order=3, prefilter=False)
    counts = count(canvas, np.ones(shape, np.float32), motion, 0, rng)
    surprise = (counts - expected) / np.sqrt(expected)
    assert surprise.mean() == pytest.approx(0, abs=0.02)
    assert surprise.var() == pytest.approx(1, rel=0.03)


def test_gain_flattens_the_counts():
    camera = build_camera(np.random.default_rng(3), 200, 300)
    canvas, rng = np.full((260, 360), 3.0, np.float32), np.random.default_rng(4)
    frames = [count(canvas, camera.sensitivity(), still(), 0, rng) for _ in range(300)]
    flat = np.mean(frames, axis=0) * camera.gain
    good = (camera.gain > 0) & ~camera.hot
    assert flat[good].mean() == pytest.approx(3.0, rel=0.002)
    # What is left is the counting noise of 300 frames: sqrt(3 × gain / 300).
    assert flat[good].std() == pytest.approx(0.1, rel=0.05)
    assert (np.mean(frames, axis=0)[camera.gain == 0] == 0).all()
    assert np.mean(frames, axis=0)[camera.hot].mean() == pytest.approx(3.0 * HOT_RATE, rel=0.05)
    assert camera.gain[good].std() > 0.03
    assert camera.gain[:, 93].max() == 0
