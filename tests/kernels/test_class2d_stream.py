"""Streaming 2D classification counts each particle once, survives a restart bit for bit, and forgets."""

import io

import numpy as np
import pytest

from nextpyp_nb.kernels import class2d_stream
from nextpyp_nb.kernels.class2d_blocks import noise_of
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.records import Ctf

BOX, PIXEL = 48, 4.0
CTF = Ctf(
    defocus_u=15300.0, defocus_v=14900.0, defocus_angle=35.0, voltage=300.0, cs=2.7, amplitude_contrast=0.1
)


@pytest.fixture(scope="module")
def sample():
    """Two shapes of two and of three spots, turned at random: images by id, and the kinds."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    kind, images = rng.integers(2, size=240), rng.standard_normal((240, BOX, BOX))
    for image, k in zip(images, kind, strict=True):
        turn = rng.uniform(0, 2 * np.pi)
        for spot in range(2 + k):
            angle = turn + 2 * np.pi * spot / (2 + k)
            at = (8 * np.sin(angle), 8 * np.cos(angle))
            image += 5 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)
    return images.astype(np.float32), kind


def engine_of(sample, **setup):
    return Classification(
        reader(sample),
        **{"box": BOX, "pixel_size": PIXEL, "diameter": 130.0, "classes": 4, "seed": 3, **setup},
    )


def reader(sample):
    return lambda ids: (sample[0][ids], [CTF] * len(ids))


@pytest.fixture(scope="module")
def streamed(sample):
    engine = engine_of(sample)
    # A class for each 30 particles, as many as asked for; found anew each time the particles doubled.
    for k, (classes, annealed) in enumerate([(2, True), (4, True), (4, False), (4, True)]):
        assert engine.add(f"mic{k}", np.arange(60 * k, 60 * k + 60), groups=k % 2)
        step = engine.update()
        assert (step.new, step.annealed, len(engine.references)) == (60, annealed, classes)
    assert step.settled
    return engine


def test_shapes_part_and_each_particle_counts_once(sample, streamed):
    found = streamed.result()
    assert sum(c.count for c in found.classes) == 240
    number, kind = found.class_number, sample[1][found.ids]
    right = sum(np.bincount(kind[number == k]).max() for k in np.unique(number))
    assert right / 240 > 0.9
    assert len(set(found.identity)) == len(found.averages)


def test_a_batch_counts_only_once(streamed):
    assert not streamed.add("mic0", np.arange(60))
    with pytest.raises(ValueError, match="there already"):
        streamed.add("again", np.arange(60))
    assert len(streamed.table) == 240


def test_replays_change_little_and_sums_stay_those_of_the_members(sample, streamed):
    engine = restored(sample, streamed)
    step = engine.update()
    assert step.replayed == 240
    assert step.churn < 0.05
    rows = engine.table.rows
    assert engine.sums.count.sum() == rows["counted"].sum() == 240
    np.testing.assert_array_equal(engine.sums.count.sum(axis=0), np.bincount(rows["number"], minlength=4))


def restored(sample, engine):
    file = io.BytesIO()
    np.savez(file, **engine.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return Classification.from_arrays(stored, reader(sample))


def test_a_restart_changes_no_bit(sample):
    whole, broken = engine_of(sample), engine_of(sample)
    for k in range(3):
        for engine in (whole, broken):
            engine.add(f"mic{k}", np.arange(50 * k, 50 * k + 50))
            engine.update()
        broken = restored(sample, broken)
    np.testing.assert_array_equal(whole.result().averages, broken.result().averages)
    np.testing.assert_array_equal(whole.table.rows, broken.table.rows)


def test_removed_particles_leave_no_trace_in_the_sums(sample, streamed):
    engine = restored(sample, streamed)
    assert engine.remove(np.arange(60, 85)) == 25
    assert engine.remove(np.arange(60, 120)) == 35
    assert engine.sums.count.sum() == 180
    assert set(engine.result().ids) == set(range(60)) | set(range(120, 240))
    assert engine.remove(np.arange(240)) == 180
    largest = np.abs(streamed.sums.signal).max()
    assert np.abs(engine.sums.signal).max() < 1e-3 * largest
    assert engine.add("mic1", np.arange(60, 120))


def test_classes_found_anew_bear_the_names_of_those_they_resemble(sample, streamed):
    known, engine = streamed.result(), engine_of(sample, seed=8)
    names = known.identity + 100
    engine.expect(known.averages, names)
    engine.add("all", np.arange(120))
    engine.update()
    found = engine.result()
    number, kind = found.class_number - 1, sample[1][:120]
    before = known.class_number[np.argsort(known.ids)][:120] - 1
    # Whoever bears an old name holds the shape that the old class held.
    same = np.isin(found.identity[number], names)
    assert same.mean() > 0.5
    shape = {
        name: np.bincount(sample[1][:120][names[before] == name], minlength=2).argmax() for name in names
    }
    right = [shape[name] == k for name, k in zip(found.identity[number][same], kind[same], strict=True)]
    assert np.mean(right) > 0.9
    assert engine.next_identity > names.max()


def test_junk_is_parked_and_looked_at_every_fourth_time_alone(sample):
    images, kind = sample[0].copy(), sample[1].copy()
    kind[::3] = -1
    images[::3] = np.random.default_rng(5).standard_normal(images[::3].shape)
    engine = engine_of((images, kind))
    engine.add("all", np.arange(240))
    engine.update()
    rows, parked = engine.table.rows, np.flatnonzero(engine.parked)
    junk = np.isin(rows["number"], parked)
    assert (kind[junk] == -1).mean() > 0.9
    assert junk.sum() > 40
    for update in (2, 3, 4):
        before = rows["likelihood"].copy()
        engine.update()
        seen = rows["likelihood"] != before
        assert seen[~junk].mean() > 0.9
        assert seen[junk].mean() > 0.9 if update == 4 else not seen[junk].any()


def test_one_update_visits_a_bounded_number_of_old_particles(sample, streamed):
    engine = restored(sample, streamed)
    assert 100 <= engine.update(replay=100).replayed <= 228


def test_images_beyond_the_memory_are_not_read_at_each_look(sample, monkeypatch):
    """Once for the draw in which classes are found, once for all five looks."""
    monkeypatch.setattr(class2d_stream, "BLOCK", 20)
    read = np.zeros(240, int)

    def counted(ids):
        read[ids] += 1
        return reader(sample)(ids)

    engine = engine_of(sample)
    engine.blocks.read, engine.blocks.room = counted, engine.blocks.room * 70 // engine.blocks.fitting
    engine.add("all", np.arange(240))
    assert engine.update().settled
    assert engine.blocks.fitting < 80
    # The first blocks tell the noise of their optics group.
    assert read[80:].max() <= 2
    assert read.max() <= 3


def test_wrong_input_is_refused_in_words(sample):
    with pytest.raises(ValueError, match="even box"):
        engine_of(sample, box=47)
    with pytest.raises(ValueError, match="classify anew"):
        Classification.from_arrays({"rows": np.zeros(1)}, reader(sample))
    engine = Classification(
        lambda ids: (sample[0][:1], [CTF]), box=BOX, pixel_size=PIXEL, diameter=130.0, classes=2
    )
    engine.add("mic", np.arange(60))
    with pytest.raises(ValueError, match="asked for 60"):
        engine.update()


def test_the_noise_of_a_small_optics_group_leans_on_the_others():
    rng = np.random.default_rng(0)
    known = [np.full(8, 2.0, np.float32), np.full(8, 4.0, np.float32)]
    few, many = (rng.uniform(9.5, 10.5, (n, 8)).astype(np.float32) for n in (3, 3000))
    assert 3 < noise_of([few], known).mean() < 4.5
    assert noise_of([many[:1000], many[1000:]], known).mean() == pytest.approx(10, rel=0.02)
    assert noise_of([few], []).mean() == pytest.approx(10, rel=0.05)
