"""The notebook for machines: one run from parameters to export, readable when it failed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nextpyp_nb.formats.star import read_star
from nextpyp_nb.session import open_session

TEMPLATE = Path(__file__).parents[2] / "templates" / "session.ipynb"
pytestmark = pytest.mark.timeout(300)


def papermill(settings, out, more=None, **parameters):
    """Exit code, stderr, and all text of the notebook's outputs."""
    given = {
        "name": "s", "root": str(out / "sessions"), "data": settings.raw_data.location, "pixel": 1.3,
        "voltage": 300, "gain": settings.gain.reference,
        "settings": {
            "detect_rad": 75, "transfer.settle": 0.5, "transfer.scan_interval": 0.2, "transfer.give_up": 2,
            "microscope.dose": settings.microscope.dose, **(more or {}),
        },
    } | parameters  # fmt: skip
    (out / "parameters.yaml").write_text(json.dumps(given))
    written = out / "out.ipynb"
    environment = os.environ | {"PYTHONPATH": str(TEMPLATE.parents[1]), "IPYTHONDIR": str(out / "ipython")}
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(TEMPLATE), str(written), "-f", str(out / "parameters.yaml"),
         "--no-progress-bar", "-k", "python3", "--cwd", str(out)],
        capture_output=True, text=True, timeout=240, env=environment,
    )  # fmt: skip
    cells = json.loads(written.read_text())["cells"]
    return done.returncode, done.stderr, "\n".join(map(shown, cells))


def shown(cell):
    """What a reader of the notebook sees below a cell."""
    parts = []
    for output in cell.get("outputs", ()):
        text = output.get("text") or output.get("traceback") or output["data"].get("text/markdown")
        parts.append("".join(text or output["data"].get("text/plain", "")))
    return "\n".join(parts)


def test_a_session_runs_is_exported_and_goes_on_with_other_settings(settings, tmp_path):
    code, said, text = papermill(settings, tmp_path, export=str(tmp_path / "stars"))
    assert code == 0, said
    assert "| preprocess | 3 done |" in text
    assert "mov_0001" in text
    assert "'picking.radius': 75" in text
    particles = read_star(tmp_path / "stars" / "particles.star")["particles"]
    assert f"3 micrographs, {len(particles)} particles: `{tmp_path}/stars`" in text
    assert len(read_star(tmp_path / "stars" / "micrographs.star")["micrographs"]) == 3

    code, said, text = papermill(settings, tmp_path, more={"detect_rad": 90})
    assert code == 0, said
    assert "'picking.radius': 90" in text
    session = open_session("s", root=tmp_path / "sessions")
    assert {float(np.load(session.file("picks", n))["radius"]) for n in session.micrographs["name"]} == {90}


def test_a_failed_movie_is_told_in_the_notebook_and_by_the_exit_code(settings, microscope, tmp_path):
    folder = tmp_path / "movies"
    folder.mkdir()
    content = (microscope.folder / "mov_0001.tiff").read_bytes()
    (folder / "good.tiff").write_bytes(content)
    (folder / "cut.tiff").write_bytes(content[: len(content) // 2])
    code, said, text = papermill(
        settings, tmp_path, data=f"{folder}/*.tiff", export=str(tmp_path / "stars")
    )  # fmt: skip
    assert code != 0
    for place in (said, text):
        assert "not everything went well:\n  cut: truncated" in place
    # The good one is there all the same, exported too.
    assert len(read_star(tmp_path / "stars" / "micrographs.star")["micrographs"]) == 1
    assert list(open_session("s", root=tmp_path / "sessions").micrographs["name"]) == ["good"]


def test_a_folder_that_is_not_there_is_told_too(settings, tmp_path):
    code, said, text = papermill(settings, tmp_path, data=f"{tmp_path}/none/*.tiff", export=f"{tmp_path}/o")
    assert code != 0
    for place in (said, text):
        assert f"{tmp_path}/none; waiting for it to appear" in place
        assert "export: nothing to export" in place


def test_settings_that_cannot_be_are_one_sentence(settings, tmp_path):
    code, said, text = papermill(settings, tmp_path, pixel=None)
    assert code != 0
    for place in (said, text):
        assert "microscope.pixel_size: missing: give the pixel size" in place
    assert not (tmp_path / "sessions" / "s").exists()
