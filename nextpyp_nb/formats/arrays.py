"""Small named arrays on disk (.npz), written whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.files import published


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write ``arrays`` so that readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with published(path) as part, part.open("wb") as out:
        np.savez(out, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of ``path``; nothing in the file is ever executed."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
