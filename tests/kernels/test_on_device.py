"""Every kernel with arrays on a device gives what it gives with NumPy's."""

import numpy as np
import pytest

from nextpyp_nb.kernels.backend import array_module, to_numpy
from nextpyp_nb.kernels.class2d_particles import ring_images, ring_particles
from nextpyp_nb.kernels.class2d_search import LIKELY, ReferenceBank, SearchPlan, shift_steps
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.ctf_fit import estimate_ctf
from nextpyp_nb.kernels.display import montage, preview
from nextpyp_nb.kernels.exposure import low_rank_filters
from nextpyp_nb.kernels.frame_sum import sum_frames
from nextpyp_nb.kernels.gain import find_defects, orient_gain, replace_defects
from nextpyp_nb.kernels.motion import correct_motion, take_micrograph
from nextpyp_nb.kernels.particles import extract_particles
from nextpyp_nb.kernels.picking import pick_particles, score_by_size
from nextpyp_nb.kernels.polar import PolarGrid, harmonics
from nextpyp_nb.kernels.quality import micrograph_quality
from nextpyp_nb.kernels.template_picking import find_by_template, template_bank
from nextpyp_nb.records import Ctf

PIXEL = 2.0
CTF = Ctf(
    defocus_u=16500.0, defocus_v=16000.0, defocus_angle=20.0, voltage=300.0, cs=2.7,
    amplitude_contrast=0.1, phase_shift=0.0, fit_resolution=5.0, score=0.3,
)  # fmt: skip


def cutoff(shape, pixel):
    ky, kx = np.fft.fftfreq(shape[0], pixel)[:, None], np.fft.rfftfreq(shape[1], pixel)
    return np.hypot(ky, kx)


def rings(k):
    return np.sin(np.pi * 0.0197 * 16250.0 * k**2 - 0.5 * np.pi * 0.0197**3 * 2.7e7 * k**4 + 0.1)


@pytest.fixture(scope="module")
def micrograph():
    """Dark balls seen through a CTF, with noise."""
    rng = np.random.default_rng(51)
    image = np.zeros((640, 768))
    y, x = np.mgrid[:61, :61] - 30
    ball = np.sqrt(np.maximum(0, 25.0**2 - y * y - x * x))
    for cy, cx in rng.integers(40, [600, 728], (25, 2)):
        image[cy - 30 : cy + 31, cx - 30 : cx + 31] -= ball / 40
    k = cutoff(image.shape, PIXEL)
    noise = np.fft.rfft2(rng.normal(size=image.shape)) * rings(k) * np.exp(-20 * k**2)
    seen = np.fft.irfft2(np.fft.rfft2(image) * rings(k) + 1.2 * noise, s=image.shape)
    return (20 + seen + 0.5 * rng.normal(size=image.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def movie():
    """A torn specimen that moves, in counts, with a gain, a dead column and hot pixels."""
    rng = np.random.default_rng(52)
    n, shape = 10, (448, 512)
    k = cutoff(shape, 1.0)
    texture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * np.exp(-40 * k**2), s=shape)
    transform = np.fft.rfft2(2.0 + 0.9 * texture / texture.std())
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    shifts = 9 * np.sqrt(np.arange(n) / n)[:, None] * [0.7, -0.5]
    frames = [np.fft.irfft2(transform * np.exp(-2j * np.pi * (ky * a + kx * b)), s=shape) for a, b in shifts]
    gain = rng.normal(1.0, 0.03, shape).astype(np.float32)
    gain[:, 100] = 0
    counts = rng.poisson(np.maximum(frames, 0.05) / np.where(gain > 0, gain, 1)).astype(np.uint8)
    counts[:, 30, 40:44] = 200
    return counts, gain


@pytest.mark.parametrize(
    "options", [{}, {"method": "whole-frame", "binning": 2}, {"method": "none"}, {"group": 3}]
)
def test_motion(device, movie, options):
    counts, gain = movie
    known = {"pixel_size": 3.0, "voltage": 300.0, "dose_per_frame": 2.0, **options}
    host = correct_motion(counts, gain=gain, **known)
    there = correct_motion(device.put(counts), gain=device.put(gain), **known)
    np.testing.assert_allclose(there.motion.shifts, host.motion.shifts, atol=0.02)
    for name in ("average", "weighted"):
        found, expected = getattr(there, name), getattr(host, name)
        assert isinstance(found, device.array)
        assert np.corrcoef(to_numpy(found).ravel(), expected.ravel())[0, 1] > 0.99999
    np.testing.assert_array_equal(to_numpy(there.defects), host.defects)
    assert there.mean_dose == pytest.approx(host.mean_dose)


def test_local_motion_moves_the_same(device, movie):
    counts, _ = movie
    local = np.random.default_rng(53).normal(size=(2, 6, 3)) / np.array([2, 20, 200])
    frames = counts.astype(np.float32)
    shifts = np.random.default_rng(54).normal(0, 5, (len(frames), 2))
    filters = low_rank_filters(2.0 * np.arange(1, 11), pixel_size=1.0, voltage=300.0)
    bad = np.zeros(frames.shape[1:], bool)
    bad[70, 30:40] = True
    held = [Counts(raw=put(frames), gain=None, bad=put(bad)) for put in (np.asarray, device.put)]
    host, there = (sum_frames(some, shifts, filters, local, further=2) for some in held)
    for found, expected in zip(there, host, strict=True):
        assert np.corrcoef(to_numpy(found).ravel(), expected.ravel())[0, 1] > 0.99999


def test_micrographs_without_frames(device, micrograph):
    gain = np.ones_like(micrograph)
    gain[5, 7] = 0
    host = take_micrograph(micrograph, gain=gain, pixel_size=PIXEL, binning=2)
    there = take_micrograph(device.put(micrograph), gain=device.put(gain), pixel_size=PIXEL, binning=2)
    np.testing.assert_allclose(to_numpy(there.average), host.average, atol=1e-4)


def test_gain_and_defects(device, movie):
    counts, gain = movie
    total = counts.sum(0, dtype=np.float32)
    turned = {"rotation": 1, "flip_horizontal": True, "operation": "divide"}
    np.testing.assert_allclose(
        to_numpy(orient_gain(device.put(gain), **turned)), orient_gain(gain, **turned), rtol=1e-6
    )
    bad = find_defects(total, gain)
    np.testing.assert_array_equal(to_numpy(find_defects(device.put(total), device.put(gain))), bad)
    np.testing.assert_array_equal(
        to_numpy(replace_defects(device.put(total), device.put(bad))), replace_defects(total, bad)
    )


def test_ctf(device, micrograph):
    known = {
        "pixel_size": PIXEL,
        "voltage": 300.0,
        "cs": 2.7,
        "amplitude_contrast": 0.1,
        "min_defocus": 5000,
        "max_defocus": 40000,
        "tile": 256,
    }
    for rest in (None, micrograph[None, ::-1, ::-1] - micrograph.mean()):
        on_device = None if rest is None else device.put(rest)
        host = estimate_ctf(micrograph, rest=rest, **known)
        there = estimate_ctf(device.put(micrograph), rest=on_device, **known)
        assert there.ctf.defocus == pytest.approx(host.ctf.defocus, abs=1.0)
        assert there.ctf.score == pytest.approx(host.ctf.score, abs=1e-3)


@pytest.mark.parametrize("ctf", [None, CTF])
def test_picking(device, micrograph, ctf):
    known = {"pixel_size": PIXEL, "radius": 50.0, "ctf": ctf}
    host, there = pick_particles(micrograph, **known), pick_particles(device.put(micrograph), **known)
    assert len(host.centres) > 10
    np.testing.assert_allclose(there.centres, host.centres, atol=0.02)
    np.testing.assert_allclose(there.scores, host.scores, rtol=1e-3)


def test_picking_by_template(device, micrograph):
    y, x = np.mgrid[:61, :61] - 30
    ball = np.sqrt(np.maximum(0, 25.0**2 - y * y - x * x))
    bank = template_bank(ball[None], template_pixel_size=PIXEL, pixel_size=PIXEL, radius=50.0)
    known = {"pixel_size": PIXEL, "ctf": CTF}
    host = find_by_template(micrograph, bank, **known)
    there = find_by_template(device.put(micrograph), bank, **known)
    sure = host.scores > host.threshold
    assert sure.sum() > 10
    np.testing.assert_allclose(there.centres[: sure.sum()], host.centres[sure], atol=0.02)
    np.testing.assert_allclose(there.scores[: sure.sum()], host.scores[sure], rtol=1e-3)


def test_the_size_of_particles(device, micrograph):
    known = {"pixel_size": PIXEL, "radius": 50.0, "ctf": CTF}
    sizes = np.array([70.0, 100.0, 140.0])
    host = score_by_size(micrograph, sizes, **known)
    there = score_by_size(device.put(micrograph), sizes, **known)
    assert len(host[0]) > 10
    for mine, theirs in zip(there, host, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3)


def test_particles_and_pictures(device, micrograph):
    centres = np.random.default_rng(55).uniform(0, 640, (40, 2))
    known = {"pixel_size": PIXEL, "box_px": 96, "target_pixel_size": 3.0}
    host, kept = extract_particles(micrograph, centres, **known)
    there, kept_there = extract_particles(device.put(micrograph), centres, **known)
    np.testing.assert_array_equal(kept_there, kept)
    np.testing.assert_allclose(to_numpy(there), host, atol=1e-3)
    assert np.abs(preview(device.put(micrograph), 300).astype(int) - preview(micrograph, 300)).max() <= 1
    np.testing.assert_array_equal(montage(there, 5), montage(to_numpy(there), 5))


def test_quality(device, micrograph):
    known = {"pixel_size": 1.3, "motion": None, "ctf": CTF, "mean_dose": 1.0}
    host, there = micrograph_quality(micrograph, **known), micrograph_quality(device.put(micrograph), **known)
    assert there == pytest.approx(host, rel=1e-3, nan_ok=True)


def test_classes(device):
    rng = np.random.default_rng(56)
    y, x = np.mgrid[:48, :48] - 24
    shapes = [np.exp(-((y / 4.0) ** 2 + (x / 12.0) ** 2) / 2), np.exp(-((np.hypot(y, x) - 11.0) ** 2) / 8)]
    images = np.stack([2 * shapes[i % 2] for i in range(120)]) + rng.normal(size=(120, 48, 48))
    images = images.astype(np.float32)
    known = {"box": 48, "pixel_size": 4.0, "classes": 2, "diameter": 120.0, "max_resolution": 12.0}
    # Particles choose by chance at first, so rounding may part two runs: the sorting is what counts.
    for place in (None, 0):
        engine = Classification(lambda ids: (images[ids], [CTF] * len(ids)), device=place, **known)
        for batch in (np.arange(80), np.arange(80, 120)):
            engine.add(f"from {batch[0]}", batch, groups=batch % 2)
            engine.update()
        saved = engine.to_arrays()
        assert all(type(value) is np.ndarray for value in saved.values())
        engine = Classification.from_arrays(saved, engine.blocks.read, device=place)
        engine.remove(np.arange(20))
        result = engine.result()
        odd, even = (np.bincount(result.class_number[i::2], minlength=3)[1:] for i in range(2))
        assert max(odd.max() + even[1 - odd.argmax()], 0) > 85


def test_a_brief_search_tries_all_shifts_in_the_likeliest_classes_alone(device):
    rng, box = np.random.default_rng(57), 48
    grid, everyone = PolarGrid.covering(box, 20, 18.0), np.arange(3 * LIKELY)
    coarse = np.fft.rfft2(rng.normal(size=(len(everyone), box, box)))
    views = np.fft.irfft2(coarse * np.exp(-30 * cutoff((box, box), 1) ** 2)).astype(np.float32)
    views /= views.std()
    moved = np.roll(views, (1, -1), axis=(1, 2)) + rng.normal(size=views.shape).astype(np.float32)

    def match(put, brief):
        known = {"grid": grid, "pixel_size": 4.0, "radius": 20.0}
        particles = ring_particles(put(moved), [CTF] * len(everyone), **known)
        plan = SearchPlan(grid.rings, grid.angles, shift_steps(2.0, 1.0), brief=brief)
        even = put(np.ones(grid.rings, np.float32))
        references = harmonics(ring_images(put(views), grid))
        bank = ReferenceBank(references, even, even, grid=grid, plan=plan, spread=2.0)
        return bank.match(particles, everyone, np.zeros((len(everyone), 2)))

    whole, brief, there = match(np.asarray, False), match(np.asarray, True), match(device.put, True)
    assert (brief.likelihood <= whole.likelihood + 1e-2).all()
    same = np.isclose(brief.likelihood, whole.likelihood, rtol=1e-4)
    assert (same.sum(axis=1) >= LIKELY).all()
    assert same.mean() < 0.5
    assert (brief.likelihood.argmax(axis=1) == everyone).all()
    np.testing.assert_array_equal(brief.step[everyone, everyone], whole.step[everyone, everyone])
    np.testing.assert_allclose(brief.step[everyone, everyone], [(1, -1)] * len(everyone), atol=1)
    np.testing.assert_allclose(there.likelihood, brief.likelihood, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(there.rotation, brief.rotation, atol=1e-2)
    np.testing.assert_array_equal(there.step, brief.step)


def test_the_stand_in_is_as_strict_as_cupy(device):
    array = device.put(np.arange(4.0))
    assert array_module(array) is not np
    for wrong in (
        lambda: np.asarray(array),
        lambda: array + np.arange(4.0),
        lambda: array_module(array).stack([np.arange(4.0)]),
        lambda: np.arange(4)[array > 1],
    ):
        with pytest.raises((TypeError, IndexError)):
            wrong()
    assert float(array.sum()) == 6
    np.testing.assert_array_equal(to_numpy(np.sqrt(array) * np.float32(2)), 2 * np.sqrt(np.arange(4.0)))
