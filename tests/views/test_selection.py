"""What is selected is the same on Plots, Table and Gallery, and what pandas says of the conditions."""

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session.filters import Condition, parse_filter
from nextpyp_nb.views.gallery import GalleryPage
from nextpyp_nb.views.plot_cards import running_median
from nextpyp_nb.views.plot_marks import Dots, scales, spread
from nextpyp_nb.views.plots import PlotsPage, order_ticks, time_ticks
from nextpyp_nb.views.quantities import quantity, seconds, shot_groups
from nextpyp_nb.views.selection import TIME, Chip, Selection, label
from nextpyp_nb.views.table import TablePage

HOSTILE = "<img src=x onerror='window.hacked=1'>&\"<script>window.hacked=1<%2Fscript>"
AREA = {"width": 400, "height": 200}


@pytest.fixture
def many(micrograph):
    """Sixty micrographs 10 s apart, of two shots; the last has a hostile name."""
    rng = np.random.default_rng(3)
    start = pd.Timestamp("2026-03-01 08:00", tz="UTC")
    rows = []
    for i in range(60):
        u = 8000 + 100 * i + rng.normal(0, 50)
        name = HOSTILE if i == 59 else f"FoilHole_{i}_Data_{i % 2}_{i}_20260301_{i:06d}"
        rows.append(
            micrograph(
                name, id=i + 1, defocus_u=u, defocus_v=u - 200, defocus=u - 100, astigmatism=200.0,
                fit_resolution=3 + 0.05 * i, total_motion=5 + rng.gamma(2, 2), state="done", ice_ring=1.0,
                acquired_time=(start + pd.Timedelta(seconds=10 * i)).isoformat(), finished=start,
                particles=100 + i,
            )
        )  # fmt: skip
    return rows


@pytest.fixture
def pages(session, live, many):
    """The three pages of one session, drawn."""
    session.put(*many)
    live.refresh()
    made = [page(session, live) for page in (PlotsPage, TablePage, GalleryPage)]
    for page in made:
        live.subscribe(page.draw)
    assert live.banner.error is None
    return made


def test_a_box_selects_in_all_pages_and_can_be_saved(session, live, pages):
    plots, table, gallery = pages
    plots.heard({"box": "series-0", "span": [0.0, 1.0, 0.0, 0.5]})
    (chip,) = live.selection.chips
    (condition,) = chip.conditions
    assert (condition.column, condition.minimum) == ("fit_resolution", None)
    expected = live.snapshot.micrographs["fit_resolution"] <= condition.maximum
    assert 0 < expected.sum() < 60
    assert f"≤ {condition.maximum:.1f} Å" in chip.label
    assert live.selection.holds(live.snapshot.micrographs).tolist() == expected.tolist()
    assert len(table.order) == len(gallery.shown) == expected.sum()
    assert plots.bar.count.value == f"{expected.sum()} of 60 selected"
    # The rest is grey in every plot, what is selected in the accent.
    for plot in plots.plots.values():
        if plot.key.startswith("series"):
            grey = sum(np.isfinite(m.y).sum() for m in plot.rest.marks if m.y[0] > -1e8)
            assert grey == 60 - expected.sum()
    plots.bar.name.value = "good"
    plots.bar.save_filter()
    assert session.commands[-1] == ("save_filter", "good", f"fit_resolution<={condition.maximum:.17g}")
    plots.bar.gate()
    assert session.settings.class2d.filter == f"fit_resolution<={condition.maximum:.17g}"
    live.selection.remove(chip)
    assert plots.layer.boxes == {}
    assert len(gallery.shown) == 60


def test_a_second_box_in_the_same_plot_replaces_the_first(live, pages):
    plots = pages[0]
    for top in (0.8, 0.4):
        plots.heard({"box": "score", "span": [0.0, top, 0.0, 1.0]})
    plots.heard({"box": "defoci", "span": [0.1, 0.9, 0.0, 1.0]})
    assert [c.source for c in live.selection.chips] == ["score", "defoci"]
    assert set(plots.layer.boxes) == {"score", "defoci"}
    plots.heard({"click": "score", "x": 0.99, "y": 0.99, **AREA})
    assert [c.source for c in live.selection.chips] == ["defoci"]


def test_a_span_of_time_selects_by_when_they_were_taken(live, pages):
    plots = pages[0]
    plots.heard({"box": "series-2", "span": [0.25, 0.75, 0.0, 1.0]})
    assert live.banner.error is None
    table = live.snapshot.micrographs
    taken = seconds(table) - seconds(table)[0]
    x = plots.plots["series-2"].scales["x"]
    low, high = (x.min + f * (x.max - x.min) for f in (0.25, 0.75))
    assert live.selection.holds(table).tolist() == ((taken >= low) & (taken <= high)).tolist()
    with pytest.raises(ValueError, match="span of time"):
        live.selection.expression()


def test_a_lasso_takes_the_points_in_it(live, pages):
    plots = pages[0]
    x, y = plots.plots["defoci"].fractions().T
    plots.heard({"lasso": "defoci", "path": [[0.1, 0], [0.7, 0.3], [0.6, 0.65], [0.3, 0.9]]})
    path = np.array([[0.1, 0], [0.7, 0.3], [0.6, 0.65], [0.3, 0.9]])
    inside = [_inside(path, px, py) for px, py in zip(x, y, strict=True)]
    assert 0 < sum(inside) < 60
    assert live.selection.holds(live.snapshot.micrographs).tolist() == inside


def _inside(path, x, y):
    """The winding number, counted by angles."""
    angles = np.unwrap(np.arctan2(*(np.vstack([path, path[:1]]) - (x, y)).T[::-1]))
    return bool(abs(angles[-1] - angles[0]) > np.pi)


def test_hover_shows_the_nearest_and_a_click_opens_it(session, live, pages):
    plots = pages[0]
    session.file("thumb", HOSTILE.replace("/", "_")).write_bytes(b"jpeg")
    sent, opened = [], []
    plots.layer.send = lambda content, buffers=None: sent.append((content, buffers))
    live.open_micrograph = opened.append
    x, y = plots.plots["series-0"].fractions()[59]
    here = {"x": float(x) + 0.005, "y": float(y), **AREA}
    plots.heard({"hover": "series-0", "serial": 7, **here})
    (content, buffers) = sent.pop()
    assert content["lines"][0] == HOSTILE
    assert content["serial"] == 7
    assert any(line == "CTF fit resolution: 6.0 Å" for line in content["lines"])
    assert buffers == [b"jpeg"]
    plots.heard({"click": "series-0", **here})
    assert opened == [HOSTILE]
    plots.heard({"hover": "series-0", "serial": 8, "x": 0.02, "y": 0.98, **AREA})
    assert "lines" not in sent.pop()[0]


def test_new_points_are_sent_alone_and_nothing_is_sent_twice():
    dots = Dots(scales(), "#000")
    x = np.arange(5000.0)
    dots.draw(x, x)
    whole = dots.marks[0].y
    dots.draw(np.append(x, 5000.0), np.append(x, 7.0))
    assert dots.marks[0].y is whole
    assert dots.marks[1].x.tolist() == [5000.0]
    dots.draw(x[:10], x[:10])
    assert dots.marks[0].x[::2].tolist() == x[:10].tolist()
    assert np.isnan(dots.marks[0].y[1::2]).all()


def test_the_median_follows_the_middle_and_outliers_do_not_squeeze_the_axis():
    rng = np.random.default_rng(1)
    x = np.arange(1000.0)
    x_at, y_at = running_median(x, 5 + 0.001 * x + rng.normal(0, 0.1, 1000))
    assert np.abs(y_at - (5 + 0.001 * x_at)).max() < 0.15
    low, high = spread(np.append(rng.normal(4, 0.3, 1000), [400.0, -50.0]))
    assert 0 < low < 4 < high < 8
    assert spread(np.array([np.nan])) == (0.0, 1.0)


def test_ticks_are_round_and_named():
    start = pd.Timestamp("2026-03-01 08:03", tz="UTC").timestamp()
    at, names = time_ticks(start, 3 * 3600)
    assert 3 <= len(at) <= 8
    assert len(set(np.diff(at))) == 1
    assert all(len(name) in (5, 6) for name in names)
    # Names are as wide as they are long; half of the last must not stand beyond the plot.
    for length in range(30, 3 * 86400, 997):
        at, names = time_ticks(start, length)
        assert len(at) == len(names) > 0
        assert at[-1] <= length * (1 - 0.006 * len(names[-1]))
    at, names = order_ticks(10_000)
    assert names[0] == "2,000"


def test_labels_say_unit_and_open_ends():
    assert label(Condition(column="fit_resolution", maximum=4.0)) == "CTF fit resolution ≤ 4.0 Å"
    assert label(Condition(column="defocus", minimum=5000.0, maximum=20000.0)) == (
        "Mean defocus 0.50 to 2.00 µm"
    )
    assert label(Condition(column="particles", minimum=20.0, negate=True)) == "not Particles ≥ 20"
    assert quantity("defocus").rounded(1.23456) == 12300.0
    assert quantity("my_metric").words(1.23456e-5) == "1.235e−05"


def test_not_a_range_is_kept_as_a_filter():
    selection = Selection()
    condition = Condition(column="particles", minimum=50.0, maximum=90.0, negate=True)
    selection.add(Chip(label(condition), (condition,)))
    assert parse_filter(selection.expression()) == [condition]
    table = pd.DataFrame({"name": list("abc"), "particles": [10, 60, 100]})
    assert selection.holds(table).tolist() == [True, False, True]
    assert (
        Chip("", (Condition(column=TIME, minimum=0.0),))
        .holds(table.assign(finished=pd.Timestamp.now(tz="UTC")))
        .all()
    )


def test_groups_are_shots_of_the_name_or_optics_groups(many):
    table = pd.DataFrame(many)
    assert set(shot_groups(table)) == {"0", "1", "–"}
    assert shot_groups(table.assign(optics_group=["a", "b"] * 30)).tolist() == ["a", "b"] * 30
    assert shot_groups(table.assign(name=[f"m{i}" for i in range(60)])) is None


def test_conditions_are_typed_with_open_ends_and_errors_are_said(live, pages):
    bar = pages[1].bar
    bar.column.value = "defocus"
    bar.high.value = "1.0"
    bar.add_condition()
    assert live.selection.chips[0].conditions[0] == Condition(column="defocus", maximum=10000.0)
    bar.low.value, bar.high.value = "one", ""
    bar.add_condition()
    assert "expected a number" in live.banner.message.value


def test_a_saved_filter_is_loaded_and_the_rest_excluded(session, live, pages):
    session.filters = {"good": "fit_resolution<=4 & !particles=100..104"}
    session.touch()
    live.refresh()
    bar = pages[2].bar
    bar.saved.value = "good"
    table = live.snapshot.micrographs
    expected = (table["fit_resolution"] <= 4) & ~table["particles"].between(100, 104)
    assert len(pages[2].shown) == expected.sum()
    assert bar.saved.value == "filters…"
    bar.exclude_rest()
    assert session.commands[-1] == ("exclude", table["name"][~expected].tolist())
    bar.name.value = "good"
    bar.delete_filter()
    assert session.commands[-1] == ("save_filter", "good", None)


def test_the_table_keeps_its_marks_when_rows_arrive(session, live, pages, many):
    table = pages[1]
    assert table.window(0, 2)["name"].tolist() == [HOSTILE, many[58]["name"]]
    assert table.window(0, 2).index.tolist() == [60, 59]
    table.grid.selections = [{"r1": 3, "r2": 4, "c1": 0, "c2": 5}]
    marked = [many[56]["name"], many[55]["name"]]
    assert table.marked == marked
    session.put(*many, many[0] | {"name": "new", "id": 61})
    live.refresh()
    assert table.grid._row_count == 61
    assert table.marked == marked
    assert [s["r1"] for s in table.grid.selections] == [4, 5]
    table.grid.selections = [{"r1": 0, "r2": 60, "c1": 0, "c2": 0}]
    assert table.marked == marked
    assert [s["r1"] for s in table.grid.selections] == [4, 5]
    table.set_excluded(True)
    assert session.commands[-1] == ("exclude", marked, True)
    assert table.marked == [many[54]["name"]]
    assert [s["r1"] for s in table.grid.selections] == [6]


def test_headings_sort_and_unknown_values_come_last(session, live, pages, many):
    table = pages[1]
    many[10]["fit_resolution"] = None
    session.put(*many)
    live.refresh()
    for descending in (True, False):
        table.grid.sort_by("fit resolution, Å")
        numbers = table.window(0, 60)["fit resolution, Å"].to_numpy()
        assert numbers[-1] is None
        assert (np.diff(numbers[:-1].astype(float)) * (-1 if descending else 1) >= 0).all()
    table.grid.sort_by("fit resolution, Å")
    assert table.window(0, 1)["name"].iloc[0] == HOSTILE
    table.grid._transforms = [
        {"type": "filter", "column": "fit resolution, Å", "operator": "between", "value": [3.5, 4.0]}
    ]
    assert live.selection.chips[0].conditions[0] == Condition(
        column="fit_resolution", minimum=3.5, maximum=4.0
    )
    assert table.grid._transforms == []


def test_rows_in_sight_are_what_is_sent(session, live, pages, many):
    grid, sent = pages[1].grid, []
    grid.send = lambda content, buffers=None: sent.append(content)
    grid._handle_custom_msg({"type": "data-request", "r1": 2, "r2": 4, "c1": 0, "c2": 3}, None)
    (reply,) = sent
    assert reply["event_type"] == "data-reply"
    assert reply["value"]["data"]["name"] == pages[1].window(2, 5)["name"].tolist()
    many[57]["fit_resolution"] = None
    session.put(*many)
    live.refresh()
    grid._handle_custom_msg({"type": "data-request", "r1": 2, "r2": 3, "c1": 2, "c2": 2}, None)
    assert sent[-1]["value"]["data"]["fit resolution, Å"]["value"] == [None, pytest.approx(5.8)]


def test_a_column_of_the_users_appears_by_itself(session, live, pages, many):
    session.put(*(row | {"my_metric": 0.5 * i} for i, row in enumerate(many)))
    live.refresh()
    plots, table, _ = pages
    assert "my metric" in table.window(0, 1).columns
    assert "my_metric" in [c for _, c in plots.plots["series-0"].choice.options]
    assert plots.plots["series-0"].choice.value == "fit_resolution"
    table._set_column("my_metric", False)
    assert "my metric" not in table.window(0, 1).columns


def test_columns_are_chosen(live, pages):
    table = pages[1]
    table._toggle_columns()
    ticks = {tick.nb_column: tick for tick in table.chooser.children}
    assert ticks["defocus_u"].value
    ticks["ice_ring"].value = True
    ticks["defocus_u"].value = False
    columns = list(table.window(0, 1).columns)
    assert "Ice ring" in columns
    assert "defocus 1, µm" not in columns
    assert [f["name"] for f in table.grid._data["schema"]["fields"]][1:-1] == columns
    assert live.banner.error is None


def test_gallery_orders_marks_and_sends_only_what_is_wanted(session, live, pages, many):
    gallery = pages[2]
    session.file("thumb", many[59]["name"]).write_bytes(b"last")
    session.put(
        *(row | {"excluded": i == 3, "ctf_failed": "no" if i == 5 else None} for i, row in enumerate(many))
    )
    live.refresh()
    sent = []
    gallery.tiles.send = lambda content, buffers=None: sent.append((content, buffers))
    gallery.heard({"first": 0, "last": 60, "have": ""})
    content, buffers = sent.pop()
    rows = content["rows"]
    assert [r["name"] for r in rows] == [r["name"] for r in many[::-1]]
    assert (rows[56]["mark"], rows[54]["mark"], rows[0]["mark"]) == ("excluded", "failed", "")
    assert (content["pictures"], buffers) == ([rows[0]["key"]], [b"last"])
    gallery.heard({"first": 0, "last": 2, "have": rows[0]["key"]})
    assert sent.pop()[0]["pictures"] == []
    gallery.state.value = "failed"
    assert gallery.tiles.count == 1
    gallery.state.value, gallery.order.value = "all", "total_motion"
    assert (np.diff(gallery.shown["total_motion"]) <= 0).all()
    serial = gallery.tiles.serial
    live.draw()
    assert gallery.tiles.serial == serial
    opened = []
    live.open_micrograph = opened.append
    gallery.heard({"open": HOSTILE})
    assert opened == [HOSTILE]


def test_pages_wait_without_data_and_say_what_is_not_recorded(session, live, micrograph):
    pages = [page(session, live) for page in (PlotsPage, TablePage, GalleryPage)]
    for page in pages:
        live.subscribe(page.draw)
        assert "nb-hidden" not in page.waits._dom_classes
    session.put(micrograph("a", fit_resolution=None, defocus_u=None, ctf_failed="no rings"))
    live.refresh()
    assert live.banner.error is None
    assert "not measured" in pages[0].plots["series-0"].title.value
    assert "not recorded" in pages[0].plots["target"].title.value
