"""The list of sessions: find, sort, copy and delete, with real sessions on disk."""

import pytest

from nextpyp_nb.session import create_session, list_sessions, list_trash
from nextpyp_nb.session.disk import disk_use, volumes
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings
from nextpyp_nb.views.markup import size
from nextpyp_nb.views.pieces import shown
from nextpyp_nb.views.sessions import SessionsPage
from nextpyp_nb.views.state import LiveState


@pytest.fixture
def root(tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    site.write_text(f'root = "{tmp_path}/sessions"\n[groups.cryo]\noperators = []\n')
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(site))
    for name, group, pixel in (("apof-2", "cryo", 1.0), ("bgal-1", None, 2.0)):
        flat = {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": pixel, "microscope.voltage": 300}
        create_session(name, settings=Settings.from_flat(flat), group=group).close()
    return tmp_path / "sessions"


@pytest.fixture
def page(root):
    live = LiveState(lambda: list_sessions(root), lambda: list_sessions(root))
    made = SessionsPage(live, lambda name: None, lambda: None, root)
    live.refresh()
    return made


def _names(page):
    return [
        next(name for name, line in page.lines.items() if line is shown) for shown in page.entries.children
    ]


def test_sessions_are_found_by_words_group_and_status(page):
    assert page.count.value == "2 of 2 sessions"
    page.search.value = "bgal"
    assert _names(page) == ["bgal-1"]
    page.search.value = ""
    page.type.value = "single particle"
    assert len(_names(page)) == 2
    page.group.value = "cryo"
    assert _names(page) == ["apof-2"]
    page.status.value = "running"
    assert _names(page) == []
    assert page.none.value == "None matches."


def test_any_column_sorts_both_ways(page):
    page.headings["Name"].click()
    assert _names(page) == ["apof-2", "bgal-1"]
    page.headings["Name"].click()
    assert _names(page) == ["bgal-1", "apof-2"]
    assert page.headings["Name"].description == "Name ↓"
    assert page.headings["Created"].description == "Created"


def test_a_copy_has_the_same_settings_and_nothing_else(root, page):
    actions = page.lines["bgal-1"].actions
    actions.new_name.value = "bgal-2"
    actions.copy()
    (copied,) = [summary for summary in list_sessions(root) if summary.name == "bgal-2"]
    assert (copied.movies, copied.micrographs) == (0, 0)
    assert "bgal-2" in _names(page)
    actions.new_name.value = "bgal-2"
    actions.copy()
    assert "choose another name" in page.banner.message.value


def test_deleting_asks_for_the_name_and_the_number_of_moved_movies(root, page):
    raw = root / "bgal-1" / "raw" / "a.tiff"
    raw.write_bytes(b"x" * 5000)
    with Store(root / "bgal-1" / "session.db") as store:
        (movie,) = store.add_movies([{"name": "a", "source": "/x/a.tiff"}])
        store.movie_done(movie, path=str(raw), size=5000, hash="", operation="move")
    page.live.refresh()
    actions = page.lines["bgal-1"].actions
    assert "only copy of 1 movies" in actions.goes.value
    actions.typed.value = "bgal-1"
    assert actions.delete_button.disabled
    actions.delete()
    assert raw.is_file()
    assert "only copy" in page.banner.message.value
    actions.raw.value = "1"
    assert not actions.delete_button.disabled
    actions.delete_button.click()
    assert not (root / "bgal-1").exists()
    assert _names(page) == ["apof-2"]
    (line,) = page.trash.entries.children
    line.ask()
    assert "only copy of 1 movies" in line.goes.value
    assert line.sure.disabled
    line.remove()
    assert "only copy" in page.banner.message.value
    assert len(list_trash(root)) == 1
    line.raw.value = "1"
    assert not line.sure.disabled
    line.sure.click()
    assert list_trash(root) == []
    assert not shown(page.trash)


def test_a_deleted_session_is_restored_from_the_trash(root, page):
    assert not shown(page.trash)
    actions = page.lines["bgal-1"].actions
    actions.typed.value = "bgal-1"
    actions.delete_button.click()
    assert _names(page) == ["apof-2"]
    assert shown(page.trash)
    page.trash.entries.children[0].restore.click()
    assert sorted(_names(page)) == ["apof-2", "bgal-1"]
    assert not shown(page.trash)


def test_disk_use_counts_files_not_what_links_point_to(tmp_path):
    (tmp_path / "s" / "raw").mkdir(parents=True)
    (tmp_path / "big").write_bytes(b"x" * 1_000_000)
    (tmp_path / "s" / "raw" / "link").symlink_to(tmp_path / "big")
    (tmp_path / "s" / "raw" / "own").write_bytes(b"x" * 100_000)
    (tmp_path / "s" / "db").write_bytes(b"x" * 50_000)
    used = disk_use(tmp_path / "s")
    assert (used.files, used.raw_files, used.export_files) == (2, 1, 0)
    assert 150_000 <= used.bytes < 200_000
    assert 100_000 <= used.raw_bytes < 120_000


def test_a_file_system_is_listed_once_with_all_it_is_for(tmp_path):
    (found,) = volumes({"session": tmp_path, "movies": tmp_path, "gone": tmp_path / "nowhere"})
    assert found.uses == ("session", "movies")
    assert 0 < found.free <= found.total
    assert tmp_path.resolve().is_relative_to(found.mount)


@pytest.mark.parametrize(
    ("count", "said"), [(12, "12 B"), (3.2e6, "3 MB"), (3.25e9, "3.2 GB"), (4e12, "4.0 TB")]
)
def test_sizes_read_well(count, said):
    assert size(count) == said
