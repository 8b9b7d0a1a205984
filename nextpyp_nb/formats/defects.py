"""Bad pixels of a camera: text boxes as MotionCor takes them, SerialEM's lists, or a map."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.frames import read_image

Mask = NDArray[np.bool_]


def read_defects(path: str | os.PathLike[str], shape: tuple[int, int]) -> Mask:
    """Read bad pixels as a (y, x) mask, y up.

    From text lines "x y width height", from SerialEM's defect list (of this size, half or twice of it), or
    from an image (1 = bad).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no defect file at {path}; give the right file in Settings, Gain reference")
    with path.open("rb") as file:
        head = file.read(1024)
    if b"\0" in head:
        found = np.asarray(read_image(path), bool)
        if found.shape != tuple(shape):
            raise ValueError(
                f"the defect map is {found.shape[0]} x {found.shape[1]} px, the movie {shape[0]} x {shape[1]}"
            )
        return found
    if path.stat().st_size > 5 << 20:
        raise BadFile(f"{path.name} has more than 5 MB, expected a short list of defects")
    lines = path.read_text(errors="replace").splitlines()
    return (
        _serialem(path, lines, shape)
        if any("CameraSizeX" in line for line in lines)
        else _boxes(path, lines, shape)
    )


def _boxes(path: Path, lines: list[str], shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    for n, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 4 or not all(word.isascii() and word.isdigit() for word in words):
            raise BadFile(f'line {n} of {path.name} is "{line.strip()[:60]}", expected "x y width height"')
        x, y, width, height = map(int, words)
        if x >= shape[1] or y >= shape[0]:
            raise BadFile(f"line {n} of {path.name} lies outside the movie of {shape[0]} x {shape[1]} px")
        mask[y : y + height, x : x + width] = True
    return mask


def _serialem(path: Path, lines: list[str], shape: tuple[int, int]) -> Mask:
    """Its rows are numbered from the top, and first and last of a stretch are both bad."""
    entries = [
        (n, words[0], _numbers(path, n, words)) for n, line in enumerate(lines, 1) if (words := _words(line))
    ]
    size = {
        name: numbers[0] for _, name, numbers in entries if name in ("CameraSizeX", "CameraSizeY") and numbers
    }
    height, width = size.get("CameraSizeY", 0), size.get("CameraSizeX", 0)
    if not (0 < height <= 2 * shape[0] and 0 < width <= 2 * shape[1]):
        raise _other_size(path, (height, width), shape)
    mask = np.zeros((height, width), bool)
    for n, name, numbers in entries:
        if name in _MARKS:
            if len(numbers) % _PER_ENTRY[name]:
                raise BadFile(f"line {n} of {path.name}: {name} with {len(numbers)} numbers")
            for k in range(0, len(numbers), _PER_ENTRY[name]):
                _MARKS[name](mask, *numbers[k : k + _PER_ENTRY[name]])
    return _scaled(path, mask[::-1], shape)


def _words(line: str) -> list[str]:
    return line.split("#")[0].replace("=", " ").split()


def _numbers(path: Path, n: int, words: list[str]) -> list[int]:
    try:
        numbers = (
            [int(word) for word in words[1:]] if words[0] in (*_MARKS, "CameraSizeX", "CameraSizeY") else []
        )
    except ValueError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise BadFile(f"line {n} of {path.name}: {words[0]} takes whole numbers from 0 on")
    return numbers


def _mark_columns(mask: Mask, x: int) -> None:
    mask[:, x : x + 1] = True


def _mark_rows(mask: Mask, y: int) -> None:
    mask[y : y + 1] = True


def _mark_pixels(mask: Mask, x: int, y: int) -> None:
    mask[y : y + 1, x : x + 1] = True


def _mark_partial_column(mask: Mask, x: int, width: int, first: int, last: int) -> None:
    mask[first : last + 1, x : x + width] = True


def _mark_partial_row(mask: Mask, y: int, height: int, first: int, last: int) -> None:
    mask[y : y + height, first : last + 1] = True


def _mark_outside(mask: Mask, top: int, left: int, bottom: int, right: int) -> None:
    """All but the usable area; zeros leave it open."""
    if bottom > top and right > left:
        inside = np.zeros_like(mask)
        inside[top : bottom + 1, left : right + 1] = True
        mask |= ~inside


_MARKS: dict[str, Callable[..., None]] = {
    "BadColumns": _mark_columns,
    "BadRows": _mark_rows,
    "BadPixels": _mark_pixels,
    "PartialBadColumn": _mark_partial_column,
    "PartialBadRow": _mark_partial_row,
    "UsableArea": _mark_outside,
}
_PER_ENTRY = {
    "BadColumns": 1,
    "BadRows": 1,
    "BadPixels": 2,
    "PartialBadColumn": 4,
    "PartialBadRow": 4,
    "UsableArea": 4,
}


def _scaled(path: Path, mask: Mask, shape: tuple[int, int]) -> Mask:
    height, width = mask.shape
    if (height, width) == tuple(shape):
        return mask
    if (2 * height, 2 * width) == tuple(shape):
        return mask.repeat(2, axis=0).repeat(2, axis=1)
    if (height, width) == (2 * shape[0], 2 * shape[1]):
        return np.asarray(mask.reshape(shape[0], 2, shape[1], 2).any(axis=(1, 3)))
    raise _other_size(path, (height, width), shape)


def _other_size(path: Path, size: tuple[int, int], shape: tuple[int, int]) -> BadFile:
    turned = sorted(size) == sorted(shape) or sorted(2 * side for side in size) == sorted(shape)
    advice = (
        "its camera lies on its side: take the list that was saved with these movies"
        if turned
        else "choose the list of this camera"
    )
    return BadFile(
        f"the defect list {path.name} is for {size[0]} x {size[1]} px, "
        f"the movie is {shape[0]} x {shape[1]}: {advice}"
    )
