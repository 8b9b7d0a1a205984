import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from scipy.stats import spearmanr

from nextpyp_nb.kernels import ctf_fit
from nextpyp_nb.kernels.ctf_fit import CtfFailed, estimate_ctf
from nextpyp_nb.kernels.ctf_joined import joined
from nextpyp_nb.kernels.fringes import UNEVEN_FLAT, FringeModel, Optics
from nextpyp_nb.kernels.spectrum import Spectrum, power_spectrum

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def textbook_ctf(ny, nx, px, kv, cs, contrast, u, v, angle, phase=0.0):
    """Written apart from the package: Reimer's phase with the ellipse U cos² + V sin²."""
    volts = kv * 1e3
    lam = 12.2643 / math.sqrt(volts + 0.978476e-6 * volts**2)
    fy, fx = np.fft.fftfreq(ny, px)[:, None], np.fft.rfftfreq(nx, px)[None, :]
    k2 = fx**2 + fy**2
    turn = np.arctan2(fy, fx + 0 * fy) - math.radians(angle)
    defocus = u * np.cos(turn) ** 2 + v * np.sin(turn) ** 2
    chi = math.pi * lam * defocus * k2 - 0.5 * math.pi * cs * 1e7 * lam**3 * k2**2 + math.radians(phase)
    return math.sqrt(1 - contrast**2) * np.sin(chi) + contrast * np.cos(chi), k2, (fy, fx)


def micrograph(
    seed,
    *,
    shape=(1024, 1200),
    px=1.3,
    kv=300.0,
    cs=2.7,
    u,
    v,
    angle,
    signal=0.3,
    b=40.0,
    phase=0.0,
    drift=(0, 0),
):
    """Gaussian noise whose spectrum is white noise + low-frequency excess + CTF² under an envelope."""
    ny, nx = shape
    ctf, k2, (fy, fx) = textbook_ctf(ny, nx, px, kv, cs, 0.1, u, v, angle, phase)
    envelope = np.exp(-b * k2 / 2) * np.sinc(fy * drift[0] + fx * drift[1]) ** 2
    power = 1 - k2 * px**2 + signal * (1 + 8 * np.exp(-900 * k2)) * envelope * ctf**2 + 3 * np.exp(-3600 * k2)
    noise = scipy.fft.rfft2(np.random.default_rng(seed).standard_normal(shape, np.float32))
    image = scipy.fft.irfft2(noise * np.sqrt(power).astype(np.float32), s=shape)
    return (50 + math.sqrt(50) * image).astype(np.float32)


def fit(image, px=1.3, kv=300.0, cs=2.7, **changes):
    return estimate_ctf(image, pixel_size=px, voltage=kv, cs=cs, amplitude_contrast=0.1, **changes)


def astigmatism_error(ctf, u, v, angle):
    """Length of the difference of two astigmatisms as vectors of twice the angle, Å."""
    found = ctf.astigmatism * np.exp(2j * math.radians(ctf.defocus_angle))
    return abs(found - (u - v) * np.exp(2j * math.radians(angle)))


@pytest.mark.parametrize(
    ("u", "v", "angle", "px", "kv", "cs"),
    [
        (5600, 5400, 20, 1.3, 300, 2.7),
        (12000, 11000, -70, 1.3, 300, 2.7),
        (15100, 14900, 45, 1.05, 200, 2.0),
        (25400, 24600, 89, 0.83, 300, 0.01),
        (40200, 39800, 0, 1.05, 200, 2.7),
    ],
)
def test_defocus_and_astigmatism_of_simulated_images(u, v, angle, px, kv, cs):
    image = micrograph(3, px=px, kv=kv, cs=cs, u=u, v=v, angle=angle)
    ctf = fit(image, px, kv, cs).ctf
    assert ctf.defocus == pytest.approx(0.5 * (u + v), abs=60)
    assert astigmatism_error(ctf, u, v, angle) < 200
    assert -90 <= ctf.defocus_angle <= 90
    assert ctf.phase_shift == 0.0


def test_error_bar_covers_the_scatter():
    ratios = []
    for seed in range(12):
        defocus = 8000 + 1500 * seed
        image = micrograph(seed, shape=(700, 800), u=defocus + 100, v=defocus - 100, angle=10 * seed)
        ctf = fit(image).ctf
        ratios.append((ctf.defocus - defocus) / ctf.defocus_error)
    assert 0.3 < np.sqrt(np.mean(np.square(ratios))) < 2.0


def test_resolution_and_score_grow_with_the_signal():
    signals = [0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.6]
    found = [fit(micrograph(1, u=14200, v=13900, angle=5, signal=s, b=60.0)).ctf for s in signals]
    assert spearmanr(signals, [c.fit_resolution for c in found]).statistic < -0.9
    assert spearmanr(signals, [c.score for c in found]).statistic > 0.9


def test_drift_does_not_look_like_astigmatism():
    image = micrograph(2, u=14000, v=14000, angle=0, signal=0.5, drift=(0.0, 4.0))
    assert fit(image).ctf.astigmatism < 120


def test_phase_shift_is_found_with_the_defocus():
    image = micrograph(4, u=12100, v=11900, angle=30, signal=0.6, phase=70.0)
    ctf = fit(image, phase_shift=True).ctf
    assert ctf.phase_shift == pytest.approx(70, abs=6)
    assert ctf.defocus == pytest.approx(12000, abs=120)


def test_spectra_of_frames_are_not_blurred_by_their_motion():
    still, none = (micrograph(3, u=15000, v=14600, angle=20, signal=s, b=20.0) for s in (6.0, 0.0))
    rings = scipy.fft.rfft2((still - none) / 6)
    x = np.fft.rfftfreq(still.shape[1])
    shots = (micrograph(20 + n, u=15000, v=14600, angle=20, signal=0.0) for n in range(6))
    moved = (scipy.fft.irfft2(rings * np.exp(-2j * np.pi * x * 1.5 * n), s=still.shape) for n in range(6))
    frames = np.stack([a + b for a, b in zip(shots, moved, strict=True)]).astype(np.float32)
    found, blurred = fit(frames).ctf, fit(frames.sum(axis=0)).ctf
    assert found.defocus == pytest.approx(14800, abs=60)
    assert astigmatism_error(found, 15000, 14600, 20) < 150
    assert found.fit_resolution < blurred.fit_resolution


def test_astigmatism_can_be_left_out():
    image = micrograph(5, u=12500, v=11900, angle=30)
    ctf = fit(image, astigmatism=False).ctf
    assert ctf.astigmatism == 0.0
    assert ctf.defocus == pytest.approx(12200, abs=60)


def test_a_bright_ring_of_ice_is_not_taken_for_a_fringe():
    image = micrograph(7, shape=(1024, 1024), u=15500, v=15000, angle=30, signal=0.4)
    transform = scipy.fft.rfft2(image)
    k = np.hypot(np.fft.fftfreq(1024, 1.3)[:, None], np.fft.rfftfreq(1024, 1.3)[None, :])
    transform *= 1 + 2 * np.exp(-(((k - 1 / 3.7) / 0.003) ** 2))
    ctf = fit(scipy.fft.irfft2(transform, s=image.shape).astype(np.float32)).ctf
    assert ctf.defocus == pytest.approx(15250, abs=60)
    assert astigmatism_error(ctf, 15500, 15000, 30) < 150


def test_static_noise_has_no_ctf():
    noise = np.random.default_rng(0).poisson(50, (1024, 1024)).astype(np.float32)
    with pytest.raises(CtfFailed, match="no Thon rings"):
        fit(noise)


def test_an_image_that_fits_no_rings_anywhere_is_refused():
    k2 = np.fft.rfftfreq(512, 1.3)[None, :] ** 2 + np.fft.fftfreq(512, 1.3)[:, None] ** 2
    noise = scipy.fft.rfft2(np.random.default_rng(1).standard_normal((512, 512), np.float32))
    steep = scipy.fft.irfft2(noise * np.exp(-40 * k2), s=(512, 512))
    with pytest.raises(CtfFailed):
        fit((50 + steep).astype(np.float32))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((600, 600), 50, np.float32), "blank"),
        (np.full((600, 600), np.nan, np.float32), "not numbers"),
        (np.zeros((600, 20), np.float32), "at least 64 px"),
    ],
)
def test_hopeless_images_are_refused_with_a_reason(image, reason):
    with pytest.raises(CtfFailed, match=reason):
        fit(image)


def test_crossed_ranges_are_refused():
    image = micrograph(5, shape=(256, 256), u=12500, v=11900, angle=30)
    with pytest.raises(ValueError, match="expected a coarser before a finer"):
        fit(image, min_resolution=3.0, max_resolution=30.0)


def test_profile_and_picture_show_the_fit():
    estimate = fit(micrograph(6, u=15800, v=15000, angle=25, signal=1.0))
    profile, picture = estimate.profile, estimate.spectrum
    for curve in (profile.radial_average, profile.equiphase_average, profile.fit, profile.quality):
        assert curve.shape == profile.frequency.shape
        assert curve.dtype == np.float32
        assert 0 <= curve.min() <= curve.max() <= 1
    band = (profile.frequency > 1 / 20) & (profile.frequency < 1 / 5)
    equal = np.corrcoef(profile.equiphase_average[band], profile.fit[band])[0, 1]
    plain = np.corrcoef(profile.radial_average[band], profile.fit[band])[0, 1]
    assert equal > 0.9
    assert equal > plain
    assert picture.dtype == np.uint8
    assert picture.shape[0] == picture.shape[1] <= 512
    half = picture.shape[1] // 2
    # A spectrum equals itself turned by half a turn: the fit at left must lie on the rings at right.
    left = picture[1:, 1:half][::-1, ::-1].astype(float)
    right = picture[1:, half + 1 :].astype(float)
    radius = np.hypot(np.arange(left.shape[0])[:, None] - left.shape[0] // 2, np.arange(left.shape[1]) + 1)
    ring = (radius > 40) & (radius < 120)
    assert np.corrcoef(left[ring], right[ring])[0, 1] > 0.4


def test_white_noise_has_unit_power_and_groups_of_tiles_average_to_it():
    image = np.random.default_rng(1).poisson(40, (900, 1300)).astype(np.float32)
    spectrum = power_spectrum(image, pixel_size=1.5, tile=256)
    assert spectrum.power[3:, 3:].mean() == pytest.approx(1.0, rel=0.02)
    assert spectrum.groups.shape == (len(spectrum.shares), *spectrum.power.shape)
    np.testing.assert_allclose(np.tensordot(spectrum.shares, spectrum.groups, 1), spectrum.power, rtol=1e-4)


def test_fine_pixels_give_a_coarser_grid_of_the_same_size():
    image = np.random.default_rng(1).poisson(40, (1100, 1100)).astype(np.float32)
    spectrum = power_spectrum(image, pixel_size=0.7, tile=256)
    assert spectrum.size == 256
    assert spectrum.pixel_size == pytest.approx(1.4, rel=0.03)


def test_a_chunk_of_ice_is_left_out():
    image = np.random.default_rng(2).poisson(40, (1536, 1536)).astype(np.float32)
    image[200:330, 200:330] *= 0.3
    spectrum = power_spectrum(image, pixel_size=1.4, tile=256)
    assert 1 <= spectrum.n_dropped <= 9
    assert spectrum.power[1:5, 1:5].mean() == pytest.approx(1.0, rel=0.15)


@pytest.mark.shared
@pytest.mark.parametrize("number", [2, 4, 6])
def test_sums_of_another_program_give_the_true_defocus(number):
    path = SHARED / "aligned" / f"mov_{number:04d}_relion_noDW_f16.mrc"
    if not path.exists():
        pytest.skip("the shared test data is not here")
    mrcfile = pytest.importorskip("mrcfile")
    truth = json.loads((SHARED / "truth" / f"mov_{number:04d}.json").read_text())
    ctf = fit(np.asarray(mrcfile.read(path), np.float32)).ctf
    assert ctf.defocus == pytest.approx(0.5 * (truth["defocus_u"] + truth["defocus_v"]), abs=100)
    assert astigmatism_error(ctf, truth["defocus_u"], truth["defocus_v"], truth["defocus_angle"]) < 250


@pytest.mark.parametrize(("defocus", "tile"), [(15_000, 256), (4_500, 128)])
def test_few_tiles_of_a_large_micrograph_tell_which_the_fit_needs(monkeypatch, defocus, tile):
    image = micrograph(31, shape=(1024, 1024), u=defocus + 150, v=defocus - 150, angle=20, signal=3.0)
    cut = []

    def counted(average, *, tile, most_tiles=None, **known):
        cut.append((tile, most_tiles))
        return power_spectrum(average, tile=tile, most_tiles=most_tiles, **known)

    monkeypatch.setattr(ctf_fit, "power_spectrum", counted)
    found = fit(image, tile=128).ctf
    # Rings too close for tiles of 128 px are never fitted in all of these.
    assert cut == [(128, 16), (tile, None)]
    assert found.defocus == pytest.approx(defocus, abs=50)


def test_what_moves_from_frame_to_frame_counts_too():
    # Water that has moved shows the same rings again; protein that stays shows them in the average alone.
    errors = []
    for seed in range(10):
        optics = {"u": 12300.0 + 300 * seed, "v": 12000.0 + 300 * seed, "angle": 30.0, "shape": (512, 640)}
        average = micrograph(200 + seed, signal=0.35, b=0.0, **optics)
        rest = np.stack([micrograph(1000 + 10 * seed + n, signal=0.3, b=0.0, **optics) for n in range(3)])
        fits = [fit(average), fit(average, rest=rest - rest.mean())]
        errors.append([(f.ctf.defocus - optics["u"] + 150.0, f.ctf.defocus_error) for f in fits])
    alone, both = np.sqrt(np.mean(np.square(errors), axis=0))
    assert both[0] < 0.75 * alone[0]
    assert both[1] < 0.75 * alone[1]


def test_sums_without_rings_do_no_harm():
    noise = np.random.default_rng(12).normal(0, 7, (3, 1024, 1200)).astype(np.float32)
    image = micrograph(12, u=12300, v=12000, angle=30)
    alone, both = fit(image).ctf, fit(image, rest=noise).ctf
    assert both.defocus == pytest.approx(alone.defocus, abs=0.2 * alone.defocus_error)
    assert both.defocus_error == pytest.approx(alone.defocus_error, rel=0.1)
    assert both.fit_resolution == pytest.approx(alone.fit_resolution, rel=0.05)


def test_weak_rings_are_judged_by_the_average_alone():
    image = micrograph(13, u=12300, v=12000, angle=30, signal=0.07)
    rest = np.stack([micrograph(14 + n, u=16000, v=15000, angle=-20, signal=0.5) for n in range(3)])
    assert fit(image, rest=rest).ctf == fit(image).ctf


@pytest.mark.parametrize("phase", [0.0, 1.2])
def test_joining_spectra_bends_no_fringe(phase):
    optics = Optics(voltage=300.0, cs=2.7, amplitude_contrast=0.1)
    truth = np.array([14000.0, 100.0, -50.0, phase])
    ky, kx = np.fft.fftfreq(512, 1.3)[:, None], np.fft.rfftfreq(512, 1.3)
    k2, k = kx**2 + ky**2, np.hypot(kx, ky)
    bent = truth[0] * k2 + truth[1] * (kx**2 - ky**2) + truth[2] * 2 * kx * ky
    fringe = -np.cos(2 * optics.phase(k2, bent, phase))

    def spectrum(background, amplitude):
        power = (background + amplitude * fringe).astype(np.float32)
        return Spectrum(
            power=power, groups=power[None], shares=np.ones(1), places=np.zeros((1, 2)), between=1.0,
            pixel_size=1.3, n_tiles=1, n_dropped=0,
        )  # fmt: skip

    # Protein in the average, water in the others.
    falling, water = 1 + 3 * np.exp(-1500 * k2), np.exp(-(((k - 0.25) / 0.1) ** 2))
    average = spectrum(falling, 0.3 * np.exp(-600 * k2) + 0.05 * water)
    both = joined(average, spectrum(np.ones_like(k2), 0.04 * water), 3, optics, 0.02, truth)
    grid = both.grid(0.02, 1 / 3)
    assert grid.count.sum() > 1.5 * grid.points.sum()
    model = FringeModel(grid, grid.pool(both.power), optics, uneven=UNEVEN_FLAT)
    found, _ = model.refine(truth, np.array([True, True, True, True]))
    assert found[:3] == pytest.approx(truth[:3], abs=3.0)
    assert found[3] == pytest.approx(phase, abs=0.005)
