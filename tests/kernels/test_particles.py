"""Boxes against truth: a single pixel, a tilted plane, a known wave."""

import numpy as np
import pytest

from nextpyp_nb.kernels.particles import cropped_box, extract_particles


def noise(shape=(300, 400), seed=1):
    return np.random.default_rng(seed).normal(10.0, 2.0, shape).astype(np.float32)


def test_centre_comes_to_half_the_box_and_dark_turns_bright():
    average = np.full((300, 400), 5.0, np.float32) + 1e-3 * noise()
    average[120, 230] = 0.0
    images, kept = extract_particles(average, np.array([[119.6, 230.4]]), pixel_size=1.0, box_px=64)
    assert kept.tolist() == [True]
    assert np.unravel_index(images[0].argmax(), (64, 64)) == (32, 32)
    assert images[0, 32, 32] > 100


@pytest.mark.parametrize("target", [2.0, 2.5, 3.1])
def test_cropping_keeps_the_centre_pixel_and_the_field_of_view(target):
    y, x = np.mgrid[:300, :400]
    average = -np.exp(-((y - 150.0) ** 2 + (x - 200.0) ** 2) / (2 * 12.0**2)).astype(np.float32)
    average += 1e-4 * noise()
    images, _ = extract_particles(
        average, np.array([[150.0, 200.0]]), pixel_size=1.0, box_px=160, target_pixel_size=target
    )
    size = cropped_box(160, 1.0, target)
    pixel = 160 / size
    assert images.shape == (1, size, size)
    assert size % 2 == 0
    assert abs(pixel - target) < 0.05 * target
    image = images[0] / images[0].max()
    at = (np.arange(size) - size // 2) * pixel
    expected = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 12.0**2))
    np.testing.assert_allclose(image, expected, atol=5e-3)


def test_background_has_mean_zero_deviation_one_and_no_slope():
    y, x = np.mgrid[:300, :400]
    average = noise() + 0.5 * y.astype(np.float32) - 0.2 * x.astype(np.float32) + 3e4
    centres = np.array([[100.0, 150.0], [200.0, 260.0]])
    images, _ = extract_particles(
        average.astype(np.float32), centres, pixel_size=1.3, box_px=96, background_radius=50.0
    )
    at = np.arange(96) - 48
    outside = np.hypot(at[:, None], at[None, :]) * 1.3 > 50.0
    for image in images:
        assert abs(image[outside].mean()) < 1e-3
        assert image[outside].std() == pytest.approx(1.0, abs=1e-3)
        down, across = np.broadcast_arrays(at[:, None], at[None, :])
        assert abs(np.polyfit(down[outside], image[outside], 1)[0]) < 1e-4
        assert abs(np.polyfit(across[outside], image[outside], 1)[0]) < 1e-4


def test_boxes_that_leave_the_image_are_not_kept():
    centres = np.array([[31, 32], [32, 31], [32, 32], [268, 368], [269, 368], [268, 369], [-500, 50]])
    images, kept = extract_particles(noise(), centres, pixel_size=1.0, box_px=64)
    assert kept.tolist() == [False, False, True, True, False, False, False]
    assert images.shape == (2, 64, 64)


def test_no_particles_is_an_empty_stack():
    images, kept = extract_particles(noise(), np.empty((0, 2)), pixel_size=1.0, box_px=64)
    assert images.shape == (0, 64, 64)
    assert kept.shape == (0,)


def test_many_particles_equal_the_same_ones_alone():
    rng = np.random.default_rng(2)
    centres = rng.uniform(40, 260, (150, 2))
    average = noise()
    options = {"pixel_size": 1.0, "box_px": 64, "target_pixel_size": 2.0}
    together, _ = extract_particles(average, centres, **options)
    for i in (0, 63, 64, 149):
        alone, _ = extract_particles(average, centres[i : i + 1], **options)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4)


def test_inputs_are_left_alone():
    average, centres = noise(), np.array([[100.0, 100.0]])
    average.setflags(write=False)
    centres.setflags(write=False)
    extract_particles(average, centres, pixel_size=1.0, box_px=64)


def test_an_impossible_box_says_what_to_do():
    with pytest.raises(ValueError, match="even number"):
        extract_particles(noise(), np.array([[100, 100]]), pixel_size=1.0, box_px=63)
    with pytest.raises(ValueError, match="larger box or a smaller background radius"):
        extract_particles(noise(), np.array([[100, 100]]), pixel_size=1.0, box_px=64, background_radius=60.0)
