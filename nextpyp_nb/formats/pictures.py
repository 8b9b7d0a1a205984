"""JPEG and PNG pictures of images; arrays are y up, so row 0 is drawn at the bottom."""

import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nextpyp_nb.formats.files import published


def encode_jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """Encode (y, x) grey or (y, x, 3) colour."""
    return _encoded(image, "JPEG", quality=quality)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode (y, x) grey or (y, x, 3) colour without loss."""
    return _encoded(image, "PNG")


def write_jpeg(path: str | os.PathLike[str], image: NDArray[np.uint8], quality: int = 85) -> None:
    """Write (y, x) grey or (y, x, 3) colour through a temporary name."""
    encoded = encode_jpeg(image, quality)
    with published(path) as temporary:
        temporary.write_bytes(encoded)


def _encoded(image: NDArray[np.uint8], form: str, **options: Any) -> bytes:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"a picture is uint8 (y, x) or (y, x, 3), got {image.dtype} {image.shape}")
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[::-1])).save(stream, form, **options)
    return stream.getvalue()
