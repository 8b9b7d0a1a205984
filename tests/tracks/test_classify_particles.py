"""Rounds of 2D classification: each batch counts once, what left is gone, and same rounds give same bits."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star_text import read_star
from nextpyp_nb.session import create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.places import Places, place
from nextpyp_nb.session.store import Pending, Store
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.class2d_boxes import boxing
from nextpyp_nb.tracks.classify import FEWEST, ClassifyTrack
from nextpyp_nb.tracks.classify_particles import classify_particles
from nextpyp_nb.tracks.export import _export_particles
from nextpyp_nb.tracks.export_classes import class_rows, export_classes
from nextpyp_nb.tracks.runner import run_session
from nextpyp_nb.tracks.track import Live

PIXEL, RADIUS, EACH = 4.0, 60.0, 49
NAMES, MORE = ["a", "b", "c", "d"], ["e", "f"]
SETTINGS = {
    "microscope.pixel_size": PIXEL, "microscope.voltage": 300, "picking.radius": RADIUS, "class2d.classes": 4
}  # fmt: skip


def micrograph(folder, name, seed, picked=EACH):
    """Spots in pairs and in threes on a lattice, turned at random, with picks and a CTF."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((420, 420))
    y, x = np.mgrid[:420, :420]
    centres = np.stack(np.mgrid[45:400:54, 45:400:54], axis=-1).reshape(-1, 2)[:EACH].astype(np.float32)
    for k, (cy, cx) in enumerate(centres):
        turn, spots = rng.uniform(0, 2 * np.pi), 2 + k % 2
        for angle in turn + 2 * np.pi * np.arange(spots) / spots:
            image += 4 * np.exp(-((y - cy - 8 * np.sin(angle)) ** 2 + (x - cx - 8 * np.cos(angle)) ** 2) / 8)
    places = Places(folder, name)
    for kind in ("average", "picks", "ctf"):
        places(kind).parent.mkdir(parents=True, exist_ok=True)
    write_mrc(places("average"), -image.astype(np.float32), pixel_size=PIXEL)
    pick(folder, name, centres[:picked])
    write_arrays(
        places("ctf"), defocus_u=15300.0, defocus_v=14900.0, defocus_angle=35.0, voltage=300.0, cs=2.7,
        amplitude_contrast=0.1, phase_shift=0.0, fit_resolution=6.0, score=0.9, defocus_error=10.0,
    )  # fmt: skip


def pick(folder, name, centres):
    scores = np.ones(len(centres), np.float32)
    write_arrays(
        place(folder, "picks", name), centres=centres, scores=scores, radius=RADIUS, pixel_size=PIXEL
    )


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    for seed, name in enumerate(NAMES):
        micrograph(folder, name, seed)
    return folder


@pytest.fixture
def folder(micrographs, tmp_path):
    # File times are part of what particles are known by; copies keep them.
    return shutil.copytree(micrographs, tmp_path / "s")


def run_round(folder, number, names, previous=None, groups=None):
    settings = Settings.from_flat(SETTINGS)
    payload = {
        "folder": str(folder), "number": number, "names": names, "groups": groups or [0] * len(names),
        "previous": previous, "last": previous,
        "first_identity": 0, "settings": settings.model_dump(), "threads": 1, "device": None,
    }  # fmt: skip
    done = classify_particles(json.loads(json.dumps(payload)), lambda report: None)
    return done, read_arrays(place(folder, "assignments", number))


def members(assigned):
    return sorted(
        zip(assigned["names"][assigned["micrograph"]].tolist(), assigned["pick"].tolist(), strict=True)
    )


def counted_once(folder, number, done, assigned):
    """Rows, classes and the sums of the state all hold each pick of the round once."""
    everyone = members(assigned)
    assert len(set(everyone)) == len(everyone) == done["particles"]
    assert sum(c["count"] for c in done["classes"]) == done["particles"]
    np.testing.assert_array_equal(
        np.bincount(assigned["class_number"], minlength=len(done["classes"]) + 1)[1:],
        [c["count"] for c in done["classes"]],
    )
    stored = read_arrays(place(folder, "state", number))
    assert stored["sum_count"].sum() == done["particles"]
    for name, at, centre in zip(
        assigned["names"][assigned["micrograph"]], assigned["pick"], assigned["centres"], strict=True
    ):
        with np.load(place(folder, "picks", str(name))) as picks:
            np.testing.assert_array_equal(picks["centres"][at], centre)


def test_rounds_go_on_part_the_shapes_and_keep_their_numbers(folder):
    run_round(folder, 1, NAMES[:3])
    first = read_arrays(place(folder, "assignments", 1))
    done, second = run_round(folder, 2, NAMES, 1)
    counted_once(folder, 2, done, second)
    assert done["particles"] == 4 * EACH
    old = len(first["pick"])
    assert members(first) == members({k: v[:old] if k != "names" else v for k, v in second.items()})
    assert (first["class_number"] == second["class_number"][:old]).mean() > 0.9
    kind, number = second["pick"] % 2, second["class_number"]
    right = sum(np.bincount(kind[number == k]).max() for k in np.unique(number))
    assert right / len(kind) > 0.9
    averages, pixel_size = read_mrc(place(folder, "classes", 2))
    assert len(averages) == len(done["classes"]) == len(second["identity"])
    assert pixel_size == pytest.approx(PIXEL)


def test_a_round_killed_before_its_commit_counts_nothing_twice_and_same_rounds_give_same_bits(folder):
    run_round(folder, 1, NAMES[:3])
    _, lost = run_round(folder, 2, NAMES, 1)
    averages = np.array(read_mrc(place(folder, "classes", 2))[0])
    # Nobody committed round 2: the next one goes on from round 1 again.
    done, again = run_round(folder, 3, NAMES, 1)
    counted_once(folder, 3, done, again)
    assert lost.keys() == again.keys()
    for name, value in lost.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    np.testing.assert_array_equal(averages, read_mrc(place(folder, "classes", 3))[0])
    # Of the lost round its picture is left.
    assert [p.name for p in place(folder, "classes", 2).parent.iterdir()] == ["classes.jpg"]
    assert [p.parent.name for p in sorted(folder.glob("class2d/*/state.npz"))] == ["round_0001", "round_0003"]


def test_excluded_micrographs_leave_and_may_come_again(folder):
    run_round(folder, 1, NAMES)
    done, less = run_round(folder, 2, ["a", "c", "d"], 1)
    counted_once(folder, 2, done, less)
    assert set(less["names"][less["micrograph"]]) == {"a", "c", "d"}
    done, back = run_round(folder, 3, NAMES, 2)
    counted_once(folder, 3, done, back)
    assert done["particles"] == 4 * EACH


@pytest.mark.parametrize("cut_again", [False, True])
def test_a_micrograph_picked_again_counts_with_its_new_picks_alone(folder, cut_again):
    run_round(folder, 1, NAMES)
    with np.load(place(folder, "picks", "b")) as picks:
        centres = picks["centres"]
    pick(folder, "b", centres[10:])
    if cut_again:
        # A round that was killed had cut out the new picks already: the old images are lost.
        run_round(folder, 2, NAMES, 1)
        assert place(folder, "state", 1).is_file()
    done, assigned = run_round(folder, 3, NAMES, 1)
    counted_once(folder, 3, done, assigned)
    assert done["particles"] == 4 * EACH - 10


def test_a_session_copied_without_its_file_times_goes_on_and_counts_once(folder, tmp_path):
    first, _ = run_round(folder, 1, NAMES[:3])
    there = shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    done, assigned = run_round(there, 2, NAMES, 1)
    counted_once(there, 2, done, assigned)
    assert not done["annealed"]
    known = {c["identity"] for c in first["classes"]}
    assert sum(c["count"] for c in done["classes"] if c["identity"] in known) > 0.9 * done["particles"]


def test_classes_of_a_version_without_identities_go_on_under_the_names_of_old_sessions(folder):
    run_round(folder, 1, NAMES)
    path = place(folder, "assignments", 1)
    assigned = read_arrays(path)
    del assigned["identity"]
    write_arrays(path, **assigned)
    place(folder, "state", 1).unlink()
    done, _ = run_round(folder, 2, NAMES, 1)
    assert done["annealed"]
    largest = [-k for k in np.argsort(-np.bincount(assigned["class_number"])[1:])[:2] + 1]
    assert {c["identity"] for c in done["classes"] if c["count"] > 10} >= set(largest)


def test_optics_groups_have_noise_of_their_own(folder):
    run_round(folder, 1, NAMES, groups=[1, 1, 2, 0])
    stored = read_arrays(place(folder, "state", 1))
    assert stored["groups"].tolist() == [1, 2, 0]
    batch = dict(zip(NAMES, [1, 1, 2, 0], strict=True))
    names = [str(stored["batches"][k]).split()[0] for k in stored["rows"]["batch"]]
    assert stored["rows"]["group"].tolist() == [batch[name] for name in names]


@pytest.mark.parametrize(
    ("new", "minutes_ago", "due"), [(1, 31, True), (1, 29, False), (0, 31, False), (5000, 1, True)]
)
def test_new_particles_wait_no_longer_than_the_interval(tmp_path, new, minutes_ago, due):
    create_session("s", settings=Settings.from_flat(SETTINGS), root=tmp_path)
    with Store(tmp_path / "s" / "session.db") as store:
        live = Live(tmp_path / "s", store, None, store.latest_settings()[1], 1)
        track = ClassifyTrack(live, None, 0, 1)
        track._pending = Pending(
            particles=6000, new=new, leaving=0, micrographs=9, last_round=1,
            last_finished=time.time() - 60 * minutes_ago,
        )  # fmt: skip
        assert track._due() is due
        assert (", or in" in track.message()) is (new > 0)


@pytest.mark.parametrize(("pixel", "limit", "binned"), [(0.8, 8.0, 3.2), (0.8, 4.0, 1.6), (1.5, 3.0, 1.5)])
def test_binning_follows_from_the_resolution_limit(pixel, limit, binned):
    cut = boxing(
        Settings.from_flat(SETTINGS | {"microscope.pixel_size": pixel, "class2d.max_resolution": limit})
    )
    assert cut.pixel_size == pytest.approx(binned, rel=0.02)
    assert cut.box * cut.pixel_size == pytest.approx(cut.box_px * pixel)
    assert 2.4 * RADIUS <= cut.box * cut.pixel_size < 2.8 * RADIUS


@pytest.mark.parametrize(("particles", "begins"), [(FEWEST - 1, False), (FEWEST, True)])
def test_the_button_begins_a_round_with_what_is_there(tmp_path, particles, begins):
    create_session("s", settings=Settings.from_flat(SETTINGS), root=tmp_path)
    with Store(tmp_path / "s" / "session.db") as store:
        live = Live(tmp_path / "s", store, None, store.latest_settings()[1], 1)
        track = ClassifyTrack(live, None, 0, 1)
        track._pending = Pending(particles=particles, new=0, leaving=0, micrographs=9, last_round=1)
        assert not track._due()
        if begins:
            track.ask()
        else:
            with pytest.raises(ValueError, match=f"{particles} particles so far"):
                track.ask()
        assert track._due() is begins


def test_no_particles_is_said(folder):
    pick(folder, "a", np.zeros((0, 2), np.float32))
    with pytest.raises(ValueError, match="0 particles could be cut out"):
        run_round(folder, 1, ["a"])


@pytest.fixture
def session(micrographs, tmp_path):
    """A stopped session whose six micrographs are pre-processed."""
    # Coarse images, so that a round takes a moment.
    where = {
        "raw_data.location": str(tmp_path / "*.tiff"),
        "class2d.max_resolution": 20,
        "class2d.first": 200,
    }
    settings = Settings.from_flat(SETTINGS | where)
    made = create_session("s", settings=settings, root=tmp_path / "sessions")
    shutil.copytree(micrographs, made.folder, dirs_exist_ok=True)
    with Store(made.folder / "session.db") as store, acquire(store):
        for name in (*NAMES, *MORE):
            ids = store.add_movies([{"name": name, "source": f"/camera/{name}"}])
            store.movie_done(ids[0], path=f"raw/{name}.tiff", size=1, hash=name)
        for name in MORE:
            for kind in ("average", "picks", "ctf"):
                shutil.copy(place(micrographs, kind, "a"), place(made.folder, kind, name))
        for task in store.claim_tasks(9, "w", 1, settings):
            record = {"defocus_u": 15300.0, "defocus_v": 14900.0, "fit_resolution": 6.0, "particles": EACH}
            store.commit_micrograph(task, record)
    return made


def run(session):
    asyncio.run(run_session(session.folder, until_idle=True, signals=False))


def test_marks_outlive_an_exclusion_that_begins_a_round_by_itself(session):
    run(session)
    assert session.rounds["particles"].tolist() == [6 * EACH]
    first = session.classes.set_index("identity")
    chosen = int(first["count"].idxmax())
    assert session.accept_classes([chosen]).wait().ok
    assert session.status().tracks["classify"].counts["accepted"] == first["count"][chosen]
    assert session.exclude("b").wait().ok
    assert session.status().tracks["classify"].counts["leaving"] == EACH
    run(session)
    assert session.rounds["particles"].tolist() == [6 * EACH, 5 * EACH]
    second = session.classes.set_index("identity")
    assert second["accepted"].get(chosen) == 1
    history = session.class_history()
    assert history["annealed"].tolist() == [1, 0]
    assert history["picture"].map(lambda path: path.is_file()).all()
    table = session.particles()
    assert (table.loc[table["movie"] == "b", "class_number"] == 0).all()
    assert (table.loc[table["movie"] != "b", "class_number"] > 0).all()


def test_classes_become_templates_that_restart_applies_and_lie_in_exports(session, monkeypatch):
    monkeypatch.setattr("nextpyp_nb.session.session.launch_runner", lambda folder, **_: None)
    averages = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    with Store(session.folder / "session.db") as store, acquire(store):
        begun = store.begin_round(ctf_max_resolution=10.0, key="k", seed=1, revision=1)
        counts = [(7, 200), (8, 0), (9, 94)]
        classes = [
            {"number": n, "identity": identity, "count": count, "share": count / 294}
            for n, (identity, count) in enumerate(counts, 1)
        ]
        store.commit_round(begun.number, classes, particles=294, resolution=None, path="p")
    place(session.folder, "classes", 1).parent.mkdir()
    write_mrc(place(session.folder, "classes", 1), averages, pixel_size=3.0, stack=True)
    session.save_settings(session.settings.updated({"class2d.enable": False}))
    asked = [session.use_classes_as_templates(identities) for identities in ([9, 7], [8], [99])]
    run(session)
    answers = [receipt.wait() for receipt in asked]
    assert [answer.ok for answer in answers] == [True, False, False]
    assert "expected some that have particles" in answers[1].message
    picking = session.settings.picking
    assert picking.method == "template"
    templates, pixel_size = read_mrc(picking.templates, stack=True)
    np.testing.assert_array_equal(templates, averages[[0, 2]])
    assert pixel_size == pytest.approx(3.0)
    export_classes(session.folder, 1, json.loads(json.dumps(class_rows(session))), session.folder)
    model = read_star(session.folder / "classes.star")["model_classes"]
    assert model["rlnNrParticles"].tolist() == [200, 0, 94]
    assert model["rlnReferenceImage"].iloc[2] == "000003@classes.mrcs"
    np.testing.assert_array_equal(read_mrc(session.folder / "classes.mrcs", stack=True)[0], averages)
    assert session.clear("classify").wait().ok
    assert Path(picking.templates).is_file()
    assert session.classes.empty


@pytest.mark.timeout(600)
def test_a_session_killed_in_its_round_counts_each_batch_once(session):
    program = (
        sys.executable,
        "-m",
        "nextpyp_nb",
        "run",
        "s",
        "--root",
        session.folder.parent,
        "--until-idle",
    )
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while "finding" not in session.status().tracks["classify"].message and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(session)
    assert session.rounds["state"].tolist() == ["failed", "done"]
    done = {"particles": 6 * EACH, "classes": session.classes.to_dict("records")}
    counted_once(session.folder, 2, done, read_arrays(session.file("assignments", 2)))


def test_an_export_of_accepted_classes_holds_their_particles_alone(folder, tmp_path):
    number = np.arange(EACH)
    classes = pd.DataFrame({"name": "a", "pick": number, "class_number": 1 + number % 3})
    row = {"name": "a", "optics_group": None} | dict.fromkeys(
        ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "fit_resolution", "ctf_score"), 1.0
    )
    plan = {"stack": True, "accepted": [2]}
    table = _export_particles(row, Places(folder, "a"), tmp_path, Settings.from_flat(SETTINGS), classes, plan)
    assert set(table["class_number"]) == {2}
    with np.load(place(folder, "picks", "a")) as picks:
        centres = np.rint(picks["centres"][number % 3 == 1])
    assert set(map(tuple, table[["y", "x"]].to_numpy())) <= set(map(tuple, centres))
    assert 0 < len(table) == len(read_mrc(tmp_path / "particles" / "a.mrcs", stack=True)[0])
