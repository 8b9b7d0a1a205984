"""A filter is what pandas' own comparison gives."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextpyp_nb.session.filters import Condition, apply_filter, filter_text, parse_filter

TABLE = pd.DataFrame(
    {
        "name": list("abcde"),
        "fit_resolution": [3.0, 6.0, 6.5, np.nan, 4.0],
        "particles": [10, 20, 300, 40, 50],
        "excluded": [False, False, False, False, True],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "abcd"),
        ("fit_resolution<=6 & particles>=20", "b"),
        ("fit_resolution<6", "a"),
        ("fit_resolution > 3", "bc"),
        ("!fit_resolution<=6", "c"),
        ("particles=20", "b"),
        ("particles==3e2", "c"),
        ("particles=20..300", "bcd"),
        ("!particles=20..50", "ac"),
    ],
)
def test_conditions(text, expected):
    assert "".join(apply_filter(TABLE, text)["name"]) == expected


@pytest.mark.parametrize(
    "text",
    ["fit_resolution", "fit_resolution<=six", "a<1 | b<2", "__import__('os')", "a<=1 &", "a<nan", "a=1..b"],
)
def test_what_is_no_condition_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="expected"):
        parse_filter(text)


def test_an_unknown_column_names_the_known_ones():
    with pytest.raises(ValueError, match="fit_resolution, particles"):
        apply_filter(TABLE, "resolution<=6")


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(-1e6, 1e6), st.booleans()), max_size=4))
def test_text_and_conditions_are_the_same(parts):
    conditions = [Condition(column=column, minimum=value, negate=negate) for column, value, negate in parts]
    conditions += [Condition(column=c, minimum=v, maximum=v + 1, negate=True) for c, v, _ in parts]
    assert parse_filter(filter_text(conditions)) == conditions
