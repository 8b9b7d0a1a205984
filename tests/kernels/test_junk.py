"""The mask against drawn carbon, ice and uneven light, and against nothing at all."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nextpyp_nb.kernels.junk import junk_mask

PIXEL, RADIUS = 2.0, 75.0
SHAPE = (512, 640)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def ice(seed=0):
    """Counts on amorphous ice with particles that darken it by a few per cent."""
    rng = np.random.default_rng(seed)
    specimen = np.ones(SHAPE)
    for y in range(60, SHAPE[0], 110):
        for x in range(60, SHAPE[1], 110):
            rr = np.hypot(Y - y - rng.uniform(-8, 8), X - x - rng.uniform(-8, 8)) * PIXEL / RADIUS
            specimen -= 0.04 * np.sqrt(np.clip(1.0 - rr**2, 0.0, None))
    return rng.poisson(100.0 * specimen).astype(np.float32)


def mask_of(average):
    return junk_mask(average, pixel_size=PIXEL, radius=RADIUS)


def agreement(mask, truth):
    """Share of px that agree, away from the widened rim of the truth."""
    near = gaussian_filter(truth.astype(np.float32), RADIUS / PIXEL / 2)
    sure = (near < 0.02) | (near > 0.98)
    return float((mask == truth)[sure].mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_particles_on_clean_ice_are_not_junk(seed):
    assert not mask_of(ice(seed)).any()


def test_pure_noise_is_not_junk():
    noise = np.random.default_rng(3).normal(0.0, 1.0, SHAPE).astype(np.float32)
    assert mask_of(noise).mean() < 0.01


@pytest.mark.parametrize("edge", [-60, 0, 120])
def test_a_carbon_edge_is_found_whichever_side_is_larger(edge):
    carbon = SHAPE[1] / 2 - SHAPE[0] / 4 - edge < X - 0.5 * Y
    assert agreement(mask_of(ice() * np.where(carbon, 0.88, 1.0).astype(np.float32)), carbon) > 0.99


@pytest.mark.parametrize("slope", [0.03, 0.1])
def test_uneven_light_neither_hides_nor_makes_junk(slope):
    light = (1.0 + slope * (X / SHAPE[1] * 2 - 1)).astype(np.float32)
    crystal = np.hypot(Y - 250, X - 200) * PIXEL < 220
    assert not mask_of(ice() * light).any()
    assert agreement(mask_of(ice() * light * np.where(crystal, 0.6, 1.0).astype(np.float32)), crystal) > 0.99


def test_a_lone_particle_on_an_empty_micrograph_is_kept():
    rng = np.random.default_rng(5)
    rr = np.hypot(Y - 200, X - 300) * PIXEL / RADIUS
    specimen = 1.0 - 0.02 * np.sqrt(np.clip(1.0 - rr**2, 0.0, None))
    assert not mask_of(rng.poisson(100.0 * specimen).astype(np.float32)).any()


def test_the_answer_knows_no_units_and_leaves_the_input_alone():
    average = ice() * np.where(np.hypot(Y - 250, X - 200) < 110, 0.6, 1.0).astype(np.float32)
    average.setflags(write=False)
    plain = mask_of(average)
    scaled = mask_of(((average - average.mean()) * 1e-3).astype(np.float32))
    assert plain.shape == average.shape
    assert plain.dtype == bool
    assert (plain != scaled).mean() < 1e-3
