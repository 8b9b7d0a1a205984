"""The scores of the 2D benchmark know right from wrong, and its stack shows what its truth says."""

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.bench.class2d import BOX, PIXEL, _means, make_stack
from nextpyp_nb.bench.class2d_score import adjusted_rand, pose_errors, purity, resolution
from nextpyp_nb.formats.mrc import read_mrc


def test_labels_are_compared_whatever_their_names():
    labels = np.repeat([0, 1, 2], 10)
    assert adjusted_rand(5 - labels, labels) == pytest.approx(1.0)
    assert purity(np.arange(30), labels) == 1.0
    assert purity(np.zeros(30, int), labels) == pytest.approx(1 / 3)
    random = np.random.default_rng(0).integers(5, size=(2, 5000))
    assert abs(adjusted_rand(*random)) < 0.01


def test_poses_are_compared_whatever_the_frame_of_the_class():
    rng = np.random.default_rng(1)
    psi, shift = rng.uniform(-180, 180, 40), rng.normal(0, 2, (40, 2))
    known = [{"psi": p, "dx": x, "dy": y} for p, (x, y) in zip(psi, shift, strict=True)]
    turn = np.deg2rad(-(psi + 50))
    centre = 3 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    table = pd.DataFrame({"rlnAnglePsi": psi + 50})
    table[["rlnOriginXAngst", "rlnOriginYAngst"]] = -2.0 * (shift + centre)
    turned, moved = pose_errors(table, known, 2.0)
    assert turned < 1e-6
    assert moved < 1e-6


def test_the_stack_shows_its_views(tmp_path):
    folder = make_stack(tmp_path / "stack", 3, seed=1, snr=0.1)
    images, size = read_mrc(folder / "particles_snr0.1.mrcs", stack=True)
    assert images.shape == (3, BOX, BOX)
    assert size == pytest.approx(PIXEL)
    view = np.asarray(read_mrc(folder / "refs.mrcs")[0][0])
    assert resolution(view, view, PIXEL) < 2.2 * PIXEL


def test_means_are_over_stacks_and_seeds_alone():
    run = {"program": "ours", "snr": 0.1, "particles": 1000, "ARI": 0.5, "churn": None, "updates": []}
    rows = [run | {"stack": stack, "seed": seed} for stack in "ab" for seed in (1, 2)]
    rows[3]["ARI"] = 0.9
    rows += [run | {"stack": "a", "seed": 1, "snr": 0.04}, run | {"stack": "a", "seed": 1, "particles": 3000}]
    means = _means(rows)
    assert [(m["stack"], m["snr"], m["particles"]) for m in means] == [
        ("mean of 4", 0.1, 1000), ("mean of 1", 0.04, 1000), ("mean of 1", 0.1, 3000)
    ]  # fmt: skip
    assert means[0]["ARI"] == pytest.approx(0.6)
    assert "seed" not in means[0]
