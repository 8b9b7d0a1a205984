"""The size of particles, from micrographs alone: balls of known radius, noise, and one bad micrograph."""

import numpy as np
import pytest

from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.particle_size import DIAMETERS, REACH, likely_radius, size_curve
from nextpyp_nb.records import Ctf

CTF = Ctf(
    defocus_u=15_000, defocus_v=14_800, defocus_angle=20, voltage=300, cs=2.7, amplitude_contrast=0.1
)  # fmt: skip


def drawn(side, pixel, radius, *, seed=0, spacing=2.7, contrast=0.3):
    """A micrograph of solid balls (dark) under a CTF with white noise, ``spacing`` radii apart."""
    rng = np.random.default_rng(seed)
    step = spacing * radius / pixel
    grid = np.mgrid[step : side - step : step, step : side - step : step].reshape(2, -1).T
    specimen = np.zeros((side, side))
    y, x = np.ogrid[:side, :side]
    for cy, cx in grid + rng.uniform(-0.1, 0.1, grid.shape) * step:
        specimen += np.sqrt(np.clip(1.0 - ((y - cy) ** 2 + (x - cx) ** 2) * (pixel / radius) ** 2, 0.0, None))
    transform = np.fft.rfft2(specimen) * ctf_image(CTF, shape=(side, side), pixel_size=pixel)
    image = rng.normal(size=(side, side)) - contrast * 10 * np.fft.irfft2(transform, s=(side, side))
    return (50 + 5 * image).astype(np.float32)


@pytest.mark.parametrize(("radius", "pixel"), [(40.0, 2.5), (75.0, 4.0), (150.0, 8.0)])
@pytest.mark.parametrize("spacing", [2.2, 4.0])
def test_the_ball_that_fits_is_found_however_densely_particles_lie(radius, pixel, spacing):
    side = round(22 * radius / pixel)
    average = drawn(side, pixel, radius, seed=1, spacing=spacing)
    curve = size_curve(average, pixel_size=pixel, ctf=CTF)
    # Proteins reach further than the ball that fits them best.
    assert likely_radius([curve]) / REACH == pytest.approx(radius, rel=0.2)


def test_noise_tells_nothing():
    noise = np.random.default_rng(3).normal(50, 5, (400, 400)).astype(np.float32)
    curve = size_curve(noise, pixel_size=4.0, ctf=CTF)
    assert curve.max() == 0
    assert likely_radius([curve]) is None
    assert likely_radius([]) is None


def test_the_middle_micrograph_decides_and_empty_ones_do_not_count():
    right, wrong, empty = np.zeros((3, len(DIAMETERS)))
    right[7:14] = 1, 4, 6, 7, 6, 4, 1
    wrong[20:24] = 1e3
    alone = likely_radius([right])
    assert likely_radius([right, 3 * right, wrong, empty]) == pytest.approx(alone)
    assert alone == pytest.approx(0.5 * DIAMETERS[10], rel=0.2)


def test_sizes_that_do_not_fit_the_field_or_the_pixels_are_left_out():
    average = drawn(300, 8.0, 150.0, spacing=2.7)
    assert size_curve(average, pixel_size=8.0, ctf=CTF).any()
    assert not size_curve(average[:100, :100], pixel_size=8.0, ctf=CTF)[DIAMETERS > 1.4 * 178].any()
    assert not size_curve(average, pixel_size=150.0, ctf=CTF).any()
