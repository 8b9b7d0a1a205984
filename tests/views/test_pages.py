"""The other pages: table, micrographs, classes, sessions, and the frame around them."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.filters import parse_filter
from nextpyp_nb.session.manual_picks import ADDED, FOUND, REMOVED
from nextpyp_nb.settings import Settings
from nextpyp_nb.views import App, track_panel
from nextpyp_nb.views.app import SessionPages
from nextpyp_nb.views.classes import ClassesPage
from nextpyp_nb.views.curves import round_ticks
from nextpyp_nb.views.gallery import GalleryPage
from nextpyp_nb.views.late import HTML, Box
from nextpyp_nb.views.micrographs import MicrographsPage
from nextpyp_nb.views.new_session import NewSession
from nextpyp_nb.views.pieces import Banner
from nextpyp_nb.views.state import LiveState, read_snapshot
from nextpyp_nb.views.widgets.micrograph import clicked_place, drawn_picks


def hidden(widget):
    return "nb-hidden" in widget._dom_classes


def test_a_pick_is_drawn_upside_down_where_its_pixel_is():
    # Row 0 of an array is the lowest row of the picture; pixel centres lie half a pixel in.
    corner = drawn_picks(np.array([[0.0, 0.0], [399.0, 599.0]]), np.array([5.0, 6.0]), 400)
    assert corner.tolist() == [[0.5, 399.5, 5.0, 0.0], [599.5, 0.5, 6.0, 0.0]]
    assert drawn_picks(np.zeros((0, 2)), np.zeros(0), 400).shape == (0, 4)
    assert clicked_place([599.5, 0.5], 400) == (399.0, 599.0)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.003, 0.004), (12.5, 980.0)])
def test_ticks_are_round_and_inside(low, high):
    ticks = round_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert low <= ticks[0] <= ticks[-1] <= high
    leading = {f"{np.diff(ticks)[0]:.3e}".partition("e")[0].rstrip("0").rstrip(".")}
    assert leading <= {"1", "2", "5"}


@pytest.fixture
def micrographs(session, live):
    made = MicrographsPage(session, live)
    live.subscribe(made.draw)
    return made


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


@pytest.fixture
def classes(session, live):
    made = ClassesPage(session, live)
    live.subscribe(made.draw)
    return made


def make_round(session, number=1):
    session.classes = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "count": [10, 30, 20],
            "share": [1 / 6, 0.5, 1 / 3],
            "resolution": [9.0, 12.0, np.nan],
            "score": 0.5,
            "identity": [11, 12, 13],
            "mark": [None, 1, None],
            "accepted": [None, 1, 0],
            "round": number,
        }
    )
    session.rounds = pd.DataFrame(
        [
            {
                "number": number,
                "state": "done",
                "particles": 60,
                "finished": pd.Timestamp.now(tz="UTC"),
                "revision": 1,
            }
        ]
    )
    session.file("classes_sheet", number).write_bytes(b"png")
    session.file("classes_layout", number).write_text(
        json.dumps({"tile": 64, "columns": 3, "pixel_size": 3.0, "count": 3})
    )
    session.touch()


def test_classes_say_what_they_wait_for(session, live, classes):
    assert "particle radius" in classes.waits.value
    session.settings = session.settings.updated({"picking.radius": 60})
    session.touch()
    live.refresh()
    assert "5,000 particles" in classes.waits.value
    assert hidden(classes.card)


def test_classes_are_sorted_and_marked(session, live, classes):
    make_round(session)
    live.refresh()
    assert not hidden(classes.card)
    assert classes.tiles.sheet == b"png"
    assert classes.tiles.tile == 64
    tiles = classes.tiles.classes
    assert [t["identity"] for t in tiles] == [12, 13, 11]
    assert [t["index"] for t in tiles] == [1, 2, 0]
    assert [(t["mark"], t["hand"]) for t in tiles] == [("accepted", True), ("rejected", False), ("", False)]
    assert tiles[1]["resolution"] == "–"
    assert "1 of 3 classes · 30 particles accepted (50 %)" in classes.summary.value
    classes.accept()
    assert session.commands == []
    assert classes.acts["accept"].disabled
    classes.tiles.selected = [13]
    classes.select("below")
    assert classes.tiles.selected == [13, 11]
    assert "50.0 % of particles" in classes.chosen_words.value
    classes.acts["accept"].click()
    classes.select("above")
    classes.acts["reject"].click()
    classes.tiles.selected = [11]
    classes.unmark()
    classes.use_as_templates()
    classes.order.value = "resolution"
    assert [t["identity"] for t in classes.tiles.classes] == [11, 12, 13]
    assert session.commands == [
        ("accept_classes", [13, 11]),
        ("reject_classes", [12, 13, 11]),
        ("unmark_classes", [11]),
        ("use_classes_as_templates", [11]),
    ]


def test_a_rule_is_seen_before_it_holds(session, live, classes):
    make_round(session)
    live.refresh()
    classes.rule.resolution.value = 10.0
    classes.rule.share.value = 10.0
    tiles = {t["identity"]: t["mark"] for t in classes.tiles.classes}
    # A mark by hand stands; a class without resolution passes no rule.
    assert tiles == {11: "accepted", 12: "accepted", 13: "rejected"}
    assert session.commands == []
    classes.rule.set.click()
    assert session.commands == [("set_class_rule", "resolution<=10 & share>=0.1")]


def test_particles_of_a_class_as_images_and_on_micrographs(session, live, classes, micrographs, micrograph):
    make_round(session)
    session.put(micrograph("m0"), micrograph("m1", 1))
    with session.file("assignments", 1).open("wb") as stream:
        np.savez(
            stream, names=np.array(["m0", "m1"]), micrograph=np.array([0, 0, 1]), pick=np.array([0, 4, 2]),
            class_number=np.array([1, 2, 1]), centres=np.array([[10, 20], [30, 40], [50, 60.0]]),
        )  # fmt: skip
    for name, numbers in (("m0", [0, 4]), ("m1", [1, 2])):
        images = np.zeros((2, 8, 8), np.float16)
        images[numbers.index({"m0": 0, "m1": 2}[name]), :4] = 1.0
        with session.file("particles", name).open("wb") as stream:
            np.savez(stream, number=numbers, images=images)
    live.refresh()
    classes.show_particles()
    assert "select one class" in live.banner.message.value
    classes.tiles.selected = [11]
    classes.show_particles()
    assert classes.particles.grid.names == ["m0", "m1"]
    drawn = np.frombuffer(classes.particles.grid.pixels, np.uint8).reshape(2, 8, 8)
    assert (drawn[:, 1] > drawn[:, 6]).all()
    entry = session.classes.iloc[0].to_dict()
    micrographs.mark_class(entry, "m0")
    assert np.frombuffer(micrographs.image.marked, np.float32).tolist() == [20.5, 389.5]
    assert "1 particles here, in 2 micrographs" in micrographs.class_words.value
    micrographs.step_class(1)
    assert micrographs.name == "m1"
    assert np.frombuffer(micrographs.image.marked, np.float32).tolist() == [60.5, 349.5]
    micrographs.unmark_class()
    assert micrographs.image.marked == b""


def test_the_history_shows_earlier_rounds(session, live, classes, tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"jpeg of one")
    moment = pd.Timestamp.now(tz="UTC")
    session.history = pd.DataFrame(
        {
            "round": [1, 2],
            "finished": moment,
            "particles": [5000, 9000],
            "resolution": [9.0, 8.0],
            "churn": [np.nan, 0.021],
            "picture": [tmp_path / "one.jpg", None],
        }
    )
    make_round(session, 2)
    live.refresh()
    assert "round 2" in classes.history.words.value
    assert "2.1 % changed class" in classes.history.words.value
    classes.history.slider.value = 1
    assert "5,000 particles" in classes.history.words.value
    assert classes.history.picture.value == b"jpeg of one"


def test_averages_are_handed_over_with_a_star_of_the_chosen(session, live, classes):
    make_round(session)
    session.file("classes", 1).write_bytes(b"stack")
    live.refresh()
    saved = {}
    classes.download.save = saved.__setitem__
    classes.tiles.selected = [12]
    classes.download_averages()
    assert saved["apof_round0001.mrcs"] == b"stack"
    (line,) = [x for x in saved["apof_round0001.star"].decode().splitlines() if "@" in x]
    assert line.split() == ["000002@apof_round0001.mrcs", "0.500000", "12.000", "2"]


def test_every_tab_opens_without_data_and_with(session, live, micrograph, write_files):
    pages = SessionPages(session, live, lambda: None)
    for again in range(2):
        for name in pages.tabs:
            pages.choose(name)
            assert live.banner.error is None
            assert [n for n, page in pages.pages.items() if not hidden(page)] == [name]
        if not again:
            write_files("m")
            session.put(micrograph("m"))
            make_round(session)
            live.refresh()
    assert '<b class="nb-fact-particles">50</b>' in pages.header.facts.value


def test_pages_are_made_ahead_and_hidden(session, micrograph, write_files, monkeypatch):
    monkeypatch.setattr("nextpyp_nb.views.app.WARM_EVERY", 0.01)
    write_files("m")
    session.put(micrograph("m"))

    async def look():
        live = LiveState(lambda: read_snapshot(session), session.version, banner=Banner())
        live.refresh()
        pages = SessionPages(session, live, lambda: None)
        await asyncio.sleep(0.1)
        assert list(pages.pages) == ["Operation"], "the browser has not been heard yet"
        live.presence.beat = 1.0
        until = asyncio.get_running_loop().time() + 60
        while len(pages.pages) < len(pages.tabs):
            assert asyncio.get_running_loop().time() < until, list(pages.pages)
            await asyncio.sleep(0.02)
        live.close()
        return pages

    pages = asyncio.run(look())
    assert [name for name, page in pages.pages.items() if not hidden(page)] == ["Operation"]
    assert set(pages.body.children) == set(pages.pages.values())
    assert pages.pages["Gallery"].tiles.count == 1
    assert pages.banner.error is None


def test_widgets_are_sent_once_when_they_are_needed():
    label, box = HTML("a"), Box()
    label.value = "b"
    box.add_class("nb-row")
    box.children = (label,)
    assert (label.comm, box.comm) == (None, None)
    assert box.model_id == box.comm.comm_id
    assert label.comm is not None
    assert label.layout is box.layout
    label.close()
    label.open()
    assert label.comm is None


def test_commands_are_told_as_lines_that_do_the_same(session, live, micrograph, write_files):
    write_files("m'1")
    session.put(micrograph("m'1"))
    live.refresh()
    pages = SessionPages(session, live, lambda: None)
    pages.lines.opener.click()
    assert "open_session(&#x27;apof&#x27;" in pages.lines.words.value
    pages.choose("Micrographs")
    page = pages.pages["Micrographs"]
    page.exclude.click()
    page.change.ask({"picking.threshold": 3.5}, "Threshold")
    page.change.sure.click()
    first, second = pages.lines.lines
    commands = []
    exec(first, {"session": SimpleNamespace(exclude=lambda *args: commands.append(args))})
    assert commands == [("m'1", True)]
    session.settings = session.settings.updated({"picking.threshold": None})
    exec(second, {"session": session})
    assert session.settings.picking.threshold == 3.5


def test_the_export_dialog_says_how_much_and_commands(session, live, micrograph):
    session.put(micrograph("a"), micrograph("b", particles=7), micrograph("c", excluded=True))
    session.filtered = lambda expression: parse_filter(expression) and session.micrographs.head(1)
    live.refresh()
    dialog = SessionPages(session, live, lambda: None).export
    dialog.toggle()
    assert dialog.size.value.startswith("2 micrographs, 57 particles: about 0.0 GB")
    dialog.filter.value = "fit_resolution <> 5"
    assert "nb-failed-text" in dialog.size.value
    assert dialog.export.disabled
    dialog.filter.value = " fit_resolution<=5 "
    assert dialog.size.value.startswith("1 micrographs")
    dialog.stack.value = True
    dialog.start()
    assert session.commands == [("export", None, "fit_resolution<=5", True, False, True, False)]
    assert hidden(dialog)
    dialog.out.value = "/data/out"
    dialog.start_report()
    assert session.commands[-1] == ("report", "/data/out")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(tmp_path / "site.toml"))
    (tmp_path / "site.toml").write_text(f'root = "{tmp_path / "sessions"}"\n')
    return tmp_path / "sessions"


def fill(form, **values):
    for key, value in values.items():
        form.fields[key.replace("__", ".")].control.value = value


def test_a_new_session_from_the_form(root):
    made = []
    page = NewSession(Banner(), made.append)
    page.create_session()
    assert "missing" in page.name_error.value
    assert "missing" in page.form.fields["microscope.pixel_size"].problem.value
    fill(page.form, raw_data__location="/d/*.tiff", microscope__pixel_size="1.3", microscope__voltage="300")
    page.name.value = "../outside"
    page.create_session()
    assert page.name_error.value
    page.name.value = "grid1"
    page.create_session()
    (session,) = made
    assert open_session("grid1").settings.microscope.pixel_size == 1.3
    page.create_session()
    assert "there is a session" in page.name_error.value
    session.close()


def test_the_app_lists_opens_and_leaves_sessions(root):
    settings = Settings.from_flat(
        {"raw_data.location": "/d/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    session = create_session("grid1", settings=settings)
    app = App()
    listed = app.place.children[1]
    assert list(listed.lines) == ["grid1"]
    app.show_session("grid1")
    pages = app.place.children[0]
    assert isinstance(pages, SessionPages)
    for name in pages.tabs:
        pages.choose(name)
    assert app.banner.error is None
    app.show_sessions()
    app.show_new()
    app.show_session("absent")
    assert "absent" in app.banner.message.value
    assert app.place.children[1].lines
    panel = track_panel("grid1", "preprocess").children[2]
    assert not panel.buttons["start"].disabled
    session.close()
