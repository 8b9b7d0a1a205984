"""2D classification finds known shapes, turned, moved and defocused, and says so in RELION's terms."""

import shutil
import subprocess
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import scipy.ndimage

from nextpyp_nb.kernels.class2d_passes import misfits_of
from nextpyp_nb.kernels.class2d_quality import crossing
from nextpyp_nb.kernels.class2d_search import in_particle_frame, shift_steps, temperature
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.records import Ctf

BOX, PIXEL, DIAMETER = 64, 3.0, 120.0
CTF = Ctf(
    defocus_u=15300.0, defocus_v=14900.0, defocus_angle=35.0, voltage=300.0, cs=2.7, amplitude_contrast=0.1
)
SHAPES = (
    ((0, -9, 1.0, 3.0), (0, 9, 1.0, 3.0), (9, 0, 0.8, 2.0), (4, 12, 0.7, 1.6), (-3, -1, 0.9, 2.0)),
    ((-7, -7, 1.0, 2.5), (7, -6, 1.0, 2.0), (0, 10, 1.2, 2.5), (0, 0, 0.8, 4.0), (10, 8, 0.7, 1.5)),
    ((0, 0, 1.4, 5.0), (11, 3, 0.8, 1.8), (-11, 3, 0.8, 1.8), (2, -12, 0.6, 1.5)),
)


def shape(spots, degrees=0.0, shift=(0.0, 0.0)):
    """Spots (y, x, height, width), where p = c + shift + R(-degrees) q for a spot at q of the average."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    image = np.zeros((BOX, BOX))
    for sy, sx, height, width in spots:
        at_x, at_y = c * sx + s * sy + shift[1], -s * sx + c * sy + shift[0]
        image += height * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * width**2))
    return image.astype(np.float32)


def defocused(image, ctf=CTF):
    transfer = ctf_image(ctf, shape=image.shape, pixel_size=PIXEL)
    return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)


def particles(n, seed, shapes=SHAPES, strength=3.0, junk=0.0):
    """Noisy particles, their CTFs, kinds (-1 is noise), noiseless images, and true poses."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(len(shapes), size=n)
    kind[rng.uniform(size=n) < junk] = -1
    rotation, shift = rng.uniform(0, 360, n), rng.normal(0, 1.5, (n, 2))
    ctfs = [replace(CTF, defocus_u=u, defocus_v=u - 300.0) for u in rng.uniform(9000, 20000, n).round(-3)]
    clean = np.stack(
        [
            shape(shapes[k], r, t) if k >= 0 else np.zeros((BOX, BOX))
            for k, r, t in zip(kind, rotation, shift, strict=True)
        ]
    )
    images = np.stack([defocused(strength * i, c) for i, c in zip(clean, ctfs, strict=True)])
    images += rng.standard_normal(images.shape)
    return images.astype(np.float32), ctfs, kind, clean


def purity(number, kind):
    counts = [np.unique(kind[number == k], return_counts=True)[1] for k in np.unique(number)]
    return sum(c.max() for c in counts) / len(kind)


@pytest.fixture(scope="module")
def sample():
    return particles(240, seed=2, junk=0.2)


@pytest.fixture(scope="module")
def found(sample):
    images, ctfs = sample[:2]
    engine = Classification(
        lambda ids: (images[ids], [ctfs[i] for i in ids]),
        box=BOX, pixel_size=PIXEL, diameter=DIAMETER, classes=4,
    )  # fmt: skip
    engine.add("all", np.arange(len(images)))
    engine.update()
    return engine.result()


def test_shapes_and_noise_are_told_apart(sample, found):
    assert purity(found.class_number, sample[2]) > 0.9
    assert found.averages.shape == (4, BOX, BOX)
    assert found.averages.dtype == np.float32
    assert sum(c.count for c in found.classes) == len(sample[0])
    assert sum(c.share for c in found.classes) == pytest.approx(1.0)
    assert np.all((found.probability >= 0) & (found.probability <= 1))


def test_noise_scores_low_and_shapes_high(sample, found):
    for c in found.classes:
        members = sample[2][found.class_number == c.number]
        if (members == -1).mean() > 0.8:
            assert c.score < 0.3
        elif (members == -1).mean() < 0.2:
            assert c.score > 0.5
            assert c.resolution < 20.0


def placed_average(found, i):
    """The average of particle i, laid where the documented formula says the particle is."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    dy, dx = y - found.shift[i, 0], x - found.shift[i, 1]
    a = np.deg2rad(found.rotation[i])
    at = [np.sin(a) * dx + np.cos(a) * dy + BOX // 2, np.cos(a) * dx - np.sin(a) * dy + BOX // 2]
    return scipy.ndimage.map_coordinates(found.averages[found.class_number[i] - 1], at, order=1)


def test_averages_are_bright_and_lie_on_the_particles_as_documented(sample, found):
    _, _, kind, clean = sample
    likeness = [
        np.corrcoef(placed_average(found, i).ravel(), clean[i].ravel())[0, 1]
        for i in np.flatnonzero(kind >= 0)[:60]
    ]
    assert np.median(likeness) > 0.9


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_stack_create") is None, reason="RELION is not installed")
def test_relion_lays_particles_on_the_average_with_psi_and_origin(sample, found, tmp_path):
    _, _, kind, clean = sample
    best = max(found.classes, key=lambda c: c.score)
    chosen = np.flatnonzero((found.class_number == best.number) & (kind >= 0))[:12]
    with mrcfile.new(tmp_path / "in.mrcs") as stack:
        stack.set_data(clean[chosen].astype(np.float32))
        stack.voxel_size = PIXEL
    rows = [
        f"{row + 1}@in.mrcs {found.rotation[i]:.3f} {-found.shift[i, 1] * PIXEL:.4f} "
        f"{-found.shift[i, 0] * PIXEL:.4f} 1"
        for row, i in enumerate(chosen)
    ]
    (tmp_path / "in.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n_rlnImageSize #3\n"
        "_rlnImageDimensionality #4\n_rlnVoltage #5\n_rlnSphericalAberration #6\n_rlnAmplitudeContrast #7\n"
        f"1 {PIXEL} {BOX} 2 300 2.7 0.1\n\ndata_particles\n\nloop_\n_rlnImageName #1\n"
        "_rlnAnglePsi #2\n_rlnOriginXAngst #3\n_rlnOriginYAngst #4\n_rlnOpticsGroup #5\n"
        + "\n".join(rows)
        + "\n"
    )
    command = ["relion_stack_create", "--i", "in.star", "--o", "out", "--apply_transformation"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with mrcfile.open(tmp_path / "out.mrcs") as stack:
        aligned = stack.data.astype(np.float64)
    average = found.averages[best.number - 1]
    likeness = [np.corrcoef(a.ravel(), average.ravel())[0, 1] for a in aligned]
    assert np.median(likeness) > 0.9


def test_resolution_ignores_a_ctf_zero_but_not_the_end():
    curve = np.array([1, 0.9, 0.9, 0.8, 0.3, 0.8, 0.8, 0.7, 0.4, 0.2, 0.1, 0.1])
    assert crossing(curve, 64, 3.0) == pytest.approx(64 * 3.0 / (8 + 2 / 3), rel=0.01)
    assert np.isnan(crossing(np.zeros(12), 64, 3.0))
    assert crossing(np.ones(12), 64, 3.0) == pytest.approx(16.0)


def test_temperature_makes_particles_hesitate_as_asked():
    likelihood = np.random.default_rng(0).normal(0, 30, (200, 10))
    heat = temperature(likelihood, 4.0)
    share = np.exp((likelihood - likelihood.max(axis=1, keepdims=True)) / heat)
    share /= share.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(share + 1e-30)).sum(axis=1).mean()
    assert np.exp(entropy) == pytest.approx(4.0, rel=0.01)


def test_shift_steps_fill_a_disc_nearest_first():
    steps = shift_steps(2.0, 1.0)
    assert len(steps) == 13
    assert steps[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(
        in_particle_frame(np.array([90.0]), np.array([[0.0, 1.0]])), [[-1.0, 0.0]], atol=1e-6
    )


def test_misfits_are_the_lesser_kind_of_a_mixed_class_only():
    rng = np.random.default_rng(0)
    number = np.repeat([0, 1], 60)
    likelihood = np.r_[rng.normal(100, 20, 60), rng.normal(5, 4, 25), rng.normal(100, 15, 35)]
    assert sorted(misfits_of(number, likelihood)) == list(range(60, 85))
    assert len(misfits_of(number[:60], likelihood[:60])) == 0


def test_one_kind_is_not_cut_by_chance_however_few_its_members():
    rng = np.random.default_rng(8)
    for members in (20, 40, 100):
        number = np.repeat(np.arange(100), members)
        cut = [len(misfits_of(number[number == k], rng.uniform(size=members))) > 0 for k in range(100)]
        assert np.mean(cut) < 0.05
