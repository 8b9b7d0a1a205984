"""SerialEM's defect lists; boxes and maps are tested with the gain."""

import numpy as np
import pytest

from nextpyp_nb.formats.check import BadFile
from nextpyp_nb.formats.defects import read_defects

LIST = """CameraSizeX 12
CameraSizeY 8
RotationAndFlip 0
WasScaled 0
K2Type 2
FalconType 0
NumToAvgSuperRes 0
UsableArea 0 0 7 10
PartialBadColumn 3 2 1 4
PartialBadRow 6 1 5 7
BadPixels 0 0 9 2
BadColumns 1
BadRows 5
"""


@pytest.fixture
def defects(tmp_path):
    path = tmp_path / "defects.txt"
    path.write_text(LIST)
    return path


@pytest.fixture
def wanted():
    """What the list says, drawn row by row from the top."""
    rows = [
        "xx.........x",
        ".x.xx......x",
        ".x.xx....x.x",
        ".x.xx......x",
        ".x.xx......x",
        "xxxxxxxxxxxx",
        ".x...xxx...x",
        ".x.........x",
    ]
    return np.array([[pixel == "x" for pixel in row] for row in rows[::-1]])


def test_a_list_of_serialem_is_turned_upside_down(defects, wanted):
    np.testing.assert_array_equal(read_defects(defects, (8, 12)), wanted)


def test_super_resolution_and_counting_movies_share_a_list(defects, wanted):
    np.testing.assert_array_equal(read_defects(defects, (16, 24)), wanted.repeat(2, 0).repeat(2, 1))
    half = wanted.reshape(4, 2, 6, 2).any((1, 3))
    np.testing.assert_array_equal(read_defects(defects, (4, 6)), half)


@pytest.mark.parametrize(("shape", "advice"), [((12, 8), "on its side"), ((9, 12), "of this camera")])
def test_a_list_of_another_camera_is_told(defects, shape, advice):
    with pytest.raises(ValueError, match=f"is for 8 x 12 px.*{advice}"):
        read_defects(defects, shape)


@pytest.mark.parametrize("line", ["BadPixels 1", "BadColumns x", "BadRows -1", "PartialBadColumn 1 2 3"])
def test_a_broken_line_is_told(defects, line):
    defects.write_text(LIST + line)
    with pytest.raises(BadFile, match=r"line 14 of defects\.txt: "):
        read_defects(defects, (8, 12))


def test_a_missing_file_is_told(defects):
    with pytest.raises(FileNotFoundError, match=r"no defect file at .*none; give the right file"):
        read_defects(defects.with_name("none"), (8, 12))
