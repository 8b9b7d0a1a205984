"""The page 2D Classes, new sessions, and the frame around the pages."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.filters import parse_filter
from nextpyp_nb.settings import Settings
from nextpyp_nb.views import App, track_panel
from nextpyp_nb.views.app import SessionPages
from nextpyp_nb.views.classes import ClassesPage
from nextpyp_nb.views.late import HTML, Box
from nextpyp_nb.views.new_session import NewSession
from nextpyp_nb.views.pieces import Banner
from nextpyp_nb.views.state import LiveState, read_snapshot


def hidden(widget):
    return "nb-hidden" in widget._dom_classes


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


def test_sliders_moved_since_a_rule_was_asked_for_stay(session, live, classes):
    make_round(session)
    live.refresh()
    rule = classes.rule
    rule.share.value = 10.0
    rule.set.click()
    rule.resolution.value = 10.0
    rule.draw(SimpleNamespace(settings=Settings.from_flat({"class2d.accept": "share>=0.1"}), writer=True))
    assert (rule.resolution.value, rule.share.value) == (10.0, 10.0)
    # A rule of another page is followed.
    rule.draw(SimpleNamespace(settings=Settings.from_flat({"class2d.accept": "share>=0.05"}), writer=True))
    assert (rule.resolution.value, rule.share.value) == (40.0, 5.0)


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
        live.presence.observe(lambda change: live.presence.set_trait("answered", change.new), "asked")
        live.presence.answered = live.presence.asked
        # Opened while the next page to be made ahead is waited for: it is not made twice.
        pages.choose("Settings")
        opened = pages.pages["Settings"]
        pages.choose("Operation")
        until = asyncio.get_running_loop().time() + 60
        while len(pages.body.children) < len(pages.tabs):
            assert asyncio.get_running_loop().time() < until, list(pages.pages)
            await asyncio.sleep(0.02)
        live.close()
        assert pages.pages["Settings"] is opened
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


def test_a_second_page_in_a_kernel_shares_no_model_with_the_first(root):
    first, second = App(root=root), App(root=root)
    assert first.layout is not second.layout
    assert second.layout is second.place.layout
