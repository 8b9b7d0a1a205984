"""STAR files of RELION 3.1: blocks in, blocks out, atomically and strictly."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nextpyp_nb.formats.files import BadFile, published

# pandas takes a third of a second to start, and workers only write.
if TYPE_CHECKING:
    import pandas as pd

Block: TypeAlias = "pd.DataFrame | Columns | dict[str, Any]"
_NOT_NUMBERS = ["nan", "-nan", "NaN", "<NA>"]
_UNHOLDABLE = re.compile(r"[\s'\"\x00-\x1f\x7f]|^[#_;]|^$|^(data_|loop_)")


class Columns(dict[str, Any]):
    """A loop to be written: arrays of equal length by label."""


def star_name(name: str | os.PathLike[str]) -> str:
    """A name as STAR can hold it, or ValueError with the reason."""
    text = os.fspath(name)
    found = _UNHOLDABLE.search(text)
    if found:
        what = "it is empty" if not text else f"it has {found.group()!r}"
        raise ValueError(f"a STAR file cannot hold the name {text!r}: {what}; rename the file")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"a STAR file cannot hold the name {text!r}: it is not UTF-8; rename the file"
        ) from None
    return text


def read_star(path: str | os.PathLike[str]) -> dict[str, Block]:
    """Read all blocks: loops as tables, others as dictionaries; anything malformed is BadFile."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadFile(f"{Path(path).name} is not text") from None
    lines = [line.strip() for line in text.splitlines()]
    starts = [n for n, line in enumerate(lines) if line.startswith("data_")]
    if not starts:
        raise BadFile(f"{Path(path).name} has no data_ block: not a STAR file, or an empty one")
    blocks: dict[str, Block] = {}
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        name = lines[start][5:]
        if name in blocks:
            raise BadFile(f"two blocks are named data_{name}")
        body = [(n + 1, lines[n]) for n in range(start + 1, stop) if lines[n] and lines[n][0] != "#"]
        blocks[name] = _loop(body[1:]) if body and body[0][1].startswith("loop_") else _pairs(body)
    return blocks


def _words(number: int, line: str) -> list[str]:
    if "'" not in line and '"' not in line:
        return line.split()
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadFile(f"line {number}: {error}") from None


def _pairs(body: list[tuple[int, str]]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for number, line in body:
        words = _words(number, line)
        if len(words) < 2 or words[0][0] != "_":
            raise BadFile(f'line {number} is "{line[:60]}", expected "_label value"')
        pairs[words[0][1:]] = _number(words[1])
    return pairs


def _loop(body: list[tuple[int, str]]) -> "pd.DataFrame":
    import pandas as pd

    labels = []
    for _, line in body:
        if not line.startswith("_"):
            break
        labels.append(line.split()[0][1:])
    if not labels or len(set(labels)) != len(labels):
        raise BadFile(f"a loop with the labels {labels}, expected one or more different ones")
    rows = [_words(number, line) for number, line in body[len(labels) :]]
    for (number, _), row in zip(body[len(labels) :], rows, strict=True):
        if len(row) != len(labels):
            raise BadFile(f"line {number} has {len(row)} values, expected {len(labels)}")
    table = pd.DataFrame(rows, columns=labels, dtype=object)
    return table.apply(_numeric)


def _numeric(column: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    try:
        return pd.to_numeric(column.replace(_NOT_NUMBERS, float("nan")))
    except ValueError:
        return column


def _number(word: str) -> Any:
    if "_" in word:  # Python would read 1_2 as 12
        return word
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def write_star(
    path: str | os.PathLike[str], blocks: Mapping[str, Block], *, version: str = "# version 30001"
) -> None:
    """Write blocks through a temporary name; text that STAR cannot hold raises ValueError.

    Without its ``version`` line RELION takes a file for one of 3.0, which has no optics table.
    """
    with published(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for name, block in blocks.items():
            file.write(f"\n{version}\n\ndata_{name}\n\n")
            file.writelines(_pair_lines(block) if type(block) is dict else _loop_lines(block))
            file.write("\n")


def _pair_lines(block: Mapping[str, Any]) -> Iterator[str]:
    for label, value in block.items():
        yield f"_{label:<40} {_word(value)}\n"


def _loop_lines(table: Any) -> Iterator[str]:
    yield "loop_\n"
    for n, label in enumerate(table, 1):
        yield f"_{label} #{n}\n"
    columns = [_words_of(table[label]) for label in table]
    for row in zip(*columns, strict=True):
        yield " ".join(row) + "\n"


def _words_of(column: Any) -> list[str]:
    if column.dtype.kind == "f":
        return [f"{value:.9g}" for value in column.tolist()]
    if column.dtype.kind in "iu":
        return [str(value) for value in column.tolist()]
    values = column.tolist()
    words = {value: _word(value) for value in dict.fromkeys(values)}
    return [words[value] for value in values]


def _word(value: Any) -> str:
    if value is None:
        return "nan"
    if isinstance(value, str | os.PathLike):
        return star_name(value)
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, Real) and not isinstance(value, int | np.integer):
        return f"{float(value):.9g}"
    if isinstance(value, int | np.integer):
        return str(value)
    raise ValueError(f"a STAR file holds numbers and names, got {value!r}")
