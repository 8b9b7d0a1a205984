"""On a real GPU: what the host's stand-in proves of the arithmetic, CuPy and the card must give too."""

import numpy as np
import pytest

from nextpyp_nb.kernels.backend import gpu_count, to_device, to_numpy
from nextpyp_nb.kernels.motion import correct_motion

pytestmark = pytest.mark.gpu
POOL = 4 * 10**9


@pytest.fixture
def cupy():
    if gpu_count() == 0:
        pytest.skip("no GPU here, or no CuPy")
    module = pytest.importorskip("cupy")
    pool = module.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=POOL)
    yield module
    pool.set_limit(size=0)


@pytest.mark.parametrize(
    ("n", "shape", "pixel_size"),
    [(20, (1024, 1024), 1.0), (50, (4092, 5760), 1.0), (50, (4092, 5760), 1.5)],
)
def test_motion_is_that_of_the_cpu_within_four_gigabytes(cupy, n, shape, pixel_size):
    rng = np.random.default_rng(61)
    margin = 64
    blobs = rng.normal(size=[(side + 2 * margin) // 8 for side in shape]).astype(np.float32)
    texture = np.maximum(1 + 0.5 * np.kron(blobs, np.ones((8, 8), np.float32)), 0.05)
    frames = np.empty((n, *shape), np.uint8)
    for number, shift in enumerate(np.round(12 * np.sqrt(np.arange(n) / n)).astype(int)):
        there = texture[shift : shift + shape[0], margin // 2 - shift :][:, : shape[1]]
        frames[number] = rng.poisson(there)
    known = {"pixel_size": pixel_size, "voltage": 300.0, "dose_per_frame": 1.0}
    host = correct_motion(frames, **known)
    found = correct_motion(to_device(frames, 0), **known)
    assert cupy.get_default_memory_pool().total_bytes() <= POOL
    np.testing.assert_allclose(found.motion.shifts, host.motion.shifts, atol=0.02)
    for name in ("average", "weighted"):
        pair = [to_numpy(getattr(result, name)).ravel() for result in (found, host)]
        assert np.corrcoef(*pair)[0, 1] > 0.99999
