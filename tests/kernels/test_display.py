import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nextpyp_nb.kernels.display import montage, pictures, preview, stretch


def test_preview_keeps_the_order_of_the_array_and_the_shape_of_the_field():
    image = np.random.default_rng(0).normal(50, 7, (1200, 1800)).astype(np.float32)
    image[100:200, 300:450] += 40
    picture = preview(image, 600)
    assert picture.dtype == np.uint8
    assert picture.shape == (400, 600)
    rows, columns = np.nonzero(picture > 250)
    assert np.median(rows) == pytest.approx(50, abs=2)
    assert np.median(columns) == pytest.approx(125, abs=2)


def test_preview_binned_first_agrees_with_the_plain_mean_of_blocks():
    image = np.random.default_rng(0).normal(50, 1, (1024, 1024)).astype(np.float32)
    image += 20 * np.sin(np.arange(1024) / 40).astype(np.float32)
    picture = preview(image, 128).astype(float)
    blocks = image.reshape(128, 8, 128, 8).mean(axis=(1, 3))
    assert np.corrcoef(picture.ravel(), blocks.ravel())[0, 1] > 0.98


def test_small_images_are_not_enlarged_and_thumbnails_are_small():
    image = np.random.default_rng(0).normal(0, 1, (300, 200)).astype(np.float32)
    large, small = pictures(image)
    assert (large.shape, small.shape) == ((300, 200), (256, 171))
    np.testing.assert_array_equal(large, preview(image))


def test_thumbnails_made_from_the_preview_look_like_those_of_the_image():
    image = gaussian_filter(np.random.default_rng(1).normal(size=(1400, 1100)), 3).astype(np.float32)
    _, small = pictures(image)
    alone = preview(image, 256)
    assert np.corrcoef(small.ravel(), alone.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("shape", [(400, 500), (1200, 1500), (3000, 2600)])
def test_noise_is_softened_by_a_pixel(shape):
    picture = preview(np.random.default_rng(2).normal(size=shape).astype(np.float32)).astype(float)
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in (
        (picture[1:], picture[:-1]), (picture[:, 1:], picture[:, :-1]), (picture[5:], picture[:-5]),
    )]  # fmt: skip
    # A Gaussian of one pixel: exp(-1 / 4) at one, nothing at five.
    assert alike == pytest.approx([0.79, 0.79, 0], abs=0.04)


def test_a_few_wild_pixels_do_not_spoil_the_contrast():
    image = np.random.default_rng(0).normal(50, 7, (400, 400)).astype(np.float32)
    plain = preview(image).astype(float).std()
    image[5, 5], image[200, 9], image[7, 7] = 1e6, -1e6, np.nan
    assert preview(image).astype(float).std() == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_even_image_is_mid_grey(value):
    assert (stretch(np.full((20, 20), value, np.float32)) == 128).all()


def test_montage_flipped_for_drawing_reads_from_the_top_left():
    images = np.zeros((5, 8, 8), np.float32)
    for number, image in enumerate(images):
        image[:, : number + 1] = 10.0 ** (number - 2)
    sheet = montage(images, 3, gap=2)
    assert sheet.shape == (18, 28)
    drawn = sheet[::-1]
    for number in range(5):
        y, x = 10 * (number // 3), 10 * (number % 3)
        tile = drawn[y : y + 8, x : x + 8]
        assert (tile[:, : number + 1] == 255).all()
        assert (tile[:, number + 1 :] == 0).all()
    assert (drawn[10:, 20:] == 0).all()
    assert (drawn[8:10] == 0).all()


def test_one_picture_is_not_a_montage():
    with pytest.raises(ValueError, match=r"expected \(k, y, x\)"):
        montage(np.zeros((8, 8), np.float32), 3)
