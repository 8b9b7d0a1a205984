"""Each program's convention on an asymmetric array, and RELION's against its own output."""

import shutil
import subprocess
from itertools import product

import numpy as np
import pytest

from nextpyp_nb.formats.gain_convention import GainOrientation, from_motioncor, from_nextpyp, from_relion
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.kernels.gain import orient_gain
from nextpyp_nb.settings import Settings

ASYMMETRIC = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
EVERY = list(product(range(4), range(3)))


def ours(orientation, gain=ASYMMETRIC):
    settings = Settings.from_flat(orientation.settings()).gain
    return orient_gain(
        gain,
        rotation=settings.rotation,
        flip_horizontal=settings.flip_horizontal,
        flip_vertical=settings.flip_vertical,
    )


@pytest.mark.parametrize(("rotation", "flip"), EVERY)
@pytest.mark.parametrize("translate", [from_relion, from_motioncor])
def test_relion_and_motioncor_turn_first_then_flip(translate, rotation, flip):
    turned = ASYMMETRIC
    for _ in range(rotation):
        turned = turned.T[:, ::-1]
    wanted = (turned, turned[::-1], turned[:, ::-1])[flip]
    np.testing.assert_array_equal(ours(translate(rotation, flip)), wanted)


@pytest.mark.parametrize(
    ("rotation", "fliph", "flipv"), list(product(range(4), (False, True), (False, True)))
)
def test_nextpyp_flips_first(rotation, fliph, flipv):
    wanted = ASYMMETRIC
    wanted = wanted[:, ::-1] if fliph else wanted
    wanted = wanted[::-1] if flipv else wanted
    np.testing.assert_array_equal(ours(from_nextpyp(rotation, fliph, flipv)), np.rot90(wanted, rotation))
    through = from_nextpyp(rotation, fliph, flipv, motioncor=True)
    assert through == from_motioncor(rotation, 1 if flipv else 2 if fliph else 0)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="expected rotation 0 to 3 and flip 0, 1 or 2"):
        from_relion(0, 3)


MOVIES = """
data_optics
loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
og1 1 1.0 300 2.7 0.1

data_movies
loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
m.mrc 1
"""


@pytest.mark.relion
@pytest.mark.parametrize(("rotation", "flip"), [(0, 1), (1, 0), (1, 2), (2, 0), (3, 1)])
def test_relions_output_shows_our_orientation(tmp_path, rng, rotation, flip):
    program = shutil.which("relion_run_motioncorr")
    if program is None:
        pytest.skip("relion_run_motioncorr is not installed")
    frames = rng.poisson(20, (4, 96, 128)).astype(np.int16)
    write_mrc(tmp_path / "m.mrc", frames, pixel_size=1)
    (tmp_path / "m.star").write_text(MOVIES)
    shape = frames.shape[1:] if rotation % 2 == 0 else frames.shape[:0:-1]
    y, x = np.mgrid[: shape[0], : shape[1]]
    gain = (1 + 0.8 * x / shape[1] + 0.3 * y / shape[0]).astype(np.float32)
    write_mrc(tmp_path / "g.mrc", gain, pixel_size=1)
    options = {"gainref": "g.mrc", "gain_rot": rotation, "gain_flip": flip, "bfactor": 150, "j": 1}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    subprocess.run(
        [program, "--i", "m.star", "--o", "o/", "--use_own", *words],
        cwd=tmp_path, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    out, total = read_mrc(tmp_path / "o" / "m.mrc")[0], frames.sum(0)

    def likeness(orientation):
        turned = ours(orientation, gain)
        return np.corrcoef((turned * total).ravel(), out.ravel())[0, 1] if turned.shape == out.shape else -1.0

    every = [
        GainOrientation(rotation=k, flip_horizontal=flipped, flip_vertical=False)
        for k, flipped in product(range(4), (False, True))
    ]
    best = max(every, key=likeness)
    np.testing.assert_array_equal(ours(best, gain), ours(from_relion(rotation, flip), gain))
    assert likeness(best) > 0.8
