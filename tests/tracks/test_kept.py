"""Results by their keys: the way back computes nothing, and no file passes for another key's."""

import json

import pytest

from nextpyp_nb.session.places import Places
from nextpyp_nb.tracks import kept
from nextpyp_nb.tracks.kept import EARLIER, FOLDER, Kept

KINDS = {"motion": ("average", "motion"), "ctf": ("ctf",)}


@pytest.fixture
def micrograph(tmp_path, monkeypatch):
    """Brings a micrograph to keys; returns its record, and which stages were computed for it."""
    monkeypatch.setattr(kept, "FREE", 0.0)
    places, count = Places(tmp_path, "m[1]*.x"), iter(range(100))
    for kind in ("average", "motion", "ctf", "weighted"):
        places(kind).parent.mkdir(exist_ok=True)

    def bring(die=None, more=(), **keys):
        computed, holder = [], Kept(places, keys)

        def compute(stage):
            if stage == die:
                raise KeyboardInterrupt
            computed.append(stage)
            for kind in KINDS[stage] + (tuple(more) if stage == "motion" else ()):
                places(kind).unlink(missing_ok=True)
                places(kind).write_text(f"{kind} {keys[stage]}")
            return {"made": f"{stage} {keys[stage]} {next(count)}"}

        return {s: holder.through(s, lambda s=s: compute(s))["made"] for s in keys}, computed

    return places, bring


def test_back_and_forth_computes_each_key_once(micrograph):
    places, bring = micrograph
    first = bring(motion="a", ctf="1")
    assert first[1] == ["motion", "ctf"]
    assert bring(motion="a", ctf="1") == (first[0], [])
    second = bring(motion="b", ctf="2")
    assert second[1] == ["motion", "ctf"]
    for keys, expected in (("a1", first), ("b2", second), ("a1", first)):
        assert bring(motion=keys[0], ctf=keys[1]) == (expected[0], [])
        assert places("average").read_text() == f"average {keys[0]}"
        assert places("ctf").read_text() == f"ctf {keys[1]}"


def test_a_file_that_a_key_did_not_make_goes(micrograph):
    places, bring = micrograph
    bring(motion="a")
    bring(motion="b", more=["weighted"])
    bring(motion="a")
    assert not places("weighted").exists()
    bring(motion="b")
    assert places("weighted").read_text() == "weighted b"


def test_what_died_in_between_is_computed_again_and_what_was_before_is_back(micrograph):
    places, bring = micrograph
    first = bring(motion="a", ctf="1")
    with pytest.raises(KeyboardInterrupt):
        bring(die="ctf", motion="b", ctf="2")
    places("ctf").unlink()
    places("ctf").write_text("half of 2")
    assert bring(motion="b", ctf="2")[1] == ["ctf"]
    assert bring(motion="a", ctf="1") == (first[0], [])
    assert places("ctf").read_text() == "ctf 1"


def test_lost_files_and_torn_records_are_computed_again(micrograph):
    places, bring = micrograph
    bring(motion="a")
    places("average").unlink()
    assert bring(motion="a")[1] == ["motion"]
    bring(motion="b")
    (record,) = places.folder.glob(f"{FOLDER}/motion/a/*/record.json")
    record.write_text(record.read_text()[:-5])
    assert bring(motion="a")[1] == ["motion"]
    places("results").write_text("{")
    assert bring(motion="a")[1] == ["motion"]


def test_a_few_earlier_results_are_kept_and_motion_only_while_there_is_room(micrograph, monkeypatch):
    places, bring = micrograph
    for key in "abcdef":
        bring(motion=key)
    left = {path.parents[1].name for path in places.folder.glob(f"{FOLDER}/motion/*/*/record.json")}
    assert left == set("abcde"[-EARLIER:])
    monkeypatch.setattr(kept, "FREE", 2.0)
    bring(motion="g", ctf="1")
    bring(motion="h", ctf="2")
    assert not (places.folder / FOLDER / "motion" / "g").exists()
    assert json.loads((places.folder / FOLDER / "ctf" / "1" / places.name / "record.json").read_text())


def test_a_full_disk_costs_the_way_back_only(micrograph, monkeypatch):
    _, bring = micrograph
    bring(motion="a")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(kept, "share", full)
        assert bring(motion="b")[1] == ["motion"]
    assert bring(motion="a")[1] == ["motion"]


def test_without_keys_everything_is_computed(micrograph):
    places, bring = micrograph
    bring(motion="a")
    assert Kept(places, None).through("motion", lambda: {"x": 1}) == {"x": 1}
