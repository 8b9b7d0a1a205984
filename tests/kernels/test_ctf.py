import numpy as np
import pytest

from nextpyp_nb.kernels.ctf import ctf_1d, ctf_image, wavelength
from nextpyp_nb.records import Ctf


def make_ctf(**changes) -> Ctf:
    values = {
        "defocus_u": 15500.0,
        "defocus_v": 14500.0,
        "defocus_angle": 30.0,
        "voltage": 300.0,
        "cs": 2.7,
        "amplitude_contrast": 0.1,
    }
    return Ctf(**(values | changes))


@pytest.mark.parametrize(("voltage", "expected"), [(100, 0.037014), (200, 0.025079), (300, 0.019687)])
def test_wavelength_agrees_with_the_textbook(voltage, expected):
    assert wavelength(voltage) == pytest.approx(expected, rel=5e-5)


def test_curve_starts_at_the_amplitude_contrast_and_first_zero_is_where_the_phase_is_pi():
    k = np.linspace(0, 0.3, 30001)
    curve = ctf_1d(k, defocus=15000, voltage=300, cs=2.7, amplitude_contrast=0.1)
    assert curve.dtype == np.float32
    assert curve[0] == pytest.approx(0.1)
    first_zero = k[np.flatnonzero(np.diff(np.sign(curve)))[0]]
    lam = wavelength(300)
    phase = np.pi * lam * 15000 * first_zero**2 - 0.5 * np.pi * 2.7e7 * lam**3 * first_zero**4
    assert phase + np.arcsin(0.1) == pytest.approx(np.pi, abs=2e-3)
    assert curve[: len(k) // 100].min() > 0


def test_phase_shift_of_180_degrees_flips_the_sign():
    k = np.linspace(0, 0.3, 500)
    args = {"defocus": 9000, "voltage": 200, "cs": 2.0, "amplitude_contrast": 0.07}
    np.testing.assert_allclose(ctf_1d(k, **args), -ctf_1d(k, **args, phase_shift=180.0), atol=1e-6)


def test_image_without_astigmatism_is_the_curve_of_its_radius():
    ctf = make_ctf(defocus_u=12000.0, defocus_v=12000.0)
    image = ctf_image(ctf, shape=(96, 128), pixel_size=1.3)
    assert image.shape == (96, 65)
    assert image.dtype == np.float32
    k = np.hypot(np.fft.fftfreq(96, 1.3)[:, None], np.fft.rfftfreq(128, 1.3)[None, :])
    curve = ctf_1d(k, defocus=12000, voltage=300, cs=2.7, amplitude_contrast=0.1)
    np.testing.assert_allclose(image, curve, atol=2e-4)


@pytest.mark.parametrize(
    ("angle", "row", "column"), [(0.0, 0, 20), (90.0, 20, 0), (45.0, 20, 20), (-45.0, -20, 20)]
)
def test_defocus_u_lies_along_the_angle_counter_clockwise_from_x(angle, row, column):
    ctf = make_ctf(defocus_angle=angle)
    image = ctf_image(ctf, shape=(128, 128), pixel_size=1.3)
    k = np.hypot(row, column) / (128 * 1.3)
    expected = ctf_1d(np.array([k]), defocus=15500, voltage=300, cs=2.7, amplitude_contrast=0.1)
    assert image[row, column] == pytest.approx(expected[0], abs=1e-4)
