import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import starfile

from nextpyp_nb.formats.check import BadFile
from nextpyp_nb.formats.motion_star import read_motion_star, write_motion_star
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star import (
    OpticsGroup,
    micrograph_rows,
    optics_block,
    particle_rows,
    read_star,
    write_star,
)
from nextpyp_nb.records import MotionModel

OPTICS = {
    "voltage": 300,
    "cs": 2.7,
    "amplitude_contrast": 0.1,
    "original_pixel_size": 1.3,
    "micrograph_pixel_size": 1.3,
}


@pytest.fixture
def motion(rng):
    shifts = np.cumsum(rng.normal(0, 1, (16, 2)), 0)
    return MotionModel(
        shifts=shifts - shifts[0],
        pixel_size=1.3,
        dose_per_frame=2.0,
        height=1024,
        width=1440,
        local=rng.normal(0, 0.1, (2, 6, 3)),
    )


@pytest.fixture
def micrographs():
    return pd.DataFrame(
        {
            "name": ["a", "b"],
            "path": ["micrographs/a.mrc", "micrographs/b.mrc"],
            "motion_path": ["motion/a.star", "motion/b.star"],
            "defocus_u": [19000.25, 12000.0],
            "defocus_v": [18000.5, 11000.0],
            "defocus_angle": [-56.0, 30.0],
            "fit_resolution": [3.2, np.nan],
            "score": [0.2, 0.1],
            "motion_total": [20.0, 10.0],
            "motion_early": [5.0, 4.0],
            "motion_late": [15.0, 6.0],
        }
    )


def test_a_peer_reads_what_we_write(tmp_path, micrographs):
    path = tmp_path / "micrographs.star"
    rows = micrograph_rows(micrographs)
    write_star(path, {"optics": optics_block([OpticsGroup(**OPTICS)]), "micrographs": rows})
    peer, ours = starfile.read(path), read_star(path)
    assert list(peer) == list(ours) == ["optics", "micrographs"]
    for name, table in peer.items():
        pd.testing.assert_frame_equal(ours[name], table, check_dtype=False, check_names=False)
    pd.testing.assert_frame_equal(ours["micrographs"], rows, check_dtype=False)
    assert ours["micrographs"]["rlnDefocusU"].tolist() == [19000.25, 12000.0]
    assert ours["optics"]["rlnSphericalAberration"].tolist() == [2.7]
    assert [entry.name for entry in tmp_path.iterdir()] == ["micrographs.star"]


def test_reads_what_a_peer_writes(tmp_path):
    blocks = {
        "general": {"rlnImageSizeX": 5, "rlnMicrographMovieName": "a b.tif", "rlnVoltage": 300.5},
        "rows": pd.DataFrame({"rlnA": [1, 2], "rlnB": ["x", "y z"], "rlnC": [0.5, np.nan]}),
        "none": pd.DataFrame({"rlnA": [], "rlnB": []}),
    }
    starfile.write(blocks, tmp_path / "a.star", na_rep="nan")
    ours = read_star(tmp_path / "a.star")
    assert ours["general"] == blocks["general"]
    pd.testing.assert_frame_equal(ours["rows"], blocks["rows"], check_dtype=False)
    assert ours["none"].shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no data_ block"),
        ("hello\n", "no data_ block"),
        ("data_\nloop_\n_rlnA #1\n_rlnB #2\n1 2\n3\n", "line 6 has 1 values, expected 2"),
        ("data_\nloop_\n1 2\n", "labels"),
        ("data_\nloop_\n_rlnA\n_rlnA\n1 2\n", "labels"),
        ("data_x\n_rlnA\n", "line 2"),
        ("data_x\n\ndata_x\n", "two blocks"),
        ("data_x\nloop_\n_rlnA\n'open\n", "line 4"),
    ],
)
def test_malformed_text_is_refused_and_mending_it_helps(tmp_path, text, what):
    path = tmp_path / "a.star"
    path.write_text(text)
    with pytest.raises(BadFile, match=what):
        read_star(path)
    path.write_text("data_x\nloop_\n_rlnA #1\n7\n")
    assert read_star(path)["x"]["rlnA"].tolist() == [7]


def test_mutants_are_read_or_refused(tmp_path, rng, motion):
    path = tmp_path / "a.star"
    write_motion_star(path, motion, movie_name="m.tif", voltage=300)
    raw, refused = path.read_bytes(), 0
    for _ in range(400):
        mutant = bytearray(raw)
        mutant[int(rng.integers(len(raw)))] = int(rng.integers(256))
        path.write_bytes(mutant)
        try:
            assert np.isfinite(read_motion_star(path).shifts).all()
        except BadFile:
            refused += 1
    assert 50 < refused < 390


@pytest.mark.parametrize("name", ["a b.mrc", "it's.mrc", 'a".mrc', "", "_a.mrc", "#a", "a\nb", "data_1"])
def test_names_that_star_cannot_hold_are_refused_with_the_reason(tmp_path, name):
    with pytest.raises(ValueError, match="a STAR file cannot hold the name"):
        write_star(tmp_path / "a.star", {"x": pd.DataFrame({"rlnMicrographName": [name]})})
    for bad in (name, "a\udcff"):
        with pytest.raises(ValueError, match="rename the file"):
            write_star(tmp_path / "a.star", {"x": {"rlnMicrographName": bad}})
    assert not list(tmp_path.iterdir())


def test_motion_round_trip(tmp_path, motion):
    write_motion_star(
        tmp_path / "a.star", motion, movie_name="m.tif", gain_name="g.mrc", binning=2, voltage=300
    )
    read = read_motion_star(tmp_path / "a.star")
    np.testing.assert_allclose(read.shifts, motion.shifts, atol=1e-7)
    np.testing.assert_allclose(read.local, motion.local, rtol=1e-7)
    assert (read.height, read.width, read.pixel_size, read.dose_per_frame) == (1024, 1440, 1.3, 2.0)


def test_relions_motion_is_minus_the_specimens_x_before_y(tmp_path, motion):
    write_motion_star(
        tmp_path / "a.star", motion, movie_name="m.tif", voltage=300, first_frame=3, eer_frames=32
    )
    blocks = read_star(tmp_path / "a.star")
    table = blocks["global_shift"]
    assert table["rlnMicrographFrameNumber"].tolist() == list(range(3, 19))
    np.testing.assert_allclose(table["rlnMicrographShiftX"], -motion.shifts[:, 1], atol=1e-7)
    np.testing.assert_allclose(table["rlnMicrographShiftY"], -motion.shifts[:, 0], atol=1e-7)
    coefficients = blocks["local_motion_model"]["rlnMotionModelCoeff"]
    assert coefficients[0] == pytest.approx(-motion.local[1, 0, 0])
    assert coefficients[18 + 3 * 5 + 2] == pytest.approx(-motion.local[0, 5, 2])
    general = blocks["general"]
    assert (general["rlnImageSizeZ"], general["rlnMicrographStartFrame"], general["rlnEERGrouping"]) == (
        18,
        3,
        32,
    )
    assert general["rlnMotionModelVersion"] == 1


def test_relions_own_motion_is_the_simulated_one(shared):
    """The sign against the truth, not against ourselves."""
    truth = read_truth(shared / "truth" / "mov_0002.json")
    read = read_motion_star(shared / "aligned" / "mov_0002_relion_motion.star")
    error = centred(read.shifts) - centred(truth)
    assert np.sqrt((error**2).sum(1).mean()) < 0.6
    assert np.sqrt((centred(truth) ** 2).sum(1).mean()) > 1.5
    assert read.local.shape == (2, 6, 3)


def read_truth(path):
    grid = pd.read_json(path, typ="series")["grid_shift"]
    return np.array([point["shift"] for point in grid]).mean(0)[:, ::-1]


def centred(shifts):
    return shifts - shifts.mean(0)


def test_the_scorer_finds_a_true_export_perfect(tmp_path, shared):
    """Truth, exported with our names and signs, must come back as zero error."""
    micrographs, particles = [], []
    (tmp_path / "motion").mkdir()
    for path in sorted((shared / "truth").glob("mov_*.json")):
        truth = json.loads(path.read_text())
        write_motion_star(
            tmp_path / "motion" / f"{path.stem}.star",
            fitted_motion(truth),
            movie_name=truth["movie"],
            voltage=300,
        )
        ctf = {name: truth[name] for name in ("defocus_u", "defocus_v", "defocus_angle")}
        micrographs.append({"path": f"micrographs/{path.stem}.mrc", **ctf})
        particles += [
            {"micrograph": f"micrographs/{path.stem}.mrc", "y": p["y"], "x": p["x"]}
            for p in truth["particles"]
            if p["kind"] == "particle"
        ]
    optics = optics_block([OpticsGroup(**OPTICS)])
    write_star(
        tmp_path / "micrographs.star",
        {"optics": optics, "micrographs": micrograph_rows(pd.DataFrame(micrographs))},
    )
    write_star(
        tmp_path / "particles.star", {"optics": optics, "particles": particle_rows(pd.DataFrame(particles))}
    )
    scorer = shared / "reference" / "score_session.py"
    run = subprocess.run(
        [sys.executable, scorer, shared / "truth", tmp_path], capture_output=True, text=True, check=True
    )
    score = json.loads(run.stdout)
    assert score["motion"]["n"] == score["ctf"]["n"] == 12
    assert score["motion"]["global_median"] < 1e-3
    assert score["motion"]["field_median"] < 0.15  # what the 18 terms cannot follow
    assert score["ctf"]["max"] < 0.01
    assert (score["picks"]["precision"], score["picks"]["recall"]) == (1, 1)
    assert score["picks"]["centring"] < 1e-3


def fitted_motion(truth):
    shifts = np.array([point["shift"] for point in truth["grid_shift"]])[..., ::-1]
    whole = shifts.mean(0)
    x = np.array([point["x"] / truth["nx"] - 0.5 for point in truth["grid_shift"]])
    y = np.array([point["y"] / truth["ny"] - 0.5 for point in truth["grid_shift"]])
    z = np.arange(truth["frames"])
    space = np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], 1)
    basis = (space[:, None, :, None] * np.stack([z, z**2, z**3], 1)[None, :, None, :]).reshape(-1, 18)
    rest = (shifts - whole).reshape(-1, 2)
    local = np.linalg.lstsq(basis, rest, rcond=None)[0].T.reshape(2, 6, 3)
    return MotionModel(
        shifts=whole - whole[0],
        pixel_size=truth["apix"],
        dose_per_frame=truth["dose_per_frame"],
        height=truth["ny"],
        width=truth["nx"],
        local=local,
    )


def test_particle_table():
    particles = pd.DataFrame(
        {
            "micrograph": ["a.mrc", "a.mrc"],
            "y": [10.0, 20.0],
            "x": [30.0, 40.0],
            "pick_score": [9.0, 8.0],
            "stack": ["p/a.mrcs", "p/a.mrcs"],
            "index": [1, 2],
            "class_number": [3, 4],
            "rotation": [30.0, -170.0],
            "shift_y": [1.0, 0.0],
            "shift_x": [-2.0, 0.0],
            "pixel_size": 2.6,
            "optics_group": [1, 2],
        }
    )
    table = particle_rows(particles)
    assert table["rlnImageName"].tolist() == ["000001@p/a.mrcs", "000002@p/a.mrcs"]
    assert table["rlnCoordinateX"].tolist() == [30, 40]
    assert table["rlnCoordinateY"].tolist() == [10, 20]
    assert table["rlnOpticsGroup"].tolist() == [1, 2]
    assert table["rlnOriginXAngst"].tolist() == pytest.approx([5.2, 0])
    assert table["rlnOriginYAngst"].tolist() == pytest.approx([-2.6, 0])
    assert table["rlnClassNumber"].tolist() == [3, 4]
    with pytest.raises(ValueError, match="lacks micrograph"):
        particle_rows(particles.drop(columns="micrograph"))


def relion(program, *arguments, folder):
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    run = subprocess.run(
        [found, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def blob(shape, *spots):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return sum(h * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8.0) for cy, cx, h in spots).astype(np.float32)


@pytest.mark.relion
def test_relion_extracts_at_our_coordinates(tmp_path):
    write_mrc(tmp_path / "mic.mrc", blob((96, 128), (30, 40, 1), (70, 100, 2)), pixel_size=1.3)
    micrographs = pd.DataFrame(
        {
            "path": ["mic.mrc"],
            "defocus_u": [9000.0],
            "defocus_v": [8800.0],
            "defocus_angle": [10.0],
            "fit_resolution": [None],
        }
    )
    write_star(
        tmp_path / "micrographs.star",
        {"optics": optics_block([OpticsGroup(**OPTICS)]), "micrographs": micrograph_rows(micrographs)},
    )
    picks = pd.DataFrame(
        {"micrograph": "mic.mrc", "y": [30.0, 70.0], "x": [40.0, 100.0], "pick_score": [2, 1]}
    )
    coordinates = particle_rows(picks).drop(columns=["rlnMicrographName", "rlnOpticsGroup"])
    write_star(tmp_path / "mic_pick.star", {"": coordinates})
    relion(
        "relion_preprocess", "--i", "micrographs.star", "--coord_dir", "./", "--coord_suffix", "_pick.star",
        "--extract", "--extract_size", 32, "--part_star", "out.star", "--part_dir", "out/", folder=tmp_path,
    )  # fmt: skip
    boxes, _ = read_mrc(next((tmp_path / "out").rglob("*.mrcs")))
    peaks = [np.unravel_index(box.argmax(), box.shape) for box in boxes]
    assert peaks == [(16, 16), (16, 16)]
    made = read_star(tmp_path / "out.star")
    assert made["particles"]["rlnDefocusU"].tolist() == [9000, 9000]
    assert made["particles"]["rlnCoordinateX"].tolist() == [40, 100]


@pytest.mark.relion
def test_relion_turns_our_particles_onto_their_class(tmp_path):
    """A class with two unequal spots; the particle is it, turned by +35 degrees and moved by (4, -6) px."""
    size, angle, moved = 64, np.deg2rad(35), (4.0, -6.0)
    spots = [(0.0, 14.0, 1.0), (9.0, 0.0, 0.6)]
    average = blob((size, size), *[(size / 2 + y, size / 2 + x, h) for y, x, h in spots])
    turned = [
        (y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle), h) for y, x, h in spots
    ]
    particle = blob(
        (size, size), *[(size / 2 + moved[0] + y, size / 2 + moved[1] + x, h) for y, x, h in turned]
    )
    write_mrc(tmp_path / "p.mrcs", particle[None], pixel_size=2.0)
    rows = pd.DataFrame(
        {"micrograph": ["m.mrc"], "y": [50.0], "x": [60.0], "stack": ["p.mrcs"], "index": [1],
         "rotation": [35.0], "shift_y": [4.0], "shift_x": [-6.0], "pixel_size": [2.0], "class_number": [1]}
    )  # fmt: skip
    optics = optics_block([OpticsGroup(**OPTICS, image_pixel_size=2.0, box=size)])
    write_star(tmp_path / "particles.star", {"optics": optics, "particles": particle_rows(rows)})
    relion(
        "relion_stack_create", "--i", "particles.star", "--o", "aligned", "--apply_transformation",
        folder=tmp_path,
    )  # fmt: skip
    aligned = read_mrc(tmp_path / "aligned.mrcs")[0]
    assert np.corrcoef(aligned.ravel(), average.ravel())[0, 1] > 0.99


@pytest.mark.relion
def test_relion_prints_our_motion_star(tmp_path, motion):
    write_motion_star(tmp_path / "a.star", motion, movie_name="m.tif", voltage=300)
    printed = relion(
        "relion_star_printtable", "a.star", "data_global_shift", "rlnMicrographShiftX", folder=tmp_path
    )
    values = [float(word) for word in printed.split()]
    np.testing.assert_allclose(values, -motion.shifts[:, 1], atol=2e-4)
