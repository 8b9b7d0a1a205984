"""What JupyterLab's side bar and previews ask of the server."""

import base64
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nextpyp_nb import lab, pages
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.star_text import write_star
from nextpyp_nb.session import create_session
from nextpyp_nb.session.groups import user_name
from nextpyp_nb.settings import Settings

TREE = Path(__file__).parents[1] / "labextension"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A site of its own, where ``tmp_path/sessions`` holds one session of group cryo."""
    site = tmp_path / "site.toml"
    site.write_text(
        f'root = "{tmp_path}/sessions"\ndata_roots = ["{tmp_path}/data"]\n'
        f'[groups.cryo]\noperators = ["ada"]\nreaders = ["bob"]\n'
    )
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(site))
    settings = Settings.from_flat(
        {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    create_session("grid", settings=settings, group="cryo")
    return tmp_path


def _service(root):
    site = root / "site.toml"
    site.write_text(f'service_accounts = ["{user_name()}"]\n' + site.read_text())


def test_the_owner_sees_and_operates_a_session_whoever_is_logged_in_as(root):
    (line,) = lab.sessions("somebody")
    assert (line["name"], line["runner"], line["micrographs"], line["operable"]) == (
        "grid",
        "stopped",
        0,
        True,
    )
    json.dumps(line)


def test_behind_a_service_account_the_person_counts(root):
    _service(root)
    assert lab.sessions("eve") == []
    assert [line["operable"] for login in ("ada", "bob") for line in lab.sessions(login)] == [True, False]


def test_a_reader_behind_a_service_account_is_refused(root):
    _service(root)
    answer = lab.command("grid", "stop", None, "bob")
    assert not answer["ok"]
    assert "bob may look at this session" in answer["message"]
    assert lab.command("grid", "stop", None, "ada")["ok"]


def test_only_the_buttons_commands_are_taken(root):
    with pytest.raises(ValueError, match="expected one of start, stop"):
        lab.command("grid", "save_settings", None, "ada")


def test_an_image_comes_as_a_picture_with_its_facts(root):
    values = np.zeros((3, 900, 1200), np.float32)
    values[1, 100:400, 200:500] = 5.0
    write_mrc(root / "movie.mrcs", values, pixel_size=0.83, stack=True)
    found = lab.look("movie.mrcs", root, "", "1")
    assert (found["width"], found["height"], found["images"], found["shown"]) == (1200, 900, 3, 1)
    assert found["pixel_size"] == pytest.approx(0.83)
    assert found["mean"] == pytest.approx(5.0 * 300 * 300 / (900 * 1200))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2]))))
    # y counts from below: the square lies in the lower left part of the picture.
    scale = 1024 / 1200
    inside = picture[-int(350 * scale) : -int(150 * scale), int(250 * scale) : int(450 * scale)]
    assert inside.min() > picture[: picture.shape[0] // 2].max()
    with pytest.raises(ValueError, match="got image 4"):
        lab.look("movie.mrcs", root, "", "3")


def test_a_table_comes_in_pages(root):
    table = pd.DataFrame(
        {"rlnMicrographName": [f"m{n}" for n in range(450)], "rlnDefocusU": np.arange(450.0)}
    )
    write_star(root / "some.star", {"optics": {"rlnVoltage": 300.0}, "micrographs": table})
    found = lab.look("some.star", root, "", "400")
    assert found["blocks"] == {"optics": 1, "micrographs": 450}
    assert found["rows"] == [[f"m{n}", n] for n in range(400, 450)]
    assert lab.look("some.star", root, "optics", "0")["rows"] == [["rlnVoltage", 300]]


def test_nothing_outside_the_roots_is_shown(root, tmp_path_factory):
    outside, home = tmp_path_factory.mktemp("outside"), root / "home"
    home.mkdir()
    (root / "data").mkdir()
    for folder in (outside, root / "data", home):
        write_mrc(folder / "a.mrc", np.zeros((8, 8), np.float32), pixel_size=1)
    (home / "link.mrc").symlink_to(outside / "a.mrc")
    (home / "data.mrc").symlink_to(root / "data" / "a.mrc")
    (home / ".hidden").mkdir()
    (home / "a.mrc").rename(home / ".hidden" / "a.mrc")
    for path in ("link.mrc", "../home/.hidden/a.mrc", f"../../{outside.name}/a.mrc"):
        with pytest.raises(PermissionError, match="outside"):
            lab.look(path, home, "", "0")
    assert lab.look("data.mrc", home, "", "0")["images"] == 1
    (home / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"expected one of \.mrc"):
        lab.look("notes.txt", home, "", "0")


def test_a_notebook_opens_its_session_with_the_code_folded():
    filled = pages.filled_notebook("session.ipynb", session='it\'s "odd"')
    code = [cell for cell in filled.cells if cell.cell_type == "code"]
    known = {}
    exec(code[0].source, known)
    assert known["session"] == 'it\'s "odd"'
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in code)


def test_the_shipped_extension_is_built_from_these_sources():
    assert runpy.run_path(str(TREE / "build.py"))["is_fresh"](), "run python labextension/build.py"
    built = json.loads((TREE / "prebuilt" / "package.json").read_text())
    assert (TREE / "prebuilt" / built["jupyterlab"]["_build"]["load"]).is_file()


def test_the_server_part_is_light_to_load():
    code = (
        "import sys, nextpyp_nb.server; print([m for m in ('pandas', 'numpy', 'numba') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
