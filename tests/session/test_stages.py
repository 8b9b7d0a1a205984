"""A key says what a stage depends on: no more, no less."""

import pytest

from nextpyp_nb.session.stages import (
    READS,
    STAGES,
    classify_key,
    confirmation,
    first_changed,
    stage_keys,
    what_reruns,
)  # fmt: skip
from nextpyp_nb.settings import Settings

OTHER = {"microscope.pixel_size": 2.0, "microscope.voltage": 200.0, "class2d.binning": 3,
         "picking.radius": 99.0, "picking.distance": 50.0, "picking.threshold": 2.0,
         "picking.template_pixel_size": 3.0, "class2d.radius": 80.0}  # fmt: skip


def other_value(item):
    if item.key in OTHER:
        return OTHER[item.key]
    if item.choices:
        return next(c for c in item.choices if c != item.default)
    if item.kind is bool:
        return not item.default
    if item.kind is str:
        return "something"
    if item.kind is int:
        return item.default + 1 if item.default + 1 <= (item.maximum or 1e9) else item.default - 1
    return item.default - 0.01 if item.default == item.maximum else item.default + 0.01


@pytest.mark.parametrize("item", list(Settings.items()), ids=lambda item: item.key)
def test_each_setting_reaches_exactly_the_stages_that_read_it(settings, item):
    """The oracle is the table of the product: section by section, by hand."""
    first = {
        "gain": "motion", "microscope": "motion", "motion": "motion", "ctf": "ctf", "picking": "picking"
    }.get(item.section)  # fmt: skip
    if item.key in ("raw_data.binning", "raw_data.invert", "raw_data.no_frames"):
        first = "motion"
    later = STAGES[STAGES.index(first) :] if first else ()
    expected = {stage: stage in later for stage in STAGES}
    # Which particles there are, and when a round is due, changes no classes: particles come and leave.
    expected["classify"] = item.key in (
        "class2d.classes", "class2d.box", "class2d.binning", "class2d.radius", "class2d.max_resolution",
        "class2d.min_resolution", "class2d.seed", "raw_data.binning", "microscope.pixel_size",
        "picking.radius",
    )  # fmt: skip
    changed = settings.updated({item.key: other_value(item)})
    assert changed != settings
    assert what_reruns(settings, changed) == expected


def test_the_way_back_gives_the_same_keys(settings):
    there = settings.updated({"ctf.max_resolution": 5})
    back = there.updated({"ctf.max_resolution": settings.ctf.max_resolution})
    assert stage_keys(back, "x") == stage_keys(settings, "x")
    assert classify_key(back) == classify_key(settings)
    assert first_changed(stage_keys(settings, "x"), stage_keys(there, "x")) == "ctf"


def test_other_content_and_other_code_change_all_from_there(settings):
    assert first_changed(stage_keys(settings, "a"), stage_keys(settings, "b")) == "motion"
    newer = {"motion": 1, "ctf": 1, "picking": 2}
    older = {"motion": 1, "ctf": 1, "picking": 1}
    assert first_changed(stage_keys(settings, "a", older), stage_keys(settings, "a", newer)) == "picking"
    assert first_changed(dict.fromkeys(STAGES), stage_keys(settings, "a")) == "motion"


def test_the_confirmation_says_it_in_a_sentence(settings):
    assert (
        confirmation(settings, settings.updated({"ctf.max_resolution": 5}), 713)
        == "redo CTF and picks of 713 micrographs"
    )
    assert confirmation(settings, settings.updated({"resources.workers": 3}), 713, 2) == "redo nothing"
    assert (
        confirmation(settings, settings.updated({"class2d.classes": 3}), 713, 2)
        == "start 2D classification over"
    )


def test_stages_read_settings_that_exist():
    names = {item.key for item in Settings.items()} | {item.section for item in Settings.items()}
    assert {name for wanted in READS.values() for name in wanted} <= names
