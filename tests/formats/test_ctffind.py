import math
import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from nextpyp_nb.formats.ctffind import write_ctffind
from nextpyp_nb.records import Ctf, CtfProfile

CTF = Ctf(
    defocus_u=12300.5, defocus_v=12000.25, defocus_angle=-33.5, voltage=300.0, cs=2.7, amplitude_contrast=0.1,
    phase_shift=90.0, fit_resolution=3.75, score=0.42,
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    frequency = np.linspace(0.02, 0.36, 200, dtype=np.float32)
    curves = {
        name: np.full(200, value, np.float32)
        for name, value in {
            "radial_average": 0.1,
            "equiphase_average": 0.2,
            "fit": 0.3,
            "quality": 0.4,
        }.items()
    }
    picture = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    target = tmp_path / "ctf" / "m1.mrc"
    profile = CtfProfile(frequency=frequency, **curves)
    write_ctffind(target, CTF, profile, picture, micrograph="m1", pixel_size=1.3)
    return target


def test_numbers_stand_in_ctffinds_columns(written):
    row = np.loadtxt(written.with_suffix(".txt"))
    np.testing.assert_allclose(row, [1, 12300.5, 12000.25, -33.5, math.pi / 2, 0.42, 3.75], rtol=1e-6)


def test_curves_are_six_lines_over_cycles_per_pixel(written):
    curves = np.loadtxt(written.with_name("m1_avrot.txt"))
    assert curves.shape == (6, 200)
    assert curves[0, -1] == pytest.approx(0.36 * 1.3, abs=1e-5)
    np.testing.assert_allclose(curves[1:5, 7], [0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert np.all(np.diff(curves[5]) <= 0)


def test_spectrum_is_an_image_of_the_same_picture(written):
    with mrcfile.open(written) as mrc:
        assert mrc.data.shape == (256, 256)
        np.testing.assert_allclose(mrc.data[0], np.arange(256) / 255, atol=1e-6)


def test_the_specimen_adds_ctffind_5s_columns(written):
    curve = np.linspace(0.02, 0.36, 20, dtype=np.float32)
    profile = CtfProfile(**dict.fromkeys(CtfProfile.__dataclass_fields__, curve))
    picture, specimen = np.zeros((64, 64), np.uint8), (-20.0, 31.5, 1200.0)
    target = written.with_name("m2.mrc")
    write_ctffind(target, CTF, profile, picture, micrograph="m2", pixel_size=1.3, specimen=specimen)
    plain, more = (np.loadtxt(path.with_suffix(".txt")) for path in (written, target))
    np.testing.assert_allclose(more, [*plain, *specimen])


@pytest.mark.relion
@pytest.mark.skipif(not shutil.which("relion_run_ctffind"), reason="RELION is not installed")
@pytest.mark.parametrize("specimen", [None, (-20.0, 31.5, 1200.0)])
def test_relion_reads_the_numbers_as_those_of_ctffind(written, specimen):
    folder, optics = written.parents[1], [f"_rln{name}" for name in (
        "OpticsGroupName", "OpticsGroup", "MicrographPixelSize", "Voltage", "SphericalAberration",
        "AmplitudeContrast")]  # fmt: skip
    (folder / "mics.star").write_text(
        "data_optics\n\nloop_\n" + "\n".join(optics) + "\ng1 1 1.3 300 2.7 0.1\n\n"
        "data_micrographs\n\nloop_\n_rlnMicrographName\n_rlnOpticsGroup\nctf/m1.mrc 1\n\n"
    )
    target = folder / "ctf" / "m1.mrc"
    curve = np.linspace(0.02, 0.36, 20, dtype=np.float32)
    profile = CtfProfile(**dict.fromkeys(CtfProfile.__dataclass_fields__, curve))
    write_ctffind(target, CTF, profile, np.zeros((64, 64), np.uint8), micrograph="m1", pixel_size=1.3,
                  specimen=specimen)  # fmt: skip
    # What a run of CTFFIND leaves on the terminal tells RELION where the numbers are.
    log = folder / "job" / "ctf" / "m1_ctffind4.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"Summary of results : {target.with_suffix('.txt')}\n")
    command = "relion_run_ctffind --i mics.star --o job/ --only_make_star --is_ctffind4 --ctffind_exe true"
    subprocess.run([*command.split(), "--do_phaseshift"], cwd=folder, check=True, capture_output=True)
    values = (folder / "job" / "micrographs_ctf.star").read_text().split("_rlnMicrographName")[1].split()
    assert "ctf/m1.mrc" in values
    numbers = {float(v) for v in values[values.index("ctf/m1.mrc") + 2 :] if v[-1].isdigit()}
    assert {12300.5, 12000.25, 300.25, -33.5, 90.0, 0.42, 3.75} <= {round(n, 4) for n in numbers}
