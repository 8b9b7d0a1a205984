import math

import numpy as np
import pytest
import scipy.fft

from nextpyp_nb.kernels.ctf_fit import estimate_ctf

PX, KV, CS, CONTRAST = 1.4, 300.0, 2.7, 0.1
LAM = 0.019687


def ringed(noise, defocus, *, signal=0.5, thickness=0.0):
    """The transform ``noise`` with shot noise + CTF² averaged over the depth of a slab."""
    ny, nx = noise.shape[0], 2 * (noise.shape[1] - 1)
    k2 = np.fft.rfftfreq(nx, PX)[None, :] ** 2 + np.fft.fftfreq(ny, PX)[:, None] ** 2
    chi = math.pi * LAM * defocus * k2 - 0.5 * math.pi * CS * 1e7 * LAM**3 * k2**2 + math.asin(CONTRAST)
    rings = 0.5 * (1 - np.sinc(LAM * k2 * thickness) * np.cos(2 * chi))
    power = 1 + signal * (1 + 4 * np.exp(-900 * k2)) * np.exp(-20 * k2) * rings
    return scipy.fft.irfft2(noise * np.sqrt(power).astype(np.float32), s=(ny, nx))


def tilted(side, defocus, tilt, axis, seed):
    """Defocus grows 90° counter-clockwise of ``axis``: blended slices of one defocus each."""
    noise = scipy.fft.rfft2(np.random.default_rng(seed).standard_normal((side, side), np.float32))
    place = PX * (np.arange(side) - 0.5 * (side - 1))
    across = math.radians(axis + 90)
    height = math.tan(math.radians(tilt)) * (place[:, None] * math.sin(across) + place * math.cos(across))
    levels = np.linspace(height.min(), height.max(), 14)
    image = np.zeros((side, side))
    for level in levels:
        share = np.clip(1 - np.abs(height - level) / (levels[1] - levels[0]), 0, None)
        image += np.sqrt(share) * ringed(noise, defocus + level)
    return (50 + 7 * image).astype(np.float32)


def fit(image, **options):
    return estimate_ctf(image, pixel_size=PX, voltage=KV, cs=CS, amplitude_contrast=CONTRAST, **options)


@pytest.mark.parametrize(("tilt", "axis"), [(20.0, 30.0), (45.0, -110.0)])
def test_tilt_and_its_axis_are_those_of_the_specimen(tilt, axis):
    found = fit(tilted(1200, 18000.0, tilt, axis, seed=1), tilt=True)
    assert found.tilt.tilt == pytest.approx(tilt, abs=3)
    assert abs((found.tilt.axis - axis + 180) % 360 - 180) < 6
    assert found.ctf.defocus == pytest.approx(18000, abs=60)


def test_a_flat_specimen_has_no_tilt_and_plane_and_plain_fit_agree():
    image = tilted(1200, 18000.0, 0.01, 0.0, seed=2)
    found, plain = fit(image, tilt=True), fit(image)
    assert found.tilt.tilt < 3 * found.tilt.error + 1
    assert found.ctf.defocus == pytest.approx(plain.ctf.defocus, abs=30)
    assert plain.tilt is None


@pytest.mark.parametrize("thickness", [1000.0, 2200.0])
def test_thickness_is_read_from_the_nodes(thickness):
    noise = scipy.fft.rfft2(np.random.default_rng(3).standard_normal((1200, 1200), np.float32))
    image = (50 + 7 * ringed(noise, 15000.0, signal=1.0, thickness=thickness)).astype(np.float32)
    found = fit(image, thickness=True)
    assert found.thickness == pytest.approx(thickness, rel=0.05)
    assert found.ctf.defocus == pytest.approx(15000, abs=40)
    assert found.ctf.fit_resolution < fit(image).ctf.fit_resolution


def test_a_thin_specimen_shows_no_thickness():
    noise = scipy.fft.rfft2(np.random.default_rng(4).standard_normal((1200, 1200), np.float32))
    image = (50 + 7 * ringed(noise, 15000.0)).astype(np.float32)
    assert fit(image, thickness=True).thickness is None
