"""Picks by template against drawn particles that lie in every direction, and against nothing."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate
from scipy.spatial.distance import cdist

from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.picking import above_threshold
from nextpyp_nb.kernels.template_picking import find_by_template, map_projections, template_bank
from nextpyp_nb.records import Ctf

PIXEL, RADIUS, BOX = 2.0, 60.0, 97
CTF = Ctf(
    defocus_u=15000, defocus_v=14500, defocus_angle=20, voltage=300, cs=2.7, amplitude_contrast=0.1
)  # fmt: skip


def dumbbell(first=15, second=15):
    """Two blobs (box, box) so many px from its middle, which is the middle of their mass."""
    image = np.zeros((BOX, BOX), np.float32)
    image[BOX // 2, BOX // 2 - first], image[BOX // 2, BOX // 2 + second] = 1.0, first / second
    image = gaussian_filter(image, 6)
    return (image / image.max()).astype(np.float32)


def drawn(seed, strength=2.0, shape=(620, 800), particle=None):
    """A micrograph of dumbbells in random directions under the CTF, and the centres (n, 2) px."""
    particle = dumbbell() if particle is None else particle
    rng = np.random.default_rng(seed)
    grid = np.mgrid[70 : shape[0] - 60 : 85, 70 : shape[1] - 60 : 85].reshape(2, -1).T
    centres = grid + rng.integers(-5, 6, grid.shape)
    specimen = np.zeros(shape)
    for y, x in centres:
        view = rotate(particle, rng.uniform(0, 360), reshape=False, order=1)
        specimen[y - 48 : y + 49, x - 48 : x + 49] += view
    transform = np.fft.rfft2(specimen) * ctf_image(CTF, shape=shape, pixel_size=PIXEL)
    image = rng.normal(size=shape) - strength * np.fft.irfft2(transform, s=shape)
    return (50 + 5 * image).astype(np.float32), centres


@pytest.fixture(scope="module")
def bank():
    return template_bank(dumbbell()[None], template_pixel_size=PIXEL, pixel_size=PIXEL, radius=RADIUS)


@pytest.mark.parametrize("seed", [0, 1])
def test_finds_particles_in_every_direction(bank, seed):
    average, centres = drawn(seed)
    picks = above_threshold(find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF), None)
    distance = cdist(picks.centres, centres)
    hits = (distance.min(axis=0) < 15).sum()
    assert 2 * hits / (len(picks) + len(centres)) >= 0.95
    offset = picks.centres - centres[distance.argmin(axis=1)]
    near = distance.min(axis=1) < 15
    assert np.median(distance.min(axis=1)[near]) * PIXEL < 6
    assert np.abs(offset[near].mean(axis=0)).max() < 0.5


def test_scores_do_not_depend_on_which_end_is_up():
    lopsided = dumbbell(8, 24)
    bank = template_bank(lopsided[None], template_pixel_size=PIXEL, pixel_size=PIXEL, radius=RADIUS)
    average, centres = drawn(5, strength=6.0, particle=lopsided)
    picks = find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF)
    best = slice(len(centres))
    assert (cdist(picks.centres[best], centres).min(axis=0) < 15).all()
    assert picks.scores[best].min() > 0.8 * np.median(picks.scores[best])


def test_templates_of_another_pixel_size_find_the_same(bank):
    average, _ = drawn(2)
    y = np.fft.rfft2(dumbbell()[:96, :96])
    # The middle of 96 px is px 48, and of 48 px is px 24: cropping the transform keeps both.
    half = np.fft.irfft2(np.concatenate([y[:24], y[-24:]])[:, :25], s=(48, 48)).astype(np.float32)
    coarse = template_bank(half[None], template_pixel_size=2 * PIXEL, pixel_size=PIXEL, radius=RADIUS)
    first, second = (
        above_threshold(find_by_template(average, b, pixel_size=PIXEL, ctf=CTF), None) for b in (bank, coarse)
    )
    assert abs(len(first) - len(second)) <= 2
    assert np.median(cdist(first.centres, second.centres).min(axis=1)) < 0.3


def test_scores_are_deviations_of_the_noise(bank):
    average = np.random.default_rng(3).normal(size=(800, 800)).astype(np.float32)
    scores = find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF).scores
    assert 3.3 < scores[0] < 6.0


def test_a_micrograph_scores_the_same_whatever_its_scale(bank):
    average, _ = drawn(4)
    first = find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF)
    second = find_by_template(1000 - 30 * (50 - average), bank, pixel_size=PIXEL, ctf=CTF)
    np.testing.assert_allclose(first.scores[:40], second.scores[:40], rtol=1e-2)


def test_noise_gives_no_particles_and_no_template(bank):
    boxes, count, reach = [], 0, 48
    for seed in range(20):
        average = np.random.default_rng(100 + seed).normal(size=(620, 800)).astype(np.float32)
        picks = above_threshold(find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF), None)
        count += len(picks)
        for y, x in np.rint(picks.centres).astype(int):
            if reach <= y < 620 - reach and reach <= x < 800 - reach:
                boxes.append(-average[y - reach : y + reach + 1, x - reach : x + reach + 1])
    assert count <= 4
    for half in (boxes[::2], boxes[1::2]):
        mean = np.mean(half, axis=0) if half else np.zeros((BOX, BOX))
        turned = (rotate(dumbbell(), angle, reshape=False, order=1) for angle in range(0, 180, 15))
        assert not half or max(np.corrcoef(mean.ravel(), t.ravel())[0, 1] for t in turned) < 0.2


@pytest.mark.parametrize(
    ("templates", "word"), [(np.zeros((2, 8, 8)), "blank"), (np.ones((8, 8)), "n, box, box")]
)
def test_says_what_is_wrong_with_templates(templates, word):
    with pytest.raises(ValueError, match=word):
        template_bank(templates, template_pixel_size=2.0, pixel_size=2.0, radius=60.0)


def test_templates_for_other_micrographs_are_refused(bank):
    with pytest.raises(ValueError, match="do not fit"):
        find_by_template(np.zeros((600, 600), np.float32), bank, pixel_size=3.7)


def solid(box=48, pixel=4.0):
    """A map (box, box, box) of two blobs 60 Å apart along z, and its pixel size."""
    z, y, x = np.mgrid[:box, :box, :box] - box // 2
    blobs = [np.exp(-((pixel * z - at) ** 2 + (pixel * y) ** 2 + (pixel * x) ** 2) / 400) for at in (-30, 30)]
    return (blobs[0] + blobs[1]).astype(np.float32), pixel


def test_a_map_is_seen_from_all_sides_about_its_middle():
    volume, pixel = solid()
    views, coarse = map_projections(volume, pixel_size=pixel, template_low_pass=15.0)
    np.testing.assert_allclose(views.sum(axis=(1, 2)) * coarse**3, volume.sum() * pixel**3, rtol=0.02)
    y, x = (np.mgrid[: views.shape[1], : views.shape[2]] - views.shape[1] // 2) * coarse
    mass = views.sum(axis=(1, 2))
    for axis in (y, x):
        assert np.abs((views * axis).sum(axis=(1, 2)) / mass).max() < 1.0
    along = np.sqrt((views * (y**2 + x**2)).sum(axis=(1, 2)) / mass - 400)
    # From above the blobs lie over each other, from the side 30 Å off the middle.
    assert along.min() < 8
    assert along.max() == pytest.approx(30, abs=2)
    assert np.mean(along**2) == pytest.approx(900 * 2 / 3, rel=0.05)


def test_a_map_that_is_none_is_refused():
    with pytest.raises(ValueError, match="a cube"):
        map_projections(np.ones((20, 32, 32), np.float32), pixel_size=2.0)


def test_picks_by_a_map():
    volume, pixel = solid()
    views, coarse = map_projections(volume, pixel_size=pixel, template_low_pass=20.0)
    bank = template_bank(views, template_pixel_size=coarse, pixel_size=PIXEL, radius=RADIUS)
    average, centres = drawn(4)
    picks = above_threshold(find_by_template(average, bank, pixel_size=PIXEL, ctf=CTF), None)
    distance = cdist(picks.centres, centres)
    assert 2 * (distance.min(axis=0) < 15).sum() / (len(picks) + len(centres)) >= 0.95
