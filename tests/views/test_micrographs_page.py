"""The page Micrographs: following, stepping, picks by hand, other settings, limits."""

from types import SimpleNamespace

import numpy as np
import pytest

from nextpyp_nb.session.manual_picks import ADDED, FOUND, REMOVED
from nextpyp_nb.views.app import SessionPages
from nextpyp_nb.views.curves import round_ticks
from nextpyp_nb.views.gallery import GalleryPage
from nextpyp_nb.views.widgets.micrograph import clicked_place, drawn_picks


def hidden(widget):
    return "nb-hidden" in widget._dom_classes


def test_a_pick_is_drawn_upside_down_where_its_pixel_is():
    # Row 0 of an array is the lowest row of the picture; pixel centres lie half a pixel in.
    corner = drawn_picks(np.array([[0.0, 0.0], [399.0, 599.0]]), np.array([5.0, 6.0]), 400)
    assert corner.tolist() == [[0.5, 399.5, 5.0, 0.0], [599.5, 0.5, 6.0, 0.0]]
    assert drawn_picks(np.zeros((0, 2)), np.zeros(0), 400).shape == (0, 4)
    assert clicked_place([599.5, 0.5], 400) == (399.0, 599.0)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.003, 0.004), (12.5, 980.0), (0.004, 0.044)])
def test_ticks_are_round_and_inside(low, high):
    ticks = round_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert low <= ticks[0] <= ticks[-1] <= high
    leading = {f"{np.diff(ticks)[0]:.3e}".partition("e")[0].rstrip("0").rstrip(".")}
    assert leading <= {"1", "2", "5"}


def test_micrographs_wait_then_follow_the_newest(session, live, micrographs, micrograph, write_files):
    assert hidden(micrographs.body)
    for i in range(3):
        write_files(f"m{i}")
        session.put(*(micrograph(f"m{j}", j) for j in range(i + 1)))
        live.refresh()
        assert micrographs.name == f"m{i}"
    assert micrographs.image.picture == b"jpeg"
    assert np.frombuffer(micrographs.image.picks, np.float32).tolist() == [20.5, 389.5, 5.0, 0.0]
    assert micrographs.image.radius_px == 40.0
    assert micrographs.motion.path.x.tolist() == [0.0, 3.0]
    assert micrographs.motion.path.y.tolist() == [0.0, 1.5]
    assert micrographs.spectrum.side == 16
    assert (micrographs.spectrum.nyquist, micrographs.spectrum.resolution) == (3.0, 4.2)


def test_stepping_ends_watch_and_stays(session, live, micrographs, micrograph, write_files):
    write_files("m0")
    session.put(*(micrograph(f"m{j}", j) for j in range(30)))
    live.refresh()
    micrographs.step(-10)
    assert (micrographs.name, micrographs.index.value, micrographs.watch.value) == ("m19", 20, False)
    session.put(*(micrograph(f"m{j}", j) for j in range(31)))
    live.refresh()
    assert micrographs.name == "m19"
    micrographs.step(-100)
    assert micrographs.name == "m0"
    micrographs.index.value = 5
    assert micrographs.name == "m4"
    micrographs.find.value = "M2"
    assert micrographs.name == "m29"
    micrographs.watch.value = True
    assert micrographs.name == "m30"


def test_missing_files_are_said_not_raised(session, live, micrographs, micrograph):
    session.put(micrograph("m", defocus_u=None, ctf_failed="best fit 0.02, below 0.05"))
    live.refresh()
    assert live.banner.error is None
    assert "no picture" in micrographs.image.waiting
    assert "no fit: best fit 0.02" in micrographs.ctf.title.value


def test_exclude_and_include(session, live, micrographs, micrograph):
    session.put(micrograph("m"))
    live.refresh()
    micrographs.exclude.click()
    session.put(micrograph("m", excluded=True))
    live.refresh()
    micrographs.exclude.click()
    assert session.commands == [("exclude", "m", True), ("exclude", "m", False)]


def test_picks_by_mouse_and_a_threshold_for_the_session(session, live, micrographs, micrograph, write_files):
    write_files("m", centres=((10.0, 20.0), (200.0, 100.0), (300.0, 500.0)))
    session.put(micrograph("m"))
    session.file("manual", "m").write_text('{"added": [[50.0, 60.0]], "removed": [[205.0, 100.0]]}')
    live.refresh()
    drawn = np.frombuffer(micrographs.image.picks, np.float32).reshape(-1, 4)
    assert drawn[:, 3].tolist() == [FOUND, REMOVED, FOUND, ADDED]
    assert micrographs.image.threshold == 4.0
    # What is drawn at a place and clicked there is meant at that place.
    x, y = drawn[2, :2].tolist()
    micrographs.heard({"remove": [x, y], "name": "m"})
    micrographs.heard({"add": [0.5, 399.5], "name": "m"})
    assert session.commands == [("remove_pick", "m", 300.0, 500.0), ("add_pick", "m", 0.0, 0.0)]
    session.commands.clear()
    session.settings = session.settings.updated({"picking.radius": 60})
    micrographs.heard({"threshold": 5.256})
    assert "redo picks of 1 micrograph" in micrographs.change.words.value
    assert session.commands == []
    micrographs.change.sure.click()
    ((command, settings),) = session.commands
    assert (command, settings.picking.threshold) == ("save_settings", 5.26)
    session.runner = "running"
    session.track("preprocess", state="running")
    live.refresh()
    micrographs.heard({"threshold": 6.0})
    micrographs.change.sure.click()
    assert session.commands[-1] == ("restart", "preprocess")


def test_other_settings_are_tried_compared_and_used(session, live, micrographs, micrograph, write_files):
    write_files("m")
    session.put(micrograph("m"))
    live.refresh()
    card = micrographs.tryout
    assert card.try_button.disabled
    card.form.fields["picking.radius"].control.value = "5"
    assert card.try_button.disabled
    assert "10 to 2000" in card.form.fields["picking.radius"].problem.value
    card.form.fields["picking.radius"].control.value = "80"
    card.try_button.click()
    assert session.commands == [("try_out", "m", {"picking.radius": "80"})]
    tried = SimpleNamespace(
        id="n1", micrograph="m", changes={"picking.radius": 80.0}, state="running", stage="picking",
        reason="", file=lambda kind, name: session.file(f"tried-{kind}", name),
        entry=lambda before: before | {"particles": 3},
    )  # fmt: skip
    session.tried["n1"] = tried
    session.touch()
    live.refresh()
    assert "picking" in card.note.value
    assert card.try_button.disabled
    session.tried["n1"] = tried = SimpleNamespace(**vars(tried) | {"state": "done"})
    session.file("tried-preview", "m").write_bytes(b"tried jpeg")
    session.touch()
    live.refresh()
    assert micrographs.image.picture == b"tried jpeg"
    assert not micrographs.image.editable
    assert "<td>50</td><td><b>3</b></td>" in card.result.value
    card.now.click()
    assert micrographs.image.picture == b"jpeg"
    assert micrographs.image.editable
    card.use.click()
    micrographs.change.sure.click()
    command, settings = session.commands[-1]
    assert (command, settings.picking.radius) == ("save_settings", 80.0)
    tried.state, tried.reason = "failed", "no such movie"
    card._take(tried)
    assert "no such movie" in card.result.value
    assert hidden(card.use)


def test_local_motion_is_drawn_at_its_places(session, live, micrographs, micrograph, write_files):
    write_files("m")
    local = np.zeros((2, 6, 3), np.float32)
    # x grows with y, 2 px from edge to edge in frame 1.
    local[1, 3, 0] = 2.0
    with session.file("trajectory", "m").open("wb") as stream:
        np.savez(stream, shifts=np.zeros((2, 2), np.float32), pixel_size=1.5, local=local)
    session.put(micrograph("m"))
    live.refresh()
    assert not hidden(micrographs.motion.choice)
    micrographs.motion.which[1].click()
    drawn = np.column_stack([micrographs.motion.path.x, micrographs.motion.path.y]).reshape(-1)
    tracks = np.append(drawn, [np.nan, np.nan]).reshape(25, 3, 2)
    moved = tracks[:, 1] - tracks[:, 0]
    assert moved[:, 1] == pytest.approx(np.zeros(25))
    # Places lie 0.2 apart from -0.4 to 0.4 of the height: the upper row moves against the lower one.
    assert moved[::5, 0] / moved[-1, 0] == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert "up to 1.2 Å" in micrographs.motion.title.value


def test_figures_out_of_limits_are_said(session, live, micrographs, micrograph, write_files):
    write_files("m1")
    session.put(micrograph("m0", early_motion=12.0), micrograph("m1", 1, early_motion=35.0))
    live.refresh()
    assert "▲ Early drift 35 Å, limit 30" in micrographs.alarm_words.value
    micrographs.step(-1)
    assert hidden(micrographs.alarm_words)
    gallery = GalleryPage(session, live)
    live.subscribe(gallery.draw)
    assert gallery.marks.tolist() == ["alarm", ""]


def test_a_reader_may_look_only(session, live, micrographs, micrograph, write_files):
    session.role = lambda: "reader"
    write_files("m")
    session.put(micrograph("m"))
    live.refresh()
    assert not micrographs.image.editable
    assert hidden(micrographs.exclude)
    assert hidden(micrographs.tryout)
    pages = SessionPages(session, live, lambda: None)
    assert "nb-reader" in pages._dom_classes
    session.role = lambda: "operator"
    session.touch()
    live.refresh()
    assert "nb-reader" not in pages._dom_classes
    assert not hidden(micrographs.exclude)
