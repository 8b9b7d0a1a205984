"""Places below the allowed roots without links, and what people of a served page may not name."""

from pathlib import Path

import pytest

from nextpyp_nb.session import create_session
from nextpyp_nb.session.reach import SERVED, beneath, check_served, overreach
from nextpyp_nb.views.form import FileBrowser
from nextpyp_nb.views.late import Text


@pytest.fixture
def data(tmp_path):
    """A data root with a movie, and a link in it that leads out; the root is reached by a link itself."""
    (tmp_path / "disk" / "grid1").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    (tmp_path / "disk" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("place", "allowed"),
    [("grid1", True), ("grid1/later/still", True), ("", True), ("out", False), ("out/deep", False),
     ("../private", False), ("grid1/../../private", False)],
)  # fmt: skip
def test_below_a_root_is_what_no_link_and_no_dots_lead_out_of(data, place, allowed):
    assert beneath(data / place, [data]) == allowed
    assert not beneath(Path("grid1"), [data])
    assert not beneath(data / place, [])


def test_patterns_count_by_their_fixed_part(data, settings, tmp_path):
    def told(location):
        wanted = settings.updated({"raw_data.location": location}).model_dump()
        return overreach("save_settings", {"settings": wanted}, settings, tmp_path / "s", [data])

    assert told(f"{data}/**/*.tiff; {data}/grid1/[ab]*.eer") == ""
    for bad in (f"{data}/out/*.tiff", f"{data}/*/../../private/*.tiff", "me@there:/data/*", f"{data}/a; /b"):
        assert "does not lie below" in told(bad), bad


def test_a_served_page_names_no_program_and_no_place_elsewhere(data, settings, tmp_path, site, monkeypatch):
    site.write_text(f'data_roots = ["{data}"]\n')
    monkeypatch.setenv(SERVED, "1")
    with pytest.raises(PermissionError, match=r"/camera/.* does not lie below"):
        create_session("s", settings=settings, root=tmp_path)
    settings = settings.updated({"raw_data.location": f"{data}/grid1/*.tiff"})
    session = create_session("s", settings=settings, root=tmp_path)
    plugin = settings.updated({"picking.method": "plug-in", "picking.plugin": "sh x {micrograph} {out}"})
    with pytest.raises(PermissionError, match="runs a program"):
        session.save_settings(plugin)
    with pytest.raises(PermissionError, match="private does not lie below"):
        session.report(tmp_path / "private")
    assert session.save_settings(settings.updated({"ctf.max_resolution": 5})).wait().ok
    with pytest.raises(PermissionError, match="may not look there"):
        check_served(f"{data}/grid1/*.tiff; /etc/*")
    monkeypatch.delenv(SERVED)
    assert session.save_settings(plugin).wait().ok
    assert check_served("/etc/*") == "/etc/*"
    session.close()


def test_the_file_browser_follows_no_link_out_of_the_roots(data):
    browser = FileBrowser(Text(), "movies", [data])
    browser.look(data)
    browser.choice.value = data / "out"
    assert browser.folder == data
    browser.choice.value = data / "grid1"
    assert browser.folder == data / "grid1"
