"""The offline command: STAR files of RELION 3.0 and 3.1 in, classes and assignments that RELION reads out."""

import shutil
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from nextpyp_nb.formats.class2d_star import read_particle_star
from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.star_text import read_star
from nextpyp_nb.tracks.class2d_offline import classify_star

N, BOX, PIXEL = 80, 32, 5.0
LABELS = ("rlnImageName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")


def loop(name, labels, rows):
    head = "".join(f"_{label} #{k + 1}\n" for k, label in enumerate(labels))
    return f"\ndata_{name}\n\nloop_\n{head}" + "\n".join(" ".join(map(str, row)) for row in rows) + "\n"


@pytest.fixture
def project(tmp_path):
    """A project folder with a stack, and STAR files of both versions in a job's folder."""
    job = tmp_path / "Extract" / "job001"
    job.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with mrcfile.new(job / "stack.mrcs") as stack:
        stack.set_data(rng.standard_normal((N, BOX, BOX)).astype(np.float32))
        stack.voxel_size = PIXEL
    rows = [(f"{k + 1:06d}@Extract/job001/stack.mrcs", 15000 + 10 * k, 14800, 30) for k in range(N)]
    optics = ("rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
              "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality")  # fmt: skip
    (job / "new.star").write_text(
        loop("optics", optics, [(1, 300, 2.7, 0.1, PIXEL, BOX, 2), (2, 300, 2.7, 0.1, PIXEL, BOX, 2)])
        + loop("particles", (*LABELS, "rlnOpticsGroup"), [(*row, 1 + k % 2) for k, row in enumerate(rows)])
    )
    old = (*LABELS, *optics[1:4], "rlnMagnification", "rlnDetectorPixelSize")
    (job / "old.star").write_text(loop("", old, [(*row, 300, 2.7, 0.1, 10000, PIXEL) for row in rows]))
    return job


@pytest.mark.parametrize("version", ["new", "old"])
def test_both_versions_are_classified(project, tmp_path, version):
    out = tmp_path / "out"
    told = []
    sentence = classify_star(
        project / f"{version}.star", out, classes=3, progress=lambda *now: told.append(now)
    )
    assert "80 particles" in sentence
    assert told[-1][0] <= told[-1][1]
    written = read_particle_star(out / "particles.star")
    assert len(written) == N
    assert written.pixel_size == PIXEL
    assert written.table["rlnClassNumber"].between(1, 3).all()
    origin = "rlnOriginXAngst" if version == "new" else "rlnOriginX"
    assert {origin, "rlnAnglePsi"} <= set(written.table)
    given = read_particle_star(project / f"{version}.star")
    np.testing.assert_array_equal(written.images(np.arange(N)), given.images(np.arange(N)))
    with mrcfile.open(out / "classes.mrcs") as stack:
        assert stack.data.shape == (3, BOX, BOX)
    classes = read_star(out / "classes.star")["model_classes"]
    assert classes["rlnClassDistribution"].sum() == pytest.approx(1.0)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_stack_create") is None, reason="RELION is not installed")
@pytest.mark.parametrize("version", ["new", "old"])
def test_relion_reads_what_was_written(project, tmp_path, version):
    out = tmp_path / "out"
    classify_star(project / f"{version}.star", out, classes=2)
    command = ["relion_stack_create", "--i", "particles.star", "--o", "turned", "--apply_transformation"]
    subprocess.run(command, cwd=out, check=True, capture_output=True)
    with mrcfile.open(out / "turned.mrcs") as stack:
        assert stack.data.shape == (N, BOX, BOX)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rlnDefocusU", "rlnOther"), "lacks rlnDefocusU"),
        (("stack.mrcs", "gone.mrcs"), "gone.mrcs, named in"),
        (("000080@", "000099@"), "wants number 99"),
        ((" 2\n000003@", " 7\n000003@"), "optics group 7"),
        (("000001@", "@"), "000001@stack.mrcs is expected"),
        (("_rlnImageName", "_rlnOther"), "lists no particles"),
    ],
)
def test_what_is_wrong_is_said(project, tmp_path, change, words):
    text = (project / "new.star").read_text()
    assert change[0] in text
    (project / "bad.star").write_text(text.replace(*change))
    with pytest.raises((BadFile, FileNotFoundError), match=words):
        classify_star(project / "bad.star", tmp_path / "out", classes=2)


def test_a_mask_wider_than_the_box_is_refused(project, tmp_path):
    with pytest.raises(ValueError, match="does not fit the box"):
        classify_star(project / "new.star", tmp_path / "out", classes=2, diameter=500)


def test_the_command_writes_its_files_or_says_what_is_wrong(project, tmp_path):
    command = [sys.executable, "-m", "nextpyp_nb", "class2d", project / "new.star", "--out", tmp_path / "out"]
    done = subprocess.run([*command, "--classes", "2"], capture_output=True, text=True, check=True)
    assert "80 particles in" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"classes.mrcs", "classes.star", "particles.star"}
    wrong = subprocess.run([*command, "--classes", "2", "--diameter", "999"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "does not fit the box" in wrong.stderr
