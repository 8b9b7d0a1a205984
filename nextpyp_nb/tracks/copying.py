"""One movie from the microscope's disk into the session: linked, copied and verified, or moved."""

import os
from dataclasses import dataclass
from pathlib import Path

import xxhash

from nextpyp_nb.tracks.finding import Found

CHUNK = 4 << 20


class Conflict(FileExistsError):
    """The place is taken by something else; both are kept."""


class Changed(OSError):
    """The source changed while it was read: it will be looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """A movie at its place in the session; ``digest`` is xxh3-128, empty for links."""

    path: Path
    size: int
    mtime_ns: int
    digest: str


def transfer_movie(found: Found, destination: Path, operation: str) -> Transferred:
    """Bring ``found`` to ``destination`` by link, copy or move (`release` deletes the source later)."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if operation == "link":
        _link(found, destination)
        return Transferred(path=destination, size=found.size, mtime_ns=found.mtime_ns, digest="")
    if destination.exists() and not destination.is_symlink():
        digest = digest_of(destination)
        if destination.stat().st_size == found.size and digest == digest_of(found.source):
            return Transferred(path=destination, size=found.size, mtime_ns=found.mtime_ns, digest=digest)
        raise Conflict(f"{destination.name} is there already with other content; both are kept")
    digest = _copy(found, destination)
    if operation == "move" and digest_of(destination) != digest:
        destination.unlink()
        raise OSError(f"the copy of {found.source.name} does not read back as written; it will be made again")
    return Transferred(path=destination, size=found.size, mtime_ns=found.mtime_ns, digest=digest)


def release(found: Found, moved: Transferred) -> None:
    """Delete the source of a moved movie: only if it is unchanged and the copy reads back the same."""
    now = found.source.stat()
    if (now.st_size, now.st_mtime_ns) != found.signature:
        raise Changed(f"{found.source.name} changed after it was moved; the source is kept")
    if digest_of(moved.path) != moved.digest:
        raise OSError(f"the copy of {found.source.name} does not read back as written; the source is kept")
    found.source.unlink()


def digest_of(path: Path) -> str:
    """xxh3-128 of a file's content."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _link(found: Found, destination: Path) -> None:
    target = found.source.absolute()
    try:
        destination.symlink_to(target)
    except FileExistsError:
        if not (destination.is_symlink() and destination.readlink() == target):
            raise Conflict(f"{destination.name} is there already and is not a link to {target}") from None


def _copy(found: Found, destination: Path) -> str:
    part = destination.parent / f".{destination.name}.part"
    try:
        digest = _write(found, part)
        try:
            os.link(part, destination)
        except FileExistsError:
            raise Conflict(f"{destination.name} appeared meanwhile; both are kept") from None
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(destination.parent)
    return digest


def _write(found: Found, part: Path) -> str:
    """Stream the source into ``part`` durably; its digest, or `Changed`."""
    digest = xxhash.xxh3_128()
    with found.source.open("rb") as source, part.open("wb") as out:
        while piece := source.read(CHUNK):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    now = found.source.stat()
    if (now.st_size, now.st_mtime_ns) != found.signature or part.stat().st_size != found.size:
        raise Changed(f"{found.source.name} changed while it was copied; it will be copied again")
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
