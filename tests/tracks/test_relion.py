"""RELION reads what a session exports, and finds in it what we found."""

import asyncio
import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import scipy.fft as sf
from scipy import ndimage

from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.formats.motion_star import read_motion_star
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star import read_star, write_star
from nextpyp_nb.kernels.counts import Counts
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.fourier import fourier_resize
from nextpyp_nb.kernels.frame_sum import sum_frames
from nextpyp_nb.kernels.particles import extract_particles
from nextpyp_nb.records import Ctf
from nextpyp_nb.session import create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Microscope
from nextpyp_nb.tracks.export import export_plan, export_session
from nextpyp_nb.tracks.runner import run_session

pytestmark = [
    pytest.mark.relion,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("relion_refine") is None, reason="RELION is not installed"),
]

PIXEL, RADIUS, DOSE, FRAMES = 2.0, 90, 10.0, 5


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A finished session: five movies of one protein, over 200 picks, one round of 2D."""
    root = tmp_path_factory.mktemp("relion")
    camera = Microscope(
        root / "m", layout="flat", height=768, width=768, frames=FRAMES, dose_per_frame=DOSE, seed=5,
        pixel_size=PIXEL, species={"bgal": 1.0}, defocus=(16_000.0, 22_000.0), ice_thickness=150.0,
    )  # fmt: skip
    # The next five are good ones.
    camera.taken = 4
    asyncio.run(camera.run(5, interval=0))
    settings = Settings.from_flat({
        "raw_data.location": f"{camera.folder}/*.tiff", "gain.reference": str(camera.gain_path),
        "microscope.pixel_size": PIXEL, "microscope.voltage": 300, "microscope.amplitude_contrast": 0.1,
        "microscope.dose": DOSE * FRAMES, "transfer.settle": 0.2, "transfer.scan_interval": 0.2,
        "picking.radius": RADIUS, "class2d.classes": 2, "class2d.max_resolution": 10,
    })  # fmt: skip
    made = create_session("s", settings=settings, root=root / "sessions")
    assert asyncio.run(run_session(made.folder, until_idle=True, signals=False)) == 0
    assert list(made.rounds["state"]) == ["done"]
    return made


@pytest.fixture(scope="module")
def out(session, tmp_path_factory):
    """The session's export, with stacks."""
    folder = tmp_path_factory.mktemp("export")
    done = export_session(export_plan(session, folder, stack=True), lambda report: None)
    assert done["particles"] > 150
    return folder


def relion(folder, *command):
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=120,
        env=os.environ | limits,
    )  # fmt: skip
    # RELION's own errors do not always make it exit with one.
    assert done.returncode == 0, done.stderr
    # It draws its logfile with a program that need not be there.
    assert "ERROR" not in done.stderr.replace("ERROR in executing: gs", ""), done.stderr


def extract(folder):
    """RELION's boxes at the exported coordinates, as again.star."""
    box = read_star(folder / "particles.star")["optics"]["rlnImageSize"].iloc[0]
    relion(
        folder, "relion_preprocess", "--i", "micrographs.star", "--reextract_data_star", "particles.star",
        "--part_star", "again.star", "--part_dir", "Again/", "--extract", "--extract_size", box,
        "--norm", "--bg_radius", round(RADIUS / PIXEL), "--invert_contrast",
    )  # fmt: skip


def test_particles_summed_by_relion_along_our_motion_are_ours(session, out):
    """Its polishing, kept from fitting, reads movie, gain, defects and motion as they lie in the export."""
    corrected = read_star(out / "corrected_micrographs.star")["micrographs"]
    assert not [label for label in corrected if "Defocus" in label]
    general = read_star(out / corrected["rlnMicrographMetadata"][0])["general"]
    gain, _ = read_mrc(out / general["rlnMicrographGainName"])
    np.testing.assert_array_equal(gain, read_mrc(session.settings.gain.reference)[0])
    defects, _ = read_mrc(out / general["rlnMicrographDefectFile"])
    np.testing.assert_array_equal(defects != 0, gain <= 0)
    blocks = read_star(out / "particles.star")
    particles = blocks["particles"].drop(columns=["rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"])
    angles = dict.fromkeys(("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"), 0.0)
    particles = particles.assign(**{f"rln{name}": value for name, value in angles.items()})
    particles["rlnRandomSubset"] = np.arange(len(particles)) % 2 + 1
    write_star(out / "polish.star", {"optics": blocks["optics"], "particles": particles})
    pixel_size, box = (blocks["optics"][f"rlnImage{name}"].iloc[0] for name in ("PixelSize", "Size"))
    density = (((np.mgrid[:box, :box, :box] - box // 2) ** 2).sum(axis=0) < 30**2).astype(np.float32)
    for name in ("h1.mrc", "h2.mrc"):
        write_mrc(out / name, density, pixel_size=pixel_size)
    shells = np.arange(box // 2 + 1)
    curve = pd.DataFrame({
        "rlnSpectralIndex": shells, "rlnResolution": shells / (box * pixel_size),
        "rlnAngstromResolution": box * pixel_size / np.maximum(shells, 0.1),
        "rlnFourierShellCorrelationCorrected": np.exp(-shells / 8),
    })  # fmt: skip
    general = {"rlnFinalResolution": 10.0, "rlnBfactorUsedForSharpening": -50.0}
    write_star(out / "fsc.star", {"general": general, "fsc": curve})
    # Each call fits the motion anew, and this reference would lead the frames anywhere.
    common = (
        "relion_motion_refine", "--i", "polish.star", "--f", "fsc.star", "--m1", "h1.mrc", "--m2", "h2.mrc",
        "--corr_mic", "corrected_micrographs.star", "--o", "polish/", "--fdose", DOSE, "--j", 2,
        "--max_iters", 0,
    )  # fmt: skip
    relion(out, *common)
    # The same weight for all frames.
    even = {"rlnMicrographFrameNumber": np.arange(1, FRAMES + 1), "rlnBfactorUsedForSharpening": 0.0}
    even = pd.DataFrame(even | {"rlnFittedInterceptGuinierPlot": 1.0})
    write_star(out / "even.star", {"perframe_bfactors": even})
    relion(out, *common, "--combine_frames", "--bfactors", "even.star")
    shiny = read_star(out / "polish" / "shiny.star")["particles"]
    assert len(shiny) == len(particles)
    for name, mine in shiny.groupby("rlnMicrographName"):
        star = out / corrected.set_index("rlnMicrographName").loc[name, "rlnMicrographMetadata"]
        blocks, motion = read_star(star), read_motion_star(star)
        frames = read_frames(out / blocks["general"]["rlnMicrographMovieName"]) * gain
        hot = blocks["hot_pixels"][["rlnCoordinateY", "rlnCoordinateX"]].to_numpy(int).T
        total = frames.sum(axis=0)
        bright = np.argwhere(total > 3 * np.median(total))
        assert len(bright) == 4
        assert {tuple(place) for place in bright} <= {tuple(place) for place in hot.T}
        # Another pixel is there by chance, as far from the others as a bad one.
        assert (np.abs(np.sqrt(total[tuple(hot)]) - np.sqrt(np.median(total))) > 2.5).all()
        # RELION 3.1 reads hot pixels and defects but leaves them in: so they stay in ours here.
        counts = Counts(raw=frames, gain=None, bad=np.zeros(frames.shape[1:], bool))
        average, *_ = sum_frames(counts, motion.shifts, None, motion.local)
        centres = mine[["rlnCoordinateY", "rlnCoordinateX"]].to_numpy()
        ours, kept = extract_particles(average, centres, pixel_size=PIXEL, box_px=box)
        assert kept.all()
        # RELION's shifts wrap around the box, and ours leave little of the corners of Fourier space.
        inner, small = np.s_[:, 10:-10, 10:-10], (int(0.4 * (box - 20)) * 2,) * 2
        theirs = images(out, mine["rlnImageName"])
        pair = (fourier_resize(boxes[inner], small) for boxes in (ours, theirs))
        alike = correlations(*pair)
        # A dead column at the rim rings through its whole box.
        assert alike.min() > 0.9
        assert np.median(alike) > 0.99


def images(folder, names):
    stacks, found = {}, []
    for name in names:
        index, path = name.split("@")
        if path not in stacks:
            stacks[path] = np.asarray(read_mrc(folder / path)[0], np.float32)
        found.append(stacks[path][int(index) - 1])
    return np.array(found)


def correlations(a, b):
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def distance(side, pixel_size):
    at = (np.arange(side) - side // 2) * pixel_size
    return np.hypot(at[:, None], at[None, :])


def test_extraction_by_relion_gives_our_particles(out):
    ours = read_star(out / "particles.star")["particles"]
    extract(out)
    theirs = read_star(out / "again.star")["particles"]
    assert len(theirs) == len(ours)
    where = ["rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY"]
    both = ours.merge(theirs, on=where, suffixes=("", "Again"), validate="one_to_one")
    assert len(both) == len(ours)
    again = images(out, both["rlnImageNameAgain"])
    assert (again.std(axis=(1, 2)) > 0.5).all()
    # The background is chosen alike: only rounding differs.
    assert correlations(images(out, both["rlnImageName"]), again).min() > 0.99


def test_relion_cuts_out_particles_of_an_export_without_stacks(session, tmp_path):
    done = export_session(export_plan(session, tmp_path), lambda report: None)
    extract(tmp_path)
    theirs = read_star(tmp_path / "again.star")["particles"]
    assert len(theirs) == done["particles"]
    assert (images(tmp_path, theirs["rlnImageName"]).std(axis=(1, 2)) > 0.5).all()


def test_a_2d_iteration_of_relion_sees_protein_in_every_class(out):
    (out / "Class2D").mkdir()
    relion(
        out, "relion_refine", "--i", "particles.star", "--o", "Class2D/run", "--iter", 1, "--K", 2, "--ctf",
        "--particle_diameter", 2 * RADIUS, "--tau2_fudge", 2, "--zero_mask", "--flatten_solvent", "--norm",
        "--scale", "--oversampling", 0, "--psi_step", 24, "--offset_range", 4, "--offset_step", 4,
        "--random_seed", 1, "--j", 2, "--dont_combine_weights_via_disc",
    )  # fmt: skip
    found = read_star(out / "Class2D" / "run_it001_data.star")["particles"]
    assert len(found) == len(read_star(out / "particles.star")["particles"])
    assert set(found["rlnClassNumber"]) == {1, 2}
    assert np.isfinite(found["rlnLogLikeliContribution"]).all()
    averages, pixel_size = read_mrc(out / "Class2D" / "run_it001_classes.mrcs")
    away = distance(averages.shape[-1], pixel_size)
    for average in averages:
        assert average[away < 0.5 * RADIUS].mean() > 3 * average[away > RADIUS].std() > 0


def test_particles_aligned_by_relion_make_our_class_averages(session, out):
    """Psi and origins as RELION reads them, against averages that classification made by itself."""
    blocks = read_star(out / "particles.star")
    pixel_size, box = (blocks["optics"][f"rlnImage{name}"].iloc[0] for name in ("PixelSize", "Size"))
    particles, power = ctf_weighted(out, blocks["particles"], pixel_size)
    # Those that were picked far from their centres: the others tell little of the sign of a shift.
    moved = np.hypot(particles["rlnOriginXAngst"], particles["rlnOriginYAngst"])
    far = particles[moved > np.quantile(moved, 2 / 3)]
    averages, class_pixel = read_mrc(session.file("classes", 1))
    numbers = [n for n in np.unique(particles["rlnClassNumber"]) if n]
    assert len(numbers) == 2

    def likeness(some, psi, origin):
        turned = some.assign(
            rlnAnglePsi=psi * some["rlnAnglePsi"],
            rlnOriginXAngst=origin * some["rlnOriginXAngst"],
            rlnOriginYAngst=origin * some["rlnOriginYAngst"],
        )
        found = []
        for number in numbers:
            mine = turned[turned["rlnClassNumber"] == number]
            write_star(out / "one.star", {"optics": blocks["optics"], "particles": mine})
            relion(out, "relion_stack_create", "--i", "one.star", "--o", "aligned", "--apply_transformation")
            aligned = np.asarray(read_mrc(out / "aligned.mrcs")[0], np.float32)
            assert len(aligned) == len(mine)
            theirs = sf.irfft2(sf.rfft2(aligned.mean(axis=0)) / (power + 0.05), s=(box, box))
            at = (np.mgrid[:box, :box] - box // 2) * (pixel_size / class_pixel) + averages.shape[-1] // 2
            ours = ndimage.map_coordinates(averages[number - 1].astype(np.float32), at, order=3)
            seen = distance(box, pixel_size) < RADIUS - 5
            pair = (unround(ndimage.gaussian_filter(image, 3.5))[seen][None] for image in (theirs, ours))
            found.append(correlations(*pair)[0])
        return np.array(found)

    # The few that moved far make noisy averages, 0.82 to 0.97 alike.
    assert likeness(particles, 1, 1).min() > 0.9
    assert likeness(particles, -1, 1).max() < 0.85
    assert likeness(far, -1, 1).max() < 0.85
    wrong = likeness(far, 1, -1)
    assert wrong.max() < 0.85
    assert (likeness(far, 1, 1) > wrong).all()


def ctf_weighted(out, particles, pixel_size):
    """The particles times their CTF as a new stack in ``out``, and the mean CTF²."""
    stack, power = images(out, particles["rlnImageName"]), 0.0
    for image, row in zip(stack, particles.itertuples(), strict=True):
        ctf = Ctf(
            defocus_u=row.rlnDefocusU, defocus_v=row.rlnDefocusV, defocus_angle=row.rlnDefocusAngle,
            voltage=300.0, cs=2.7, amplitude_contrast=0.1,
        )  # fmt: skip
        transfer = ctf_image(ctf, shape=image.shape, pixel_size=pixel_size)
        image[:] = sf.irfft2(sf.rfft2(image) * transfer, s=image.shape)
        power = power + transfer**2 / len(stack)
    write_mrc(out / "weighted.mrcs", stack, pixel_size=pixel_size, stack=True)
    return particles.assign(rlnImageName=[f"{i + 1:06d}@weighted.mrcs" for i in range(len(stack))]), power


def unround(image):
    """An image less its mean on each ring: what is left is blind neither to rotation nor to shift."""
    ring = np.rint(distance(len(image), 1)).astype(int)
    return image - (np.bincount(ring.ravel(), image.ravel()) / np.bincount(ring.ravel()))[ring]
