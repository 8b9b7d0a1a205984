"""Picks against drawn particles, against nothing, and against the shared micrographs of known truth."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.matched_filter import balls_image, balls_of, noise_spectrum, score_maps
from nextpyp_nb.kernels.picking import pick_particles
from nextpyp_nb.records import Ctf

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CTF = Ctf(
    defocus_u=15000,
    defocus_v=14500,
    defocus_angle=20,
    voltage=300,
    cs=2.7,
    amplitude_contrast=0.1,
)


def drawn(shape=(600, 800), pixel=2.0, radius=60.0, seed=0, contrast=0.25, spacing=160.0, ctf=CTF):
    """A micrograph of solid balls (dark) under ``ctf`` with white noise, and their centres (n, 2) px."""
    rng = np.random.default_rng(seed)
    step = spacing / pixel
    grid = np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step].reshape(2, -1).T
    centres = grid + rng.uniform(-0.1, 0.1, grid.shape) * step
    specimen = np.zeros(shape)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for cy, cx in centres:
        specimen += np.sqrt(np.clip(1.0 - ((y - cy) ** 2 + (x - cx) ** 2) * (pixel / radius) ** 2, 0.0, None))
    transform = np.fft.rfft2(specimen) * ctf_image(ctf, shape=shape, pixel_size=pixel)
    image = rng.normal(size=shape) - contrast * 10 * np.fft.irfft2(transform, s=shape)
    return (50 + 5 * image).astype(np.float32), centres


def f1_and_error(picks, centres, within):
    """F1 of greedy matches nearer than ``within`` px, and the median distance of those."""
    if len(picks) == 0:
        return 0.0, np.inf
    distance = cdist(picks.centres, centres)
    found = np.array([distance[:, i].min() for i in range(len(centres))])
    true = min((found < within).sum(), (distance.min(axis=1) < within).sum())
    return 2 * true / (len(picks) + len(centres)), float(np.median(found[found < within]))


@pytest.mark.parametrize(("pixel", "radius"), [(1.1, 60.0), (2.0, 60.0), (3.0, 90.0), (2.0, 45.0)])
def test_finds_balls_at_any_pixel_size(pixel, radius):
    shape = tuple(int(n / pixel) for n in (1100, 1300))
    average, centres = drawn(shape, pixel, radius, spacing=2.7 * radius)
    picks = pick_particles(average, pixel_size=pixel, radius=radius, ctf=CTF)
    f1, error = f1_and_error(picks, centres, 0.5 * radius / pixel)
    assert f1 > 0.95
    assert error * pixel < 0.08 * radius


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_wrong_radius_by_a_quarter_still_finds_them(factor):
    average, centres = drawn()
    picks = pick_particles(average, pixel_size=2.0, radius=60.0 * factor, ctf=CTF)
    assert f1_and_error(picks, centres, 15)[0] > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_a_handful_of_particles_is_found(seed):
    average, centres = drawn(shape=(320, 400), spacing=200.0, contrast=0.12, seed=seed)
    assert len(centres) == 4
    assert f1_and_error(pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF), centres, 15)[0] == 1


def test_small_particles_may_stand_close_and_leave_no_empty_place():
    average, centres = drawn(radius=45.0, spacing=92.0, contrast=0.35, shape=(400, 500))
    picks = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF)
    assert f1_and_error(picks, centres, 15)[0] > 0.97


def test_centres_are_y_x_and_carry_no_bias():
    average, centres = drawn(shape=(500, 900))
    picks = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF)
    distance = cdist(picks.centres, centres)
    nearest = centres[distance.argmin(axis=1)]
    offset = (picks.centres - nearest)[distance.min(axis=1) < 15]
    assert len(offset) > 20
    assert np.abs(offset.mean(axis=0)).max() < 0.5


def test_finds_next_to_nothing_in_noise():
    counts = [
        len(
            pick_particles(
                np.random.default_rng(s).normal(size=(700, 900)).astype(np.float32),
                pixel_size=2.0,
                radius=60.0,
            )
        )
        for s in range(6)
    ]
    assert sum(counts) <= 3


def test_scores_of_noise_have_deviation_one():
    noise = np.random.default_rng(2).normal(3.0, 7.0, (400, 500)).astype(np.float32) - 3.0
    power = noise_spectrum(noise, np.ones(noise.shape, bool), pixel_size=6.0, diameter=150.0)
    balls = balls_of(noise, np.array([120.0, 150.0, 180.0]), pixel_size=6.0, ctf=CTF)
    (maps,), _ = score_maps([noise], power, balls)
    np.testing.assert_allclose(maps.std(axis=(1, 2)), 1.0, atol=0.08)


def test_a_ball_scores_its_strength_and_leaves_nothing_when_taken_off():
    empty = np.zeros((200, 260), np.float32)
    flat_noise = np.array([0.0, 1.0]), np.array([4.0, 4.0])
    balls = balls_of(empty, np.array([120.0, 150.0]), pixel_size=6.0, ctf=CTF)
    image = balls_image(empty, balls, np.array([[90, 120.0]]), np.array([1]), np.array([2.5]))
    (maps,), strength = score_maps([image], flat_noise, balls)
    assert np.unravel_index(maps[1].argmax(), empty.shape) == (90, 120)
    assert maps[1].max() == pytest.approx(2.5 * strength[1], rel=1e-3)
    assert maps[1].max() > maps[0].max()


def test_best_first_apart_and_above_the_threshold():
    average, _ = drawn()
    picks = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF, distance=100.0, threshold=4.0)
    assert picks.threshold == 4.0
    assert (np.diff(picks.scores) <= 0).all()
    assert picks.scores.min() > 4.0
    apart = cdist(picks.centres, picks.centres) + 1e6 * np.eye(len(picks))
    assert apart.min() * 2.0 > 100.0 - 12.0


def test_all_keeps_every_positive_maximum():
    average, _ = drawn()
    auto = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF)
    everything = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF, method="all")
    assert len(everything) > len(auto)
    assert everything.scores.min() > 0
    np.testing.assert_array_equal(everything.centres[: len(auto)], auto.centres)


def test_ice_is_left_out_unless_asked_for():
    average, centres = drawn()
    y, x = np.ogrid[: average.shape[0], : average.shape[1]]
    crystal = np.hypot(y - 300, x - 400) < 130
    average = np.where(crystal, 0.5 * average, average)
    picks = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF)
    inside = np.hypot(*(picks.centres - (300, 400)).T) < 130
    outside = np.hypot(*(centres - (300, 400)).T) > 170
    assert not inside.any()
    assert picks.junk_fraction == pytest.approx(crystal.mean(), abs=0.05)
    assert (cdist(centres[outside], picks.centres).min(axis=1) < 15).mean() > 0.95
    assert pick_particles(
        average, pixel_size=2.0, radius=60.0, ctf=CTF, ignore_contamination=True
    ).junk_fraction == pytest.approx(0.0)


def test_grey_scale_does_not_matter_and_the_input_is_left_alone():
    average, _ = drawn()
    average.setflags(write=False)
    plain = pick_particles(average, pixel_size=2.0, radius=60.0, ctf=CTF)
    scaled = pick_particles((average - 50) * np.float32(1e-3), pixel_size=2.0, radius=60.0, ctf=CTF)
    assert len(plain) == len(scaled)
    np.testing.assert_allclose(plain.scores, scaled.scores, rtol=1e-2)


@pytest.mark.parametrize(
    ("average", "options", "message"),
    [
        (np.zeros((400, 400), np.float32), {}, "blank"),
        (np.full((400, 400), np.nan, np.float32), {}, "not numbers"),
        (np.zeros((2, 400, 400), np.float32), {}, "one micrograph"),
        (np.zeros((400, 400), np.float32), {"method": "best"}, "'auto' or 'all'"),
        (np.zeros((400, 400), np.float32), {"radius": 7500.0}, "no room"),
        (np.zeros((400, 400), np.float32), {"radius": 1.0}, "2.5 px"),
        (np.zeros((400, 400), np.float32), {"radius": -1.0}, "positive"),
    ],
)
def test_nonsense_is_refused_in_plain_words(average, options, message):
    with pytest.raises(ValueError, match=message):
        pick_particles(average, **({"pixel_size": 2.0, "radius": 60.0} | options))


@pytest.mark.shared
@pytest.mark.parametrize(("number", "recall"), [(2, 0.95), (4, 0.75), (6, 0.85)])
def test_two_species_carbon_and_ice_of_others(number, recall):
    """β-galactosidase (180 Å) and apoferritin (128 Å) together, picked with one radius of 75 Å."""
    micrographs = list((SHARED / "aligned").glob(f"*mov_{number:04d}*.mrc"))
    if not micrographs:
        pytest.skip("the shared test data are absent")
    average = mrcfile.read(micrographs[0]).astype(np.float32)
    truth = json.loads((SHARED / "truth" / f"mov_{number:04d}.json").read_text())
    pixel = truth["apix"]
    centres = np.array([[p["y"], p["x"]] for p in truth["particles"]])
    ctf = Ctf(
        defocus_u=truth["defocus_u"],
        defocus_v=truth["defocus_v"],
        defocus_angle=truth["defocus_angle"],
        voltage=truth["kv"],
        cs=truth["cs"],
        amplitude_contrast=truth["amp_contrast"],
    )
    picks = pick_particles(average, pixel_size=pixel, radius=75.0, ctf=ctf)
    distance = cdist(picks.centres, centres) * pixel
    inner = ((centres > 90 / pixel) & (centres < np.array(average.shape) - 90 / pixel)).all(axis=1)
    assert (distance[:, inner].min(axis=0) < 50).mean() > recall
    mine = ((picks.centres > 90 / pixel) & (picks.centres < np.array(average.shape) - 90 / pixel)).all(axis=1)
    assert (distance[mine].min(axis=1) < 50).mean() > 0.95
    assert np.median(distance[:, inner].min(axis=0)) < 8
