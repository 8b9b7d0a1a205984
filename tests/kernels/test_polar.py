"""Rings and harmonics against plain images: rotation, shift, mask, power."""

import numpy as np
import pytest
import scipy.fft

from nextpyp_nb.kernels.class2d_particles import ring_images
from nextpyp_nb.kernels.polar import (
    PolarGrid,
    half_turn,
    harmonics,
    radial_window,
    ring_power,
    ring_product,
    rotate,
)

BOX = 64
GRID = PolarGrid.covering(BOX, 24, 26)
SPOTS = np.array(
    [(6.0, -9.0, 1.0, 3.0), (-8.0, 3.0, 0.7, 2.5), (2.0, 10.0, 0.5, 4.0), (-3.0, -8.0, 0.8, 2.2)]
)


def drawing(degrees=0.0, shift=(0.0, 0.0)):
    """Gaussian spots turned counter-clockwise (y up), then moved by (y, x)."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    image = np.zeros((BOX, BOX))
    for sy, sx, height, width in SPOTS:
        at_x, at_y = c * sx - s * sy + shift[1], s * sx + c * sy + shift[0]
        image += height * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * width**2))
    return image.astype(np.float32)


def likeness(a, b):
    """Correlation of two images."""
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def sampled(image):
    return ring_images(image[None], GRID)


def test_samples_are_the_transform_at_those_frequencies():
    image = drawing()
    ky, kx = GRID.frequencies
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    for ring, angle in ((0, 3), (4, 0), (9, 17), (20, 40)):
        wave = np.exp(-2j * np.pi * (ky[ring, angle] * y + kx[ring, angle] * x))
        expected = (image * wave).sum() / BOX
        assert sampled(image)[0, ring, angle] == pytest.approx(expected, abs=2e-2)


def test_an_image_comes_back_from_its_rings():
    assert likeness(GRID.image(sampled(drawing()))[0], drawing()) > 0.99


def test_harmonics_are_undone_exactly():
    half = sampled(drawing())
    np.testing.assert_allclose(half_turn(harmonics(half), GRID.angles), half, atol=1e-5)


@pytest.mark.parametrize("degrees", [17.0, -130.0])
def test_rotation_is_counter_clockwise_with_y_up(degrees):
    turned = rotate(harmonics(sampled(drawing())), [degrees])
    image = GRID.image(half_turn(turned, GRID.angles))[0]
    assert likeness(image, drawing(degrees)) > 0.99
    assert likeness(image, drawing(-degrees)) < 0.9


def test_phases_move_an_image_back_by_the_shift():
    moved = sampled(drawing(shift=(3.0, -5.0))) * GRID.phases(np.array([[3.0, -5.0]]))
    assert likeness(GRID.image(moved)[0], drawing()) > 0.99


def test_mask_operator_is_a_mask_in_the_image():
    window = radial_window(9.0, 5.0, BOX)
    spectrum = harmonics(sampled(drawing()))[0]
    masked = np.einsum("mij,jm->im", GRID.mask_operator(window), spectrum)
    image = GRID.image(half_turn(masked[None].astype(np.complex64), GRID.angles))[0]
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    plain = GRID.image(sampled(drawing()))[0] * np.interp(np.hypot(y, x), 0.5 * np.arange(1, BOX + 1), window)
    assert likeness(image, plain) > 0.99


def test_ring_power_of_white_noise_is_one_and_products_are_real_space_products():
    noise = np.random.default_rng(1).standard_normal((40, BOX, BOX)).astype(np.float32)
    spectra = harmonics(ring_images(noise, GRID))
    assert ring_power(spectra, GRID)[:, 3:].mean() == pytest.approx(1.0, abs=0.15)
    a, b = drawing(), drawing(40.0)
    rho = np.arange(1, GRID.rings + 1)
    rings = ring_product(harmonics(sampled(a)), harmonics(sampled(b)), GRID)[0]
    direct = ((a - a.mean()) * (b - b.mean())).sum()
    assert (2 * np.pi * rho * rings).sum() == pytest.approx(direct, rel=0.15)


def test_angles_have_small_factors():
    for rings in range(5, 60, 7):
        angles = PolarGrid.covering(96, rings, 36).angles
        assert angles % 4 == 0
        assert scipy.fft.next_fast_len(angles, real=True) == angles
