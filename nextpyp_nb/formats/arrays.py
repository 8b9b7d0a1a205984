"""Small named arrays on disk (.npz), written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write ``arrays`` to ``path`` through a temporary name, so that readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as out:
        np.savez(out, **arrays)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of ``path``; nothing in the file is ever executed."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
