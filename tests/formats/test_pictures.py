import io

import numpy as np
import pytest
from PIL import Image

from nextpyp_nb.formats.pictures import encode_jpeg, encode_png, write_jpeg


def test_row_0_is_at_the_bottom_of_the_picture(tmp_path):
    image = np.zeros((32, 48), np.uint8)
    image[:8, :16] = 255  # low y, low x
    png = np.asarray(Image.open(io.BytesIO(encode_png(image))))
    np.testing.assert_array_equal(png, image[::-1])
    write_jpeg(tmp_path / "a.jpg", image)
    with Image.open(tmp_path / "a.jpg") as stored:
        jpeg = np.asarray(stored)
    assert jpeg[-4, 4] > 240
    assert jpeg[4, 4] < 15
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jpg"]


def test_colour_and_quality(rng):
    image = rng.integers(0, 255, (32, 48, 3)).astype(np.uint8)
    assert np.asarray(Image.open(io.BytesIO(encode_png(image)))).shape == (32, 48, 3)
    assert len(encode_jpeg(image, 30)) < len(encode_jpeg(image, 95))


def test_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match="float64"):
        encode_png(np.zeros((3, 3)))
