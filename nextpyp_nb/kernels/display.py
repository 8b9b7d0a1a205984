"""Pictures (uint8) of micrographs and class averages, in array order: y up, the caller flips to draw."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.fourier import bin_image

Picture = NDArray[np.uint8]

PREVIEW_SIDE, THUMBNAIL_SIDE = 1024, 256
_MICROGRAPH_RANGE = (0.5, 99.5)
_CLASS_RANGE = (0.2, 99.9)
_GREY = 128


def preview(average: Any, max_side: int = PREVIEW_SIDE) -> Picture:
    """Micrograph (y, x) shrunk to at most ``max_side`` px, softened by one pixel, contrast by percentiles."""
    if max_side < 1:
        raise ValueError(f"got a side of {max_side} px, expected 1 or more")
    return stretch(_shrunk(average, max_side))


def pictures(average: Any) -> tuple[Picture, Picture]:
    """A preview, and one small enough for a table that is made from it."""
    large = _shrunk(average, PREVIEW_SIDE)
    return stretch(large), stretch(_shrunk(large, THUMBNAIL_SIDE))


def _shrunk(average: Any, max_side: int) -> NDArray[np.float32]:
    image = np.asarray(to_numpy(average), np.float32)
    if not math.isfinite(float(image.sum())):
        image = np.nan_to_num(image)
    shrink = max(max(image.shape) / max_side, 1.0)
    shape = tuple(max(1, round(length / shrink)) for length in image.shape)
    factor = max(1, int(shrink / 2))
    # Binned only where all lines are counted.
    if factor > 1 and not any(n % factor for n in image.shape):
        image = bin_image(image, factor)
    if image.shape != shape:
        # Pillow weighs all pixels that fall within one of the result.
        image = np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR))
    return _softened(image)


def _softened(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blurred by a pixel (standard deviation): sums of two neighbours, four times along each axis."""
    image = np.pad(image, 2, mode="edge")
    for _ in range(4):
        image = image[:-1] + image[1:]
    for _ in range(4):
        image = image[:, :-1] + image[:, 1:]
    image *= np.float32(1 / 256)
    return image


def stretch(image: Any, between: tuple[float, float] = _MICROGRAPH_RANGE) -> Picture:
    """Grey levels 0..255 between two percentiles; an even image becomes mid grey."""
    image = to_numpy(image)
    step = math.ceil(math.sqrt(image.size / 65_536))
    low, high = np.percentile(image[::step, ::step], between).tolist()
    if not high > low:
        return np.full(image.shape, _GREY, np.uint8)
    grey = np.subtract(image, low, dtype=np.float32)
    grey *= 255.0 / (high - low)
    return np.asarray(np.rint(np.clip(grey, 0, 255, out=grey), out=grey), np.uint8)


def montage(images: Any, columns: int, gap: int = 2) -> Picture:
    """Images (k, y, x) in rows of ``columns``, each with its own contrast, ``gap`` black px between.

    Image 0 comes to the top left once the caller has flipped the montage to draw it: it lies in the
    last row of tiles of the array.
    """
    if images.ndim != 3 or columns < 1:
        raise ValueError(f"got shape {images.shape} and {columns} columns, expected (k, y, x) and 1 or more")
    count, ny, nx = images.shape
    rows = max(1, math.ceil(count / columns))
    sheet = np.zeros((rows * (ny + gap) - gap, columns * (nx + gap) - gap), np.uint8)
    for number in range(count):
        row, column = divmod(number, columns)
        y, x = (rows - 1 - row) * (ny + gap), column * (nx + gap)
        sheet[y : y + ny, x : x + nx] = stretch(np.nan_to_num(to_numpy(images[number])), _CLASS_RANGE)
    return sheet
