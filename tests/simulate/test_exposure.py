from dataclasses import replace

import numpy as np
import pytest

from nextpyp_nb.simulate import Column, compose


def displacement(moved, still):
    """Sub-pixel shift (y, x) of an image against another: peak of their cross-correlation."""
    cross = np.fft.irfft2(np.fft.rfft2(moved) * np.fft.rfft2(still).conj(), s=still.shape)
    peak = np.unravel_index(cross.argmax(), cross.shape)
    around = []
    for axis, place in enumerate(peak):
        before, top, after = np.take(
            np.take(cross, [place - 1, place, place + 1], axis, mode="wrap"), peak[1 - axis], 1 - axis
        )
        around.append(place + 0.5 * (before - after) / (before - 2 * top + after))
    return (np.array(around) + np.array(still.shape) / 2) % still.shape - np.array(still.shape) / 2


def test_noiseless_frames_move_as_the_truth_says(column):
    exposure = compose(column, 3, "good")
    truth = exposure.truth("m.tiff")
    frames = list(exposure.intensities(ice=False))
    for frame, (x, y) in zip(frames, truth["global_shift_px"], strict=True):
        np.testing.assert_allclose(displacement(frame, frames[0]), [y, x], atol=0.1)
    assert np.hypot(*truth["global_shift_px"][-1]) > 2


def test_recorded_corners_move_by_the_local_field():
    column = Column(height=384, width=384, frames=3, dose_per_frame=8.0, local_motion=12.0, drift=0.0)
    exposure = compose(column, 0, "good")
    speckle = np.random.default_rng(1).normal(0, 2.0, column.canvas).astype(np.float32)
    exposure = replace(exposure, scene=replace(exposure.scene, fixed=speckle))
    frames = np.stack(list(exposure.record())) * column.camera.gain
    frames = np.where(column.camera.hot | (column.camera.gain == 0), frames.mean(), frames)
    for y, x in ((-0.3, -0.3), (0.3, -0.25), (0.25, 0.3)):
        top, left = (int((c + 0.5) * 384) - 48 for c in (y, x))
        patch = frames[:, top : top + 96, left : left + 96]
        patch = patch - patch.mean(axis=(1, 2), keepdims=True)
        expected = exposure.motion.at((top + 48) / 384 - 0.5, (left + 48) / 384 - 0.5)[2]
        np.testing.assert_allclose(displacement(patch[2], patch[0]), expected, atol=0.3)


def test_particles_lie_where_the_truth_says():
    column = Column(height=512, width=512, frames=1)
    exposure = compose(column, 1, "good")
    truth, (top, left) = exposure.truth("m.tiff"), exposure.offset
    field = exposure.scene.proteins[top : top + 512, left : left + 512]
    offsets = []
    for particle in truth["particles"]:
        reach = int(0.5 * particle["diameter_A"] / column.pixel_size) + 2
        y, x = round(particle["y"]), round(particle["x"])
        window = field[y - reach : y + reach + 1, x - reach : x + reach + 1]
        if window.shape == (2 * reach + 1, 2 * reach + 1):
            grid = np.indices(window.shape) - reach
            centre = (window * grid).sum(axis=(1, 2)) / window.sum()
            offsets.append(centre - [particle["y"] - y, particle["x"] - x])
    assert len(offsets) >= 5
    # Neighbours reach into some windows, so the middle of the offsets is what counts.
    np.testing.assert_allclose(np.median(offsets, axis=0), 0, atol=0.3)


def test_particles_keep_their_distance(column):
    particles = compose(Column(), 0, "good").scene.particles
    centres = np.array([p.centre for p in particles])
    radii = np.array([0.5 * p.what.diameter / 1.3 for p in particles])
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1) - 0.95 * (radii[:, None] + radii)
    np.fill_diagonal(gaps, 0)
    assert gaps.min() >= 0
    assert {p.what.name for p in particles} == {"bgal", "apof"}


@pytest.mark.parametrize("label", ["carbon_edge", "ice_contamination"])
def test_particles_stay_off_carbon_and_crystals(label):
    column = Column(height=512, width=512, frames=1)
    exposure = compose(column, 5, label)
    assert 0.02 < (exposure.scene.loss > 0.05).mean() < 0.8
    places = np.array([p.centre for p in exposure.scene.particles]).astype(int)
    assert len(places) > 0
    assert (exposure.scene.loss[places[:, 0], places[:, 1]] < 0.05).all()


def test_carbon_and_crystals_take_electrons(column):
    plain, edge = (compose(column, 0, label) for label in ("empty", "carbon_edge"))
    means = [next(e.record()).mean() for e in (plain, edge)]
    rate = column.dose_per_frame * column.pixel_size**2
    assert means[0] == pytest.approx(rate * (1 / column.camera.gain[column.camera.gain > 0]).mean(), rel=0.03)
    assert means[1] < 0.99 * means[0]


def test_severe_drift_is_severe_and_empty_is_empty(column):
    assert compose(column, 2, "empty").truth("m")["particles"] == []
    good, severe = (compose(column, 2, label).motion.shifts for label in ("good", "severe_drift"))
    assert np.hypot(*severe[-1]) > 15 > np.hypot(*good[-1])
    np.testing.assert_array_equal(good[0], 0)


def test_the_beam_fades_the_proteins():
    column = Column(height=256, width=256, frames=10, drift=0.0, local_motion=0.0)
    frames = list(compose(column, 0, "good").intensities(ice=False))
    k = np.hypot(np.fft.fftfreq(frames[0].shape[0], 1.3)[:, None], np.fft.rfftfreq(frames[0].shape[1], 1.3))
    fine = (k > 0.15) & (k < 0.25)
    first, last = (np.abs(np.fft.rfft2(f))[fine].sum() for f in (frames[0], frames[-1]))
    assert last / first == pytest.approx(np.exp(-9 * 2 / (2 * (0.245 * 0.2**-1.665 + 2.81))), rel=0.15)
