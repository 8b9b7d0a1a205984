from dataclasses import replace

import numpy as np
import pytest

from nextpyp_nb.records import Ctf
from nextpyp_nb.simulate import Column, compose, optics
from nextpyp_nb.simulate.exposure import _Water


@pytest.mark.parametrize(
    ("voltage", "length", "constant"),
    [(300, 0.019687, 6.526e-4), (200, 0.025079, 7.288e-4), (100, 0.037014, 9.244e-4)],
)
def test_wavelength_and_interaction_constant_match_the_textbook(voltage, length, constant):
    assert optics.wavelength(voltage) == pytest.approx(length, rel=1e-4)
    assert optics.interaction_constant(voltage) == pytest.approx(constant, rel=2e-3)


def zeros(ctf, count):
    """Frequencies where √(1-A²) sin χ + A cos χ = 0, that is χ + asin A = nπ, before χ turns back."""
    length, cs = optics.wavelength(ctf.voltage), ctf.cs * 1e7
    phase = np.arange(1, count + 1) * np.pi - np.arcsin(ctf.amplitude_contrast)
    # π/2 Cs λ³ q² - πλΔf q + phase = 0 with q = k².
    a, b = 0.5 * np.pi * cs * length**3, np.pi * length * ctf.defocus
    return np.sqrt((b - np.sqrt(b * b - 4 * a * phase)) / (2 * a))


def test_point_scatterer_vanishes_at_the_zeros_of_the_ctf():
    column = Column(height=896, width=896, frames=1)
    exposure = compose(column, 0, "empty")
    point = np.zeros(column.canvas, np.float32)
    point[512, 512] = 0.5
    ctf = replace(exposure.ctf, defocus_u=12_000.0, defocus_v=12_000.0)
    scene = replace(exposure.scene, fixed=point)
    (image,) = replace(exposure, ctf=ctf, scene=scene).intensities(ice=False)
    line = np.abs(np.fft.rfft2(image)[0])
    frequency = np.fft.rfftfreq(image.shape[1], column.pixel_size)
    seen = frequency[1:-1][(line[1:-1] < line[:-2]) & (line[1:-1] < line[2:])]
    expected = zeros(ctf, 8)
    nearest = seen[np.abs(seen[:, None] - expected).argmin(axis=0)]
    np.testing.assert_allclose(nearest, expected, atol=frequency[1])


def test_defocus_angle_turns_from_x_towards_y():
    ctf = Ctf(
        defocus_u=20_000, defocus_v=10_000, defocus_angle=30, voltage=300, cs=2.7, amplitude_contrast=0.1
    )
    round_ctf = replace(ctf, defocus_u=20_000, defocus_v=20_000)
    along = 0.05 * np.array([[np.sin(np.radians(30))], [np.cos(np.radians(30))]], np.float32)
    across = 0.05 * np.array([[np.cos(np.radians(30))], [-np.sin(np.radians(30))]], np.float32)
    same = optics.contrast_transfer(*along, round_ctf)
    np.testing.assert_allclose(optics.contrast_transfer(*along, ctf), same, atol=1e-4)
    assert abs(optics.contrast_transfer(*across, ctf) - same) > 0.1


def test_under_focus_makes_matter_dark():
    exposure = compose(Column(height=256, width=256, frames=1), 0, "empty")
    blob = np.zeros(exposure.column.canvas, np.float32)
    blob[180:200, 180:200] = 0.2
    (image,) = replace(exposure, scene=replace(exposure.scene, proteins=blob)).intensities(ice=False)
    assert image[190, 190] < image.mean() * 0.95


def test_ice_keeps_its_strength_and_forgets_as_fast_as_it_says():
    column = Column(height=256, width=256, frames=2)
    ky, kx = optics.frequencies(column.canvas, column.pixel_size)
    k2 = ky**2 + kx**2
    water = _Water(column, k2, np.random.default_rng(4))
    patterns = [water.next() for _ in range(6)]
    band = (k2 > 0.15**2) & (k2 < 0.17**2)
    power = [np.mean(np.abs(p[band]) ** 2) for p in patterns]
    n = column.canvas[0] * column.canvas[1]
    expected = n * np.mean(optics.ice_noise(k2, column.ice_thickness, 300)[band] ** 2) / column.pixel_size**2
    np.testing.assert_allclose(power, expected, rtol=0.1)
    alike = np.vdot(patterns[0][band], patterns[1][band]).real / np.sqrt(power[0] * power[1]) / band.sum()
    assert alike == pytest.approx(optics.water_memory(k2, column.dose_per_frame)[band].mean(), abs=0.05)
