"""Keep of a PDB file what a projection needs: ``python -m … assembly.pdb OUT.npz`` (plain, .gz or .xz)."""

import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ATOMIC_NUMBER = {"C": 6, "N": 7, "O": 8, "NA": 11, "MG": 12, "P": 15, "S": 16}
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def read_atoms(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, 3) x, y, z in Å and atomic numbers (n,) of the heavy atoms, waters left out."""
    xyz, element = [], []
    with OPENERS.get(path.suffix, open)(path, "rt") as lines:
        for line in lines:
            symbol = line[76:78].strip().upper()
            wanted = line.startswith(("ATOM", "HETATM")) and line[16] in " A" and line[17:20] != "HOH"
            if wanted and symbol in ATOMIC_NUMBER:
                xyz.append([float(line[start : start + 8]) for start in (30, 38, 46)])
                element.append(ATOMIC_NUMBER[symbol])
    if not xyz:
        raise ValueError(f"{path} holds no atoms with an element in columns 77-78; expected a PDB file")
    return np.asarray(xyz), np.asarray(element, np.uint8)


def main(source: str, target: str) -> None:
    """Centre the atoms of one PDB file and write them compactly."""
    xyz, element = read_atoms(Path(source))
    xyz -= np.average(xyz, axis=0, weights=2.0 * element)
    np.savez_compressed(target, xyz=np.round(xyz * 100).astype(np.int16), element=element)


if __name__ == "__main__":
    main(*sys.argv[1:])
