import numpy as np

from nextpyp_nb.kernels.motion import correct_motion

KNOWN = {"pixel_size": 3.0, "voltage": 300.0, "dose_per_frame": 2.0, "hot_pixels": False, "halves": True}


def frames(n):
    return np.random.default_rng(n).poisson(3.0, (n, 96, 128)).astype(np.uint8)


def test_unaligned_halves_are_the_even_and_the_odd_frames_from_1():
    movie = frames(5)
    even, odd = correct_motion(movie, method="none", **KNOWN).halves
    np.testing.assert_allclose(even, movie[1::2].sum(axis=0) / 5, atol=1e-5)
    np.testing.assert_allclose(odd, movie[::2].sum(axis=0) / 5, atol=1e-5)


def test_aligned_halves_add_up_to_the_mean_and_share_no_noise():
    still = np.random.default_rng(0).uniform(1, 5, (192, 256))
    rng = np.random.default_rng(1)
    movie = np.stack([rng.poisson(np.roll(still, (f, -f), (0, 1))) for f in range(8)]).astype(np.uint8)
    result = correct_motion(movie, binning=2, **KNOWN)
    assert result.motion.shifts[-1, 0] > 6
    even, odd = result.halves
    np.testing.assert_allclose(even + odd, result.average, atol=1e-4)
    noise = correct_motion(frames(8), method="none", **KNOWN).halves
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03


def test_one_frame_is_odd():
    even, odd = correct_motion(frames(1), method="none", **KNOWN).halves
    assert not even.any()
    np.testing.assert_allclose(odd, frames(1)[0], atol=1e-5)
