"""What a session takes up on disk, and what would go with it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """Files and bytes of a session's folder (links count as nothing), and of them its movies and exports."""

    files: int
    bytes: int
    raw_files: int
    raw_bytes: int
    export_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system in use: what it is for, where it is mounted, and its bytes."""

    uses: tuple[str, ...]
    mount: Path
    total: int
    free: int


def disk_use(folder: Path) -> DiskUse:
    """Look through a session's folder; what vanishes meanwhile or cannot be read counts as nothing."""
    found = {"": [0, 0], "raw": [0, 0], "exports": [0, 0]}
    for place, _, names in os.walk(folder):
        part = Path(place).relative_to(folder).parts[:1]
        counts = [found[""], *([found[part[0]]] if part and part[0] in ("raw", "exports") else [])]
        for name in names:
            try:
                seen = Path(place, name).lstat()
            except OSError:
                continue
            if seen.st_mode & 0o170000 == 0o100000:
                for count in counts:
                    count[0] += 1
                    count[1] += seen.st_blocks * 512
    return DiskUse(
        files=found[""][0], bytes=found[""][1], raw_files=found["raw"][0], raw_bytes=found["raw"][1],
        export_files=found["exports"][0],
    )  # fmt: skip


def volumes(places: dict[str, Path]) -> list[Volume]:
    """The file systems under ``places`` (what for → where), each once; a place out of reach is left out."""
    found: dict[int, Volume] = {}
    for use, path in places.items():
        try:
            device, usage = path.stat().st_dev, shutil.disk_usage(path)
        except OSError:
            continue
        known = found.get(device)
        found[device] = Volume(
            uses=(*(known.uses if known else ()), use), mount=_mount(path), total=usage.total, free=usage.free
        )
    return list(found.values())


def _mount(path: Path) -> Path:
    here = path.resolve()
    while not here.is_mount():
        here = here.parent
    return here
