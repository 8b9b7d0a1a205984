import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.records import MotionModel
from nextpyp_nb.simulate import Column, compose
from nextpyp_nb.simulate.score import motion_error, score

PEER = Path(__file__).parents[2].parent / "shared" / "data" / "reference" / "score_session.py"


@pytest.fixture
def found(tmp_path):
    """Truth of four movies and what an imperfect session says of three of them."""
    rng = np.random.default_rng(9)
    column = Column(height=512, width=640, frames=6)
    folder = tmp_path / "truth"
    folder.mkdir()
    rows, motions, picks = [], {}, {}
    for index, label in enumerate(("good", "carbon_edge", "empty", "good")):
        name = f"mov_{index + 1:04d}"
        truth = compose(column, index, label).truth(f"{name}.tiff")
        (folder / f"{name}.json").write_text(json.dumps(truth))
        if index == 3:
            continue
        u, v = truth["defocus_u"] + rng.normal(0, 90), truth["defocus_v"] + rng.normal(0, 90)
        rows.append(
            {"name": name, "defocus_u": u, "defocus_v": v, "defocus_angle": truth["defocus_angle"] + 9}
        )
        shifts = np.array(truth["global_shift_px"])[:, ::-1] + rng.normal(0, 0.3, (6, 2))
        motions[name] = MotionModel(
            shifts=shifts,
            pixel_size=1.3,
            dose_per_frame=2.0,
            height=512,
            width=640,
            local=rng.normal(0, 0.02, (2, 6, 3)) if index == 1 else None,
        )
        centres = np.array([[p["y"], p["x"]] for p in truth["particles"]]).reshape(-1, 2)[2:]
        wrong = rng.uniform(0, [512, 640], (5, 2))
        picks[name] = np.vstack([centres + rng.normal(0, 5, centres.shape), wrong])
    return folder, pd.DataFrame(rows), motions, picks


def test_truth_itself_scores_perfectly(found):
    folder, table, motions, picks = found
    truths = {p.stem: json.loads(p.read_text()) for p in folder.glob("*.json")}
    columns = ["defocus_u", "defocus_v", "defocus_angle"]
    table = pd.DataFrame({n: [t[c] for c in columns] for n, t in truths.items()}, columns).T
    motions = {
        n: MotionModel(
            shifts=np.array(t["global_shift_px"])[:, ::-1] + 7.0,
            pixel_size=1.3,
            dose_per_frame=2.0,
            height=512,
            width=640,
        )
        for n, t in truths.items()
    }
    picks = {n: [[p["y"], p["x"]] for p in t["particles"]] for n, t in truths.items()}
    result = score(folder, table, motions, picks)
    # The x² and y² terms of the field have no exact zero over the nine points.
    assert result["motion_global_median_px"] < 0.15
    assert result["defocus_max_A"] == 0
    assert result["f1"] == pytest.approx(1.0)
    assert result["false"] == result["missed"] == result["ctf_missing"] == 0


def test_local_model_is_read_in_y_x_order():
    truth = compose(Column(height=256, width=256, frames=4), 0, "empty").truth("m")
    # A field that grows with x and the frame number, along y only.
    for place in truth["grid_shift"]:
        x = place["x"] / truth["nx"] - 0.5
        place["shift"] = [[0.0, 3.0 * x * frame] for frame in range(4)]
    local = np.zeros((2, 6, 3))
    local[0, 1, 0] = 3.0
    model = MotionModel(
        shifts=np.zeros((4, 2)), pixel_size=1.3, dose_per_frame=2.0, height=256, width=256, local=local
    )
    assert motion_error(truth, model) == pytest.approx(0, abs=1e-9)
    assert motion_error(truth, None) > 0.5


def test_nothing_found_is_scored_as_a_failure(found):
    result = score(
        found[0], pd.DataFrame(columns=["name", "defocus_u", "defocus_v", "defocus_angle"]), {}, {}
    )
    assert result["defocus_median_A"] == 1000
    assert result["recall"] == 0
    assert result["motion_missing"] == 4


def test_empty_truth_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no truth files"):
        score(tmp_path, pd.DataFrame({"name": []}), {}, {})


@pytest.mark.shared
@pytest.mark.skipif(not PEER.is_file(), reason="needs the shared scoring script")
def test_agrees_with_the_independent_scorer(found, tmp_path):
    folder, table, motions, picks = found
    export = tmp_path / "export"
    export.mkdir()
    lines = [
        "data_micrographs",
        "loop_",
        "_rlnMicrographName",
        "_rlnDefocusU",
        "_rlnDefocusV",
        "_rlnDefocusAngle",
    ]
    lines += [
        f"{r.name_}.mrc {r.defocus_u} {r.defocus_v} {r.defocus_angle}"
        for r in table.rename(columns={"name": "name_"}).itertuples()
    ]
    (export / "micrographs.star").write_text("\n".join(lines))
    lines = ["data_particles", "loop_", "_rlnMicrographName", "_rlnCoordinateX", "_rlnCoordinateY"]
    lines += [f"{name}.mrc {x} {y}" for name, centres in picks.items() for y, x in centres]
    (export / "particles.star").write_text("\n".join(lines))
    for name, motion in motions.items():
        lines = ["data_global_shift", "loop_", "_rlnMicrographShiftX", "_rlnMicrographShiftY"]
        lines += [f"{-x} {-y}" for y, x in motion.shifts]
        if motion.local is not None:
            lines += ["data_local_motion_model", "loop_", "_rlnMotionModelCoeff"]
            lines += [str(-value) for value in motion.local[::-1].ravel()]
        (export / f"{name}.star").write_text("\n".join(lines))
    answer = tmp_path / "peer.json"
    command = [sys.executable, str(PEER), str(folder), str(export), "--json", str(answer)]
    subprocess.run(command, check=True, capture_output=True)
    peer, ours = json.loads(answer.read_text()), score(folder, table, motions, picks)
    assert ours["motion_global_median_px"] == pytest.approx(peer["motion"]["global_median"])
    assert ours["motion_field_median_px"] == pytest.approx(peer["motion"]["field_median"])
    assert ours["defocus_median_A"] == pytest.approx(peer["ctf"]["median"])
    assert ours["astigmatism_median_A"] == pytest.approx(peer["ctf"]["astig_median"])
    assert ours["precision"] == pytest.approx(peer["picks"]["precision"])
    assert ours["recall"] == pytest.approx(peer["picks"]["recall"])
    assert 0 < ours["precision"] < 1
