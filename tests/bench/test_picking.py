import json

import numpy as np
import pytest

from nextpyp_nb.bench import particle_size, picking, template_bias

SMALL = {"height": 640, "width": 640, "frames": 1, "dose_per_frame": 32.0}


def truth():
    places = [(200, 200), (300, 300), (10, 200)]
    return {
        "ny": 500, "nx": 500, "apix": 1.0,
        "particles": [{"y": y, "x": x, "kind": "particle"} for y, x in places],
    }  # fmt: skip


def test_counts_centring_and_cuts_follow_the_truth():
    centres, scores = np.array([[203.0, 204.0], [300, 300], [400, 150]]), np.array([9.0, 8.0, 2.0])
    found = picking.judged(truth(), centres, scores)
    assert (found["hits"], found["false"], found["missed"]) == (2, 1, 0)
    assert sorted(found["errors_A"]) == pytest.approx([0, 5])
    row = {"set": "x", "seed": 1, "kind": "good", "program": "p", "cpu_s": 0.1} | found
    whole, good = picking.summaries([row])
    assert (whole["f1"], whole["best_cut_f1"]) == (pytest.approx(0.8), pytest.approx(1.0))
    assert whole["precision"] == pytest.approx(2 / 3)
    assert whole["centring_A"] == pytest.approx(2.5)
    assert good["kind"] == "good"


def test_micrographs_hold_the_promised_dose_and_particles_dark_at_their_places():
    wanted = picking.PickingSet(column=SMALL)
    exposure, image = picking.draw(wanted, 5, 0, "good")
    assert image.shape == (640, 640)
    assert image.mean() == pytest.approx(32 * 1.3**2, rel=0.02)
    inside = np.zeros(image.shape, bool)
    y, x = np.mgrid[:640, :640]
    for particle in exposure.truth("")["particles"]:
        inside |= np.hypot(y - particle["y"], x - particle["x"]) < 30
    assert image[inside].mean() < image[~inside].mean() - 0.5


def test_proteins_keep_their_density_when_resized():
    column = picking.SizedColumn(diameter=360.0)
    large, usual = column.proteins["bgal"][0], picking.Column().proteins["bgal"][0]
    assert large.diameter == pytest.approx(2 * usual.diameter)
    assert large.mass == pytest.approx(8 * usual.mass)


def test_the_benchmark_writes_its_rows(monkeypatch, tmp_path):
    tiny = picking.PickingSet(kinds=("good", "empty"), column=SMALL)
    monkeypatch.setitem(picking.FAMILIES, "tiny", {"tiny": tiny})
    out = tmp_path / "p.json"
    assert picking.bench_picking(sets=["tiny"], seeds=[3], against=None, out=out) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["kind"] for row in rows] == ["all", "good", "empty"]
    assert rows[1]["recall"] > 0.5
    assert rows[2]["false_most"] <= 2


def test_unknown_sets_are_named():
    with pytest.raises(ValueError, match="no set s9; expected some of s1"):
        picking.bench_picking(sets=["s9"], seeds=[1], against=None, out=None)


def test_templates_take_nothing_from_pure_noise(tmp_path):
    out = tmp_path / "bias.json"
    assert template_bias.bench_bias(micrographs=4, seed=21, out=out) == 0
    default, forced, by_chance = json.loads(out.read_text())["rows"]
    assert default["picks"] == 0
    # Only a threshold set by hand would: there are places that score, and they would be averaged.
    assert forced["picks"] == by_chance["picks"] == 4 * template_bias.FORCED
    assert forced["best_score"] > 4


def test_the_radius_of_drawn_particles_is_estimated_within_a_fifth(tmp_path, monkeypatch):
    small = {"height": 640, "width": 640, "frames": 1, "dose_per_frame": 32.0}
    monkeypatch.setattr(particle_size, "FIRST", ("good", "ice_contamination"))
    monkeypatch.setattr(particle_size, "SETS", {"110 Å": picking.sized(110.0, **small)})
    assert particle_size.bench_sizes(seeds=[41], out=tmp_path / "sizes.json") == 0
    (row,) = json.loads((tmp_path / "sizes.json").read_text())["rows"]
    assert row["estimate"] == pytest.approx(row["radius"], rel=0.2)


def test_averages_that_resemble_a_template_are_recognised(monkeypatch):
    views = template_bias._views(np.random.default_rng(1))[:2]
    turned = list(template_bias._turned(views, template_bias.PIXEL * 200 / 64))
    monkeypatch.setattr(template_bias, "_averages", lambda *known: [np.roll(turned[7], (2, -1), (0, 1))])
    found = template_bias._resemblance(np.zeros((50, 64, 64)), [None] * 50, views, 1)
    assert found["correlation"] == pytest.approx(1, abs=0.02)
    assert found["independent"] == pytest.approx(1, abs=0.1)
