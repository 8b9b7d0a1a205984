"""What motion correction holds on a GPU, accounted for with the stand-in at a hundredth of the area."""

import tracemalloc

import numpy as np
import pytest

from nextpyp_nb.kernels import _gpu_motion, correlation, local_motion
from nextpyp_nb.kernels.motion import correct_motion

FRAMES, HEIGHT, WIDTH = 50, 4092, 5760
SMALLER = 10
LIMIT = 4 * 10**9
# What cuFFT works in: as much as it transforms at once, and more for sides with large factors.
WORK = 4 * 8 * HEIGHT * (WIDTH // 2 + 1)


@pytest.mark.parametrize("pixel_size", [1.0, 1.5])
def test_a_k3_movie_fits_into_four_gigabytes(device, monkeypatch, pixel_size):
    if device.array.__module__.startswith("cupy"):
        pytest.skip("a card measures it in test_gpu")
    shape = HEIGHT // SMALLER, WIDTH // SMALLER
    frames = np.random.default_rng(62).poisson(1.0, (FRAMES, *shape)).astype(np.uint8)
    known = {"pixel_size": pixel_size, "voltage": 300.0, "dose_per_frame": 1.0}
    # The patches are as large as ever: as many fewer at once.
    for module, name in ((local_motion, "PATCHES_AT_ONCE"), (correlation, "SETS_AT_ONCE")):
        monkeypatch.setattr(module, name, max(1, round(getattr(module, name) / SMALLER**2)))

    def no_sums(raw, _factor, _good, weights, *_, xp):
        return xp.zeros((len(weights), *raw.shape[1:]), np.float32)

    monkeypatch.setattr(_gpu_motion, "sum_moved", no_sums)
    correct_motion(device.put(frames[:8, :128, :128]), **known)  # compiles and caches
    tracemalloc.start()
    try:
        there, gain = device.put(frames), device.put(np.ones(shape, np.float32))
        correct_motion(there, gain=gain, **known)
        peak = SMALLER**2 * tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak > FRAMES * HEIGHT * WIDTH
    assert peak + WORK < LIMIT
