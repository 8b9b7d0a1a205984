import io
import lzma
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from nextpyp_nb.simulate.optics import interaction_constant
from nextpyp_nb.simulate.proteins.make import main as make_protein
from nextpyp_nb.simulate.specimen import project, protein, rotation

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_proteins_have_their_known_mass_and_size():
    bgal, apof = protein("bgal"), protein("apof")
    assert bgal.mass == pytest.approx(465e3, rel=0.02)
    assert apof.mass == pytest.approx(470e3, rel=0.03)
    assert 175 < np.ptp(bgal.xyz, axis=0).max() < 190
    assert 120 < np.ptp(apof.xyz, axis=0).max() < 130
    assert np.linalg.norm(apof.xyz, axis=1).min() > 30


def test_unknown_protein_says_what_there_is():
    with pytest.raises(ValueError, match="expected bgal or apof"):
        protein("ribosome")


def test_apoferritin_is_a_ring_in_projection():
    image = project(protein("apof"), angles=(10, 50, 80), size=128, pixel_size=1.3)
    y, x = np.indices(image.shape) - 64
    radius = np.hypot(y, x) * 1.3
    centre, rim, outside = (
        image[(radius >= a) & (radius < b)].mean() for a, b in ((0, 20), (42, 54), (75, 83))
    )
    assert rim > 1.3 * centre > 0
    assert abs(outside) < 0.01 * rim


def test_phase_sums_to_the_excess_potential_of_the_protein():
    image = project(protein("bgal"), angles=(0, 90, 0), size=180, pixel_size=1.3, voltage=200)
    volume = 1.21 * protein("bgal").mass
    assert image.sum() * 1.3**2 == pytest.approx(interaction_constant(200) * (7.6 - 4.5) * volume, rel=1e-3)


def test_offset_moves_the_centre_of_mass():
    y, x = np.indices((180, 180))
    for offset in ((0.0, 0.0), (0.4, -0.3), (-2.0, 5.25)):
        image = project(protein("bgal"), angles=(20, 40, 60), size=180, pixel_size=1.3, offset=offset)
        centre = np.array([(image * y).sum(), (image * x).sum()]) / image.sum()
        np.testing.assert_allclose(centre - 90, offset, atol=0.08)


def test_rotations_are_proper_and_psi_turns_the_image():
    turn = rotation(33, 71, -112)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    straight, turned = (
        project(protein("bgal"), angles=(20, 40, psi), size=180, pixel_size=1.3)[1:, 1:] for psi in (0, 90)
    )
    # RELION's psi turns the axes, so a feature at +y comes to +x; array rows run along y.
    np.testing.assert_allclose(turned, np.rot90(straight), atol=2e-2 * straight.max())


def test_make_keeps_the_atoms_of_a_pdb_file(tmp_path):
    lines = [
        "ATOM      1  C   ALA A   1       1.000   2.000   3.000  1.00  0.00           C",
        "ATOM      2  O  BALA A   1       9.000   9.000   9.000  1.00  0.00           O",
        "HETATM    3  O   HOH A   2       7.000   7.000   7.000  1.00  0.00           O",
        "ATOM      4  C   ALA A   1       3.000   2.000   3.000  1.00  0.00           C",
    ]
    (tmp_path / "two.pdb").write_text("\n".join(lines))
    make_protein(tmp_path / "two.pdb", tmp_path / "two.npz")
    with np.load(tmp_path / "two.npz") as atoms:
        np.testing.assert_array_equal(atoms["xyz"], [[-100, 0, 0], [100, 0, 0]])
        np.testing.assert_array_equal(atoms["element"], [6, 6])


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared test data")
def test_projection_agrees_with_an_independent_potential():
    packed = (SHARED / "maps" / "apof_cistem_potential_1.0A.mrc.xz").read_bytes()
    with mrcfile.mrcinterpreter.MrcInterpreter(io.BytesIO(lzma.decompress(packed))) as mrc:
        peer = mrc.data.sum(axis=0)
    ours = project(protein("apof"), angles=(0, 0, 0), size=len(peer), pixel_size=1.0)
    # The peer has no displaced solvent: compare where that is flat.
    ky, kx = np.fft.fftfreq(len(peer))[:, None], np.fft.rfftfreq(len(peer))[None]
    band = (np.hypot(ky, kx) > 0.08) & (np.hypot(ky, kx) < 0.2)
    a, b = np.fft.rfft2(ours)[band], np.fft.rfft2(peer)[band]
    ky, kx = np.broadcast_to(ky, band.shape)[band], np.broadcast_to(kx, band.shape)[band]
    # Its centre lies a fraction of a pixel beside ours.
    steps = np.linspace(-1, 1, 21)
    agreement = max(
        np.vdot(a * np.exp(-2j * np.pi * (ky * y + kx * x)), b).real for y in steps for x in steps
    )
    assert agreement > 0.95 * np.linalg.norm(a) * np.linalg.norm(b)
