"""What the microscope noted reaches the table, the optics groups and the export, whenever it arrives."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.bench.faults.pretend import pretend_session, run, small_movie
from nextpyp_nb.kernels.shift_groups import shift_groups
from nextpyp_nb.simulate.epu import image_xml, plan_shot
from nextpyp_nb.tracks.optics_groups import OpticsGroups, optics_numbers

START = datetime(2026, 3, 1, 8, 0)
FOUR = np.array([(x, y) for x in (-0.03, 0.03) for y in (-0.03, 0.03)])


def shot(index):
    jitter = np.random.default_rng(index).normal(0, 0.001, 2)
    return plan_shot(index, START.replace(minute=index % 60), (float(jitter[0]), float(jitter[1])))


def expose(camera, index, *, movie=True, xml=True, **told):
    taken = shot(index)
    folder = camera / taken.folder
    folder.mkdir(parents=True, exist_ok=True)
    if movie:
        (folder / f"{taken.name}_fractions.tiff").write_bytes(small_movie(index))
    if xml:
        values = {"pixel_size": 1.3, "voltage": 300, "dose": 40, "defocus": 12_000.0, **told}
        text = image_xml(taken, frames=2, height=32, width=32, **values)
        (folder / f"{taken.name}.xml").write_text(text, encoding="utf-8")


def test_a_movie_carries_what_its_xml_says(tmp_path):
    for index in range(20):
        expose(tmp_path / "camera", index)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    assert run(session) == 0
    table = session.micrographs.set_index("name")
    assert table["acquired_defocus"].tolist() == pytest.approx([12_000] * 20)
    for index in range(20):
        row, taken = table.loc[f"{shot(index).name}_fractions"], shot(index)
        assert pd.Timestamp(row["acquired_time"]) == pd.Timestamp(taken.taken.astimezone())
        assert (row["acquired_hole"], row["acquired_shot"]) == (str(taken.hole), str(taken.template))
        assert row["acquired_beam_shift_x"] == pytest.approx(taken.beam_shift[0], abs=1e-7)
        assert row["acquired_stage_x"] == pytest.approx(1e6 * taken.stage[0], abs=1e-3)
    groups = optics_numbers(session.micrographs)
    assert sorted(set(groups)) == [1, 2, 3, 4]
    by_shot = pd.crosstab(table["acquired_shot"], groups.to_numpy())
    assert ((by_shot > 0).sum(axis=1) == 1).all()
    assert not [event for event in session.events() if event.code == "metadata"]


def test_an_xml_that_comes_late_is_taken_late(tmp_path):
    camera = tmp_path / "camera"
    expose(camera, 0, xml=False)
    session = pretend_session(tmp_path / "sessions", camera)
    assert run(session) == 0
    assert "acquired_side" not in session.micrographs
    assert session.micrographs["acquired_shot"].tolist() == [str(shot(0).template)]
    expose(camera, 0, movie=False)
    assert run(session) == 0
    assert session.micrographs["acquired_defocus"].tolist() == pytest.approx([12_000])
    assert len(session.micrographs) == 1


def test_a_half_written_xml_is_read_when_it_is_whole(tmp_path):
    camera = tmp_path / "camera"
    expose(camera, 0)
    (xml,) = camera.rglob("*.xml")
    text = xml.read_text()
    xml.write_text(text[: len(text) // 2])
    session = pretend_session(tmp_path / "sessions", camera)
    assert run(session) == 0
    assert "acquired_defocus" not in session.micrographs
    xml.write_text(text)
    assert run(session) == 0
    assert session.micrographs["acquired_defocus"].tolist() == pytest.approx([12_000])


def test_metadata_may_lie_in_another_tree(tmp_path):
    expose(tmp_path / "epu", 0, movie=False)
    expose(tmp_path / "camera", 0, xml=False)
    session = pretend_session(
        tmp_path / "sessions", tmp_path / "camera", raw_data__notes=str(tmp_path / "epu")
    )
    assert run(session) == 0
    assert session.micrographs["acquired_defocus"].tolist() == pytest.approx([12_000])


def test_settings_that_the_microscope_contradicts_are_said_once(tmp_path):
    for index in range(3):
        expose(tmp_path / "camera", index, pixel_size=0.83)
    session = pretend_session(tmp_path / "sessions", tmp_path / "camera")
    assert run(session) == 0
    (said,) = [event for event in session.events() if event.code == "metadata"]
    assert "pixel size of 0.83 Å" in said.text
    assert "1.3 Å" in said.text
    assert session.settings.microscope.pixel_size == 1.3


@pytest.mark.parametrize("scatter", [0.0, 0.001, 0.004])
def test_clear_groups_are_found_whatever_their_number(scatter):
    rng = np.random.default_rng(3)
    holes = np.array([(x, y) for x in (-2, 0, 2) for y in (-2, 0, 2)])
    centres = (holes[:, None] + FOUR[None] * 3).reshape(-1, 2)
    truth = rng.integers(0, len(centres), 800)
    labels, reach = shift_groups(centres[truth] + rng.normal(0, scatter, (800, 2)))
    assert len({*zip(truth, labels, strict=True)}) == len(set(labels)) == len(set(truth))
    assert scatter < reach < 0.18


@pytest.mark.parametrize("seed", range(20))
def test_a_cloud_without_gaps_is_one_group(seed):
    rng = np.random.default_rng(seed)
    assert set(shift_groups(rng.uniform(-1, 1, (rng.integers(16, 500), 2)))[0]) == {0}


def test_numbers_stay_while_a_session_grows_and_over_a_restart():
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 4, 700)
    shifts = FOUR[truth] + rng.normal(0, 0.001, (700, 2))
    rows = [(n, float(x), float(y)) for n, (x, y) in enumerate(shifts)]
    groups, given = OpticsGroups(), {}
    for row in rows[:100]:
        given |= groups.assign([row])
    early = dict(given)
    for row in rows[100:400]:
        given |= groups.assign([row])
    again = OpticsGroups()
    again.restore((row, given[row[0]]) for row in rows[:400])
    given |= again.assign(rows[400:])
    assert all(given[movie] == group for movie, group in early.items())
    assert len({*zip(truth.tolist(), given.values(), strict=True)}) == 4
    assert set(given.values()) == {1, 2, 3, 4}


def test_a_shot_position_that_comes_later_is_a_new_group():
    rng = np.random.default_rng(2)
    groups, given = OpticsGroups(), {}
    for n in range(200):
        x, y = FOUR[n % 2 if n < 100 else n % 4] + rng.normal(0, 0.001, 2)
        given |= groups.assign([(n, float(x), float(y))])
    assert {given[n] for n in range(100)} == {1, 2}
    assert [given[n] for n in range(196, 200)] == [1, 2, 3, 4]


def test_without_shifts_the_shot_tells_and_the_unknown_stand_apart():
    table = pd.DataFrame({"name": list("abcd"), "optics_group": [None] * 4})
    assert optics_numbers(table).tolist() == [1, 1, 1, 1]
    shots = table.assign(acquired_shot=["7", None, "9", "7"])
    assert optics_numbers(shots).tolist() == [1, 3, 2, 1]
    assert optics_numbers(shots.assign(optics_group=["2", "1", None, "2"])).tolist() == [2, 1, 3, 2]
