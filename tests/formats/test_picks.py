"""Centres of other programs come out as (y, x) px of our micrographs."""

import numpy as np
import pytest

from nextpyp_nb.formats.picks import movie_stem, read_picks

CENTRES = [[20.0, 110.0], [40.5, 10.0]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "micrograph,x,y,score\nmov_1.mrc,10,40.5,1\nmov_1.mrc,110,20,3\nmov_2.mrc,1,2,9\n"),
        ("a.tsv", "image_name\tx_coord\ty_coord\tscore\nmov_1_DW\t10\t40.5\t1\nmov_1_DW\t110\t20\t3\n"),
        ("a.csv", "x,y,score\n10,40.5,1\n110,20,3\n"),
        (
            "a.star",
            "data_particles\n\nloop_\n_rlnMicrographName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
            "_rlnAutopickFigureOfMerit #4\nm/mov_1.mrc 10 40.5 1\nm/mov_1.mrc 110 20 3\nm/mov_10.mrc 5 6 7\n",
        ),
    ],
)
def test_tables_are_matched_by_name_and_sorted_by_score(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    centres, scores = read_picks(tmp_path / name, "mov_1")
    np.testing.assert_allclose(centres, CENTRES)
    np.testing.assert_allclose(scores, [3, 1])


def test_a_box_counts_from_its_corner_and_a_folder_holds_a_file_each(tmp_path):
    (tmp_path / "mov_1.box").write_text("100\t10\t20\t20\n0\t30.5\t20\t20\n")
    (tmp_path / "mov_2.box").write_text("")
    centres, scores = read_picks(tmp_path, "mov_1")
    np.testing.assert_allclose(centres, CENTRES)
    np.testing.assert_allclose(scores, 1)
    assert len(read_picks(tmp_path, "mov_2")[0]) == len(read_picks(tmp_path, "mov_3")[0]) == 0


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("MotionCorr/job002/mov_0001_fractions.mrc", "mov_0001"),
        ("012345678901234567890_mov_0001_patch_aligned_doseweighted.mrc", "mov_0001"),
        ("mov_0001_autopick.star", "mov_0001"),
        ("mov_0001_dw", "mov_0001"),
        ("20240101_mov_1.mrc", "20240101_mov_1"),
    ],
)
def test_names_lose_what_programs_add(theirs, ours):
    assert movie_stem(theirs) == ours


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "row,column\n1,2\n", "no columns x and y"),
        ("a.csv", "x,y\n1,two\n", "no number"),
        ("a.csv", "x,y\n1,nan\n", "no number"),
        ("a.csv", "", "no table"),
        ("a.box", "one two\n", "no box file"),
        ("a.star", "data_\n\nloop_\n_rlnVoltage #1\n300\n", "no table with rlnCoordinateX"),
    ],
)
def test_what_is_no_table_of_picks_is_refused_in_words(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_picks(tmp_path / name, "mov_1")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_picks(tmp_path / "absent.csv", "mov_1")
