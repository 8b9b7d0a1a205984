import numpy as np
import pytest
import scipy.fft

from nextpyp_nb.kernels.quality import micrograph_quality
from nextpyp_nb.records import Ctf, MotionModel
from nextpyp_nb.simulate import optics

CTF = Ctf(
    defocus_u=12300.0, defocus_v=12000.0, defocus_angle=0.0, voltage=300.0, cs=2.7, amplitude_contrast=0.1
)
KEYS = {
    "total_motion",
    "early_motion",
    "late_motion",
    "astigmatism",
    "ice_ring",
    "ice_thickness",
    "mean_dose",
    "dose_evenness",
}


def image(ice=0.0, px=1.3, shape=(800, 1000)):
    """White noise with an envelope at low frequency and a sharp ring at 3.7 Å."""
    k = np.hypot(scipy.fft.fftfreq(shape[0], px)[:, None], scipy.fft.rfftfreq(shape[1], px)[None, :])
    power = 1 + np.exp(-((k / 0.08) ** 2)) + ice * np.exp(-(((k - 1 / 3.7) / 0.003) ** 2))
    noise = scipy.fft.rfft2(np.random.default_rng(0).standard_normal(shape, np.float32))
    return (50 + 7 * scipy.fft.irfft2(noise * np.sqrt(power), s=shape)).astype(np.float32)


def judge(average, *, px=1.3, motion=None, ctf=CTF):
    return micrograph_quality(average, pixel_size=px, motion=motion, ctf=ctf, mean_dose=1.5)


def test_motion_is_split_at_the_early_dose():
    shifts = np.cumsum([[0, 0], [3, 4], [0, 2], [1, 0], [0, 1]], axis=0).astype(np.float32)
    motion = MotionModel(shifts=shifts, pixel_size=2.0, dose_per_frame=2.0, height=800, width=1000)
    figures = judge(image(), motion=motion)
    assert set(figures) == KEYS
    assert figures["total_motion"] == pytest.approx(18)
    assert figures["early_motion"] == pytest.approx(14)
    assert figures["late_motion"] == pytest.approx(4)
    assert figures["astigmatism"] == pytest.approx(300)
    assert figures["mean_dose"] == 1.5


def test_what_is_unknown_is_nan():
    figures = judge(image(px=2.0), px=2.0, ctf=None)
    unknown = {name for name, value in figures.items() if np.isnan(value)}
    assert unknown == {
        "total_motion",
        "early_motion",
        "late_motion",
        "astigmatism",
        "ice_ring",
        "ice_thickness",
    }


@pytest.mark.parametrize("b_factor", [20.0, 60.0, 100.0])
def test_thickness_grows_with_water_and_not_with_crystals(b_factor):
    shape, px = (800, 1000), 1.3
    ky, kx = optics.frequencies(shape, px)
    k2 = ky**2 + kx**2
    response = 2 * optics.contrast_transfer(ky, kx, CTF) * optics.envelope(k2, b_factor) * np.sqrt(30)
    noise = scipy.fft.rfft2(np.random.default_rng(1).standard_normal(shape, np.float32))
    found = []
    for thickness in (100, 200, 400, 800):
        water = response * optics.ice_noise(k2, thickness, 300.0)
        flat = 50 + 7 * scipy.fft.irfft2(noise * np.sqrt(1 + water**2), s=shape)
        found.append(judge(flat.astype(np.float32))["ice_thickness"])
    assert np.diff(found).min() > 0.005
    assert judge(image(ice=2.0))["ice_thickness"] == pytest.approx(judge(image())["ice_thickness"], abs=0.03)


def test_ice_ring_rises_with_the_ice():
    scores = [judge(image(ice))["ice_ring"] for ice in (0.0, 0.5, 2.0)]
    assert scores[0] < 0.15
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] > 1.0


def test_dose_evenness_is_the_spread_of_the_illumination():
    flat = np.full((640, 960), 50, np.float32)
    assert judge(flat)["dose_evenness"] == 0.0
    ramp = flat * np.linspace(0.8, 1.2, 960, dtype=np.float32)
    expected = np.linspace(0.8, 1.2, 960).reshape(8, -1).mean(axis=1).std()
    assert judge(ramp)["dose_evenness"] == pytest.approx(expected, rel=1e-3)
