"""The notebooks for newcomers run from top to bottom, and say what they promise."""

import os
from pathlib import Path

import pytest
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

TREE = Path(__file__).parents[1]
DETECTOR = {"height": 512, "width": 576, "frames": 8, "dose_per_frame": 4.0, "seed": 3}
pytestmark = pytest.mark.timeout(600)


def _run(name, tmp_path, monkeypatch, **parameters):
    """All that the notebook shows, as text."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(TREE), os.environ.get("PYTHONPATH", ""))))
    filled = parameterize_notebook(load_notebook_node(str(TREE / "notebooks" / name)), parameters)
    NotebookClient(
        filled, timeout=500, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    parts = []
    for cell in filled.cells:
        for output in cell.get("outputs", ()):
            parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
            parts += [kind for kind in output.get("data", ()) if kind.startswith("image/")]
    return "\n".join(parts)


def test_one_movie(tmp_path, monkeypatch):
    shown = _run("one_movie.ipynb", tmp_path, monkeypatch, detector=DETECTOR)
    assert shown.count("image/png") == 3
    assert "rings to" in shown


def test_the_tour(tmp_path, monkeypatch):
    shown = _run("tour.ipynb", tmp_path, monkeypatch, movies=2, detector=DETECTOR, first_round=10_000)
    assert "early_share" in shown
    assert "redo picks of 2 micrographs" in shown
    assert "done" in shown
    (folder,) = tmp_path.glob("nextpyp-tour-*")
    assert (folder / "relion" / "micrographs.star").is_file()
    assert (folder / "report" / "report.html").is_file()
