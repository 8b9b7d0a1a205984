"""Text on the page: hostile names stay text, numbers read as people write them."""

import math
from datetime import UTC, datetime

import pandas as pd
import pytest

from nextpyp_nb.views.markup import clock, duration, escape, known, markup, number
from nextpyp_nb.views.pieces import say, text

HOSTILE = '<img src=x onerror="alert(1)">&\'.tiff'


def test_escaped_once_and_only_once():
    once = escape(HOSTILE)
    assert not set("<>\"'") & set(once)
    assert escape(once) == once
    assert markup("<b>{name}</b>", name=HOSTILE) == f"<b>{once}</b>"
    assert markup("{a}", a=markup("<i>{x}</i>", x="&")) == "<i>&amp;</i>"


def test_every_text_widget_escapes():
    label = text(HOSTILE)
    assert "<" not in label.value
    say(label, HOSTILE)
    assert "<" not in label.value


def test_braces_in_a_name_are_text():
    assert markup("{name}", name="{0.__class__}") == "{0.__class__}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (22320, "6 h 12 min"), (183600, "2 d 3 h")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_unknown_numbers_are_a_dash():
    assert [number(v) for v in (None, math.nan, math.inf)] == ["–"] * 3
    assert number(121408.4) == "121,408"
    assert number(-1.25, 1, "Å") == "−1.2 Å"
    assert not known(pd.NaT)


def test_clock_takes_every_kind_of_moment():
    moment = datetime(2020, 5, 6, 7, 8, tzinfo=UTC)
    kinds = (moment, pd.Timestamp(moment), moment.timestamp(), moment.isoformat())
    assert len({clock(kind) for kind in kinds}) == 1
    assert clock(pd.NaT) == clock(None) == "–"
