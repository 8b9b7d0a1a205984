"""The gain check as people meet it: by itself in a session, as a command, on the page."""

import asyncio

import numpy as np
import pytest

from nextpyp_nb import cli
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.gain_check import gain_alert, gain_folder, read_gain_check
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.gain_stage import watch_gain
from nextpyp_nb.tracks.runner import run_session
from nextpyp_nb.views.attention import Attention
from nextpyp_nb.views.state import LiveState, read_snapshot


@pytest.fixture(scope="module")
def upside_down(microscope, tmp_path_factory):
    """The reference stored upside-down."""
    gain, pixel_size = read_mrc(microscope.gain_path)
    path = tmp_path_factory.mktemp("gain") / "upside_down.mrc"
    write_mrc(path, np.ascontiguousarray(gain[::-1]), pixel_size=pixel_size)
    return path


@pytest.fixture
def frames(microscope):
    return [read_frames(path) for path in sorted(microscope.gain_path.parent.rglob("*.tiff"))]


def of_gain(path, **values):
    return Settings.from_flat({"gain.reference": str(path)} | {f"gain.{k}": v for k, v in values.items()})


def test_a_session_says_that_its_reference_lies_upside_down_and_changes_nothing(session, upside_down):
    settings = session.settings.updated({"gain.reference": str(upside_down)})
    wrong = create_session("wrong", settings=settings, root=session.folder.parent)
    assert asyncio.run(run_session(wrong.folder, until_idle=True, signals=False)) == 0
    check = read_gain_check(wrong.folder)
    assert check["verdict"] == "another orientation fits better"
    assert check["proposal"] == {
        "gain.rotation": 0, "gain.flip_horizontal": False, "gain.flip_vertical": True
    }  # fmt: skip
    assert wrong.settings == settings
    told = [event for event in wrong.events() if event.code == "gain_check"]
    assert [(event.level, event.text) for event in told] == [("warning", check["text"])]
    assert (gain_folder(wrong.folder) / "check.jpg").stat().st_size > 1000
    assert gain_alert(wrong.folder, settings) == check
    assert gain_alert(wrong.folder, settings.updated(check["proposal"])) is None
    live = LiveState(lambda: read_snapshot(wrong), wrong.version)
    page = Attention(wrong, live, None)
    page.draw(read_snapshot(wrong))
    assert "upside-down" in page.gain.value
    assert "data:image/jpeg" in page.gain.value
    assert "nb-hidden" not in page.gain._dom_classes


def test_a_session_whose_reference_fits_needs_no_attention(session):
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False)) == 0
    check = read_gain_check(session.folder)
    assert (check["verdict"], check["proposal"]) == ("fits", {})
    assert [e.level for e in session.events() if e.code == "gain_check"] == ["info"]
    page = Attention(session, LiveState(lambda: None, session.version), None)
    page.draw(read_snapshot(session))
    assert "nb-hidden" in page.gain._dom_classes


def test_a_reference_that_surely_fits_is_checked_once(tmp_path, frames, microscope):
    settings = of_gain(microscope.gain_path)
    for number in range(5):
        watch_gain(frames[number % 3], tmp_path, f"m{number}", settings, events=False)
        check = read_gain_check(tmp_path)
        assert (check["verdict"], check["final"], check["movies"]) == ("fits", True, 1)
        assert not list((gain_folder(tmp_path) / "sums").iterdir())


def test_the_sums_go_when_the_check_is_final_and_come_back_for_other_settings(tmp_path, frames, microscope):
    settings = of_gain(microscope.gain_path)
    rng = np.random.default_rng(1)
    faint = [rng.binomial(movie[:1], 0.2).astype(np.uint8) for movie in frames]
    for number in range(5):
        watch_gain(faint[number % 3], tmp_path, f"m{number}", settings, events=False)
        check = read_gain_check(tmp_path)
        assert (check["verdict"], check["final"]) == ("fits", number == 4)
        assert check["movies"] == (5 if number == 4 else 1)
    assert not list((gain_folder(tmp_path) / "sums").iterdir())
    watch_gain(frames[0], tmp_path, "m9", settings, events=False)
    assert not list((gain_folder(tmp_path) / "sums").iterdir())
    watch_gain(frames[0], tmp_path, "m0", of_gain(microscope.gain_path, rotation=2), events=False)
    check = read_gain_check(tmp_path)
    assert (check["verdict"], check["movies"]) == ("another orientation fits better", 1)


def test_a_reference_on_its_side_is_told_although_no_movie_can_be_corrected(tmp_path, frames, microscope):
    turned = of_gain(microscope.gain_path, rotation=1)
    watch_gain(frames[0], tmp_path, "m0", turned, events=False)
    check = read_gain_check(tmp_path)
    assert check["proposal"]["gain.rotation"] == 0
    assert "impossible" in check["text"]


def test_more_movies_are_asked_while_it_cannot_be_told(tmp_path, frames, microscope):
    settings = of_gain(microscope.gain_path)
    gain = read_mrc(microscope.gain_path)[0]
    empty = np.full((1, *gain.shape), 1e-3, np.float32)
    for number in range(6):
        watch_gain(empty, tmp_path, f"m{number}", settings, events=False)
    check = read_gain_check(tmp_path)
    assert (check["movies"], check["final"]) == (6, False)


@pytest.mark.parametrize(("wrong", "code"), [(False, 0), (True, 2)])
def test_the_command_on_files(microscope, upside_down, tmp_path, capsys, wrong, code):
    movies = microscope.gain_path.parent / "*.tiff"
    reference = upside_down if wrong else microscope.gain_path
    words = ["gain-check", "--data", str(movies), "--gain", str(reference)]
    assert cli.main([*words, "--picture", str(tmp_path / "p.jpg")]) == code
    said = capsys.readouterr().out
    assert ("gain.flip_vertical=True" in said) is wrong
    assert (tmp_path / "p.jpg").is_file()


def test_the_command_on_a_session_and_without_anything(session, capsys):
    root = ["--root", str(session.folder.parent)]
    assert cli.main(["gain-check", "s", *root]) == 1
    assert "no movie yet" in capsys.readouterr().err
    assert cli.main(["gain-check", *root]) == 1
    assert "give the name of a session" in capsys.readouterr().err
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False)) == 0
    with Store(session.folder / "session.db") as store, acquire(store):
        store.add_movies([{"name": "on its way", "source": "/scope/on its way.tiff"}])
    assert cli.main(["gain-check", "s", *root]) == 0
    assert cli.main(["gain-check", "s", "--set", "gain.rotation=2", *root]) == 2
    assert open_session("s", root=session.folder.parent).settings.gain.rotation == 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("relion --rotation 1 --flip 2", (1, True, False, "auto")),
        ("motioncor --rotation 1 --flip 1 --invert", (1, False, True, "divide")),
        ("nextpyp --rotation 3 --flipv", (3, False, True, "auto")),
    ],
)
def test_conventions_as_a_command(session, capsys, words, wanted):
    root = ["--root", str(session.folder.parent)]
    assert cli.main(["gain-set", "--convention", *words.split()]) == 0
    shown = Settings.from_flat(dict(pair.split("=") for pair in capsys.readouterr().out.split())).gain
    assert cli.main(["gain-set", "s", "--convention", *words.split(), *root]) == 0
    for gain in (shown, session.settings.gain):
        assert (gain.rotation, gain.flip_horizontal, gain.flip_vertical, gain.operation) == wanted


@pytest.mark.parametrize(
    "words", ["relion --fliph", "nextpyp --flip 1", "relion --invert", "relion --flip 3"]
)
def test_values_of_another_convention_are_refused(capsys, words):
    assert cli.main(["gain-set", "--convention", *words.split()]) == 1
    assert "Traceback" not in capsys.readouterr().err
