import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session.quality_limits import (
    QUALITY,
    Alarms,
    _running,
    alarms,
    ctf_doubt,
    normal_ranges,
    with_density,
)


@pytest.fixture
def micrographs():
    rng = np.random.default_rng(0)
    n = 60
    return pd.DataFrame(
        {
            "height": 4096, "width": 4096, "pixel_size": 1.0, "particles": rng.poisson(300, n),
            "total_motion": rng.normal(10, 1, n), "early_motion": 4.0, "late_motion": 6.0,
            "mean_dose": rng.normal(1.5, 0.02, n), "ice_ring": np.nan,
            "fit_resolution": rng.normal(4, 0.2, n),
        }
    )  # fmt: skip


def test_every_figure_has_a_unit_a_meaning_and_a_rule():
    names = [figure.name for figure in QUALITY]
    assert len(set(names)) == len(names)
    assert all(figure.meaning.endswith(".") for figure in QUALITY)
    assert all((figure.limit is None) == (figure.worse == "either") for figure in QUALITY)


def test_density_is_particles_over_area(micrographs):
    density = with_density(micrographs)["particle_density"]
    assert density[0] == pytest.approx(micrographs["particles"][0] / 0.4096**2)


def test_normal_range_is_robust_and_follows_the_last_micrographs(micrographs):
    spoilt = micrographs.copy()
    spoilt.loc[:9, "total_motion"] = 500.0
    row = normal_ranges(spoilt).loc["total_motion"]
    assert row["median"] == pytest.approx(10, abs=0.5)
    assert 4 < row["low"] < 8 < 12 < row["high"] < 16
    late = spoilt.assign(total_motion=np.where(spoilt.index < 40, 10.0, 30.0) + spoilt["total_motion"] * 0)
    assert normal_ranges(late, last=20).loc["total_motion", "median"] == 30
    unknown = normal_ranges(micrographs).loc[["ice_ring", "ice_thickness"]]
    assert (unknown["n"] == 0).all()
    assert unknown["high"].isna().all()


def test_alarms_beyond_limits_and_beyond_what_is_normal(micrographs):
    assert not alarms(micrographs)[["total_motion", "fit_resolution", "ice_ring"]].any(axis=None)
    bad = micrographs.copy()
    bad.loc[50, ["total_motion", "fit_resolution"]] = (80.0, 12.0)
    bad.loc[55, "mean_dose"] = 0.4
    found = alarms(bad)
    assert found.loc[50, ["total_motion", "fit_resolution"]].all()
    assert found["mean_dose"].sum() <= 3
    assert found.loc[55, "mean_dose"]


def test_running_medians_are_those_of_numpy(micrographs):
    values = micrographs["mean_dose"].to_numpy().copy()
    values[[3, 20, 21]] = np.nan
    median, deviation = _running(values, 12)
    for i in range(len(values)):
        seen = values[max(0, i - 11) : i + 1]
        if np.isfinite(seen).sum() < 8:
            assert np.isnan(median[i])
            continue
        assert median[i] == pytest.approx(np.nanmedian(seen))
        assert deviation[i] == pytest.approx(np.nanmedian(np.abs(seen - np.nanmedian(seen))))


def test_alarms_of_a_growing_table_are_those_of_the_whole(micrographs):
    micrographs.loc[30, "mean_dose"] = 0.3
    kept = Alarms(last=20)
    for n in (0, 10, 25, 26, 60, 60):
        pd.testing.assert_frame_equal(
            kept.of(micrographs.head(n)), alarms(micrographs.head(n), last=20), check_dtype=n > 0
        )
    changed = micrographs.copy()
    changed.loc[[12, 40], "mean_dose"] = (0.2, 3.0)
    changed.loc[5, "fit_resolution"] = 20.0
    pd.testing.assert_frame_equal(kept.of(changed), alarms(changed, last=20))
    pd.testing.assert_frame_equal(kept.of(changed.head(7)), alarms(changed.head(7), last=20))


def test_an_empty_session_has_no_alarms(micrographs):
    assert alarms(micrographs.head(0)).empty
    assert normal_ranges(micrographs.head(0))["median"].isna().all()


def test_a_doubtful_fit_says_why_in_words():
    fine = {"defocus_error": 12.0, "fit_resolution": 3.6}
    assert (
        ctf_doubt(fine) == ctf_doubt({"defocus_error": None}) == ctf_doubt({"fit_resolution": np.nan}) == ""
    )
    assert ctf_doubt(fine | {"defocus_error": 512.0}) == (
        "doubtful fit: its defocus may be off by 512 Å (alarm at 150)"
    )
    both = ctf_doubt({"defocus_error": 512.0, "fit_resolution": 14.24})
    assert both.startswith("doubtful fit: rings are seen to 14.2 Å only (alarm at 8) and its defocus")
