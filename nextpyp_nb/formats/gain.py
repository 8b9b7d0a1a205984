"""Gain references, y up."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.check import check_movie
from nextpyp_nb.formats.dm4 import read_dm4
from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.frames import read_image


def read_gain(path: str | os.PathLike[str], *, shape: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Read a gain reference as stored, (y, x), y up, from MRC, TIFF, .gain or .dm4; dead pixels are 0.

    With the movie's ``shape`` (y, x), a reference of twice its size is averaged 2 x 2 and one of half its
    size replicated; a reference lying on its side is accepted, for rotation comes later.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    stored = read_dm4(path) if suffix == ".dm4" else read_image(path)
    # DM4 rows run top-down; EER frames are not flipped on reading, so their .gain is flipped back.
    gain = np.array(stored[::-1] if suffix in (".dm4", ".gain") else stored, np.float32)
    gain[~np.isfinite(gain)] = 0
    if not gain.any():
        raise BadFile(f"the gain reference {path.name} is zero everywhere")
    return gain if shape is None else _fitted(gain, shape)


def gain_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size (y, x) of a gain reference as stored."""
    path = Path(path)
    if path.suffix.lower() == ".dm4":
        height, width = read_dm4(path).shape
        return height, width
    image = check_movie(path)
    return image.height, image.width


def says_packed(gain: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether byte frames of ``shape`` hold two pixels a byte: the gain is as high, but twice as wide.

    The gain may lie on its side, or be of half the size.
    """
    wide = sorted((shape[0], 2 * shape[1]))
    return wide in (sorted(gain), sorted(2 * side for side in gain))


def _fitted(gain: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    got, wanted = gain.shape, sorted(shape)
    if sorted(got) == wanted:
        return gain
    if sorted(got) == [2 * side for side in wanted]:
        blocks = gain.reshape(got[0] // 2, 2, got[1] // 2, 2)
        return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
    if [2 * side for side in sorted(got)] == wanted:
        return gain.repeat(2, axis=0).repeat(2, axis=1)
    raise ValueError(
        f"gain is {got[0]} x {got[1]} px, the movie {shape[0]} x {shape[1]}: choose the reference of this "
        "camera and binning (the same size, twice or half of it)"
    )
