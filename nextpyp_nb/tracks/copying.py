"""One file from the microscope's disk into the session: linked, copied and verified, or moved."""

import errno
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import xxhash

from nextpyp_nb.session.places import PART
from nextpyp_nb.tracks.finding import Found, look_at

CHUNK = 4 << 20
# Only we name files so, and only such files of ours are ever cleaned up.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Conflict(FileExistsError):
    """The place is taken by something else; both are kept."""


class Changed(OSError):
    """The source changed while it was read: it will be looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """A file at its place in the session; ``digest`` is xxh3-128, empty for links."""

    path: Path
    size: int
    digest: str


class Throttle:
    """Keeps all copies together below ``rate`` bytes/s; 0 is no limit."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate = rate
        self._clock, self._sleep = clock, sleep
        self._guard = threading.Lock()
        self._free_at = 0.0

    def take(self, size: int) -> None:
        """Wait until ``size`` more bytes may pass."""
        if not self.rate:
            return
        with self._guard:
            now = self._clock()
            begin = max(now, self._free_at)
            self._free_at = begin + size / self.rate
        if begin > now:
            self._sleep(begin - now)


UNLIMITED = Throttle(0.0)


def transfer_file(
    found: Found, destination: Path, operation: str, throttle: Throttle = UNLIMITED,
    roots: Collection[Path] | None = None,
) -> Transferred:  # fmt: skip
    """Bring ``found`` to ``destination`` by link, copy or move (`release` deletes the source later).

    With ``roots``, folders without links, a source that does not really lie below one is refused.
    """
    check_source(found, roots)
    destination.parent.mkdir(parents=True, exist_ok=True)
    if operation == "link":
        if not _in_place(found, destination):
            _link(found, destination)
        return Transferred(path=destination, size=found.size, digest="")
    if destination.exists() and not destination.is_symlink():
        digest = digest_of(destination)
        if destination.stat().st_size == found.size and digest == digest_of(found.source):
            return Transferred(path=destination, size=found.size, digest=digest)
        raise Conflict(f"{destination.name} is there already with other content; both are kept")
    with part_of(destination) as part:
        digest = _write(found, part, throttle, roots)
        if operation == "move" and digest_of(part) != digest:
            raise OSError(f"the copy of {found.source.name} does not read back as written; it is made again")
        publish(part, destination)
    return Transferred(path=destination, size=found.size, digest=digest)


def release(found: Found, path: Path, digest: str) -> None:
    """Delete the source of a moved movie: only if it is unchanged and the copy reads back the same."""
    if _in_place(found, path):
        raise OSError(f"{found.source.name} lies in the session itself: it is the only copy and stays")
    unchanged(found, "was moved; the source is kept")
    if digest_of(path, from_disk=True) != digest:
        raise OSError(f"the copy of {found.source.name} does not read back as written; the source is kept")
    # Reading takes a while: the last look at the source is just before.
    unchanged(found, "was moved; the source is kept")
    found.source.unlink()


def check_source(found: Found, roots: Collection[Path] | None) -> None:
    """PermissionError unless the source really lies below one of ``roots`` now, if any are given."""
    if roots is not None:
        with found.source.open("rb") as source:
            check_place(source.fileno(), found.source, roots)


def check_place(handle: int, source: Path, roots: Collection[Path]) -> None:
    """PermissionError unless the open file, whatever links led to it, lies below one of ``roots``."""
    real = Path(f"/proc/self/fd/{handle}").readlink()
    if not any(real.is_relative_to(root) for root in roots):
        raise PermissionError(f"{source.name} leads by a link to where it may not be taken from")


def digest_of(path: Path, *, from_disk: bool = False) -> str:
    """xxh3-128 of a file's content; ``from_disk`` as far as the system lets go of what memory holds of it."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as stream:
        if from_disk:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for piece in _pieces(stream):
            digest.update(piece)
    return digest.hexdigest()


def unchanged(found: Found, what: str) -> None:
    """Raise `Changed` unless the source is there with the size and time that were found."""
    now = look_at(str(found.source))
    if now is None or now.signature != found.signature:
        raise Changed(f"{found.source.name} changed after it {what}")


@contextmanager
def part_of(destination: Path) -> Iterator[Path]:
    """The temporary name in the same folder; what is left of it is removed."""
    part = destination.parent / f".{destination.name}{PART}"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def publish(part: Path, destination: Path) -> None:
    """Give a durable file its final name, durably, and never over another file."""
    try:
        os.link(part, destination)
    except FileExistsError:
        raise Conflict(f"{destination.name} appeared meanwhile; both are kept") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A disk without hard links: we are the only writer here, so a look before the rename will do.
        if os.path.lexists(destination):
            raise Conflict(f"{destination.name} appeared meanwhile; both are kept") from None
        part.rename(destination)
    sync_folder(destination.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _in_place(found: Found, destination: Path) -> bool:
    """Whether the movie lies at its place already, by whatever name it was found."""
    return destination.exists() and not destination.is_symlink() and found.source.samefile(destination)


def _link(found: Found, destination: Path) -> None:
    unchanged(found, "was found; it will be looked at again")
    target = found.source.absolute()
    try:
        destination.symlink_to(target)
        sync_folder(destination.parent)
    except FileExistsError:
        if not (destination.is_symlink() and destination.readlink() == target):
            raise Conflict(f"{destination.name} is there already and is not a link to {target}") from None


def _pieces(stream: BufferedReader) -> Iterator[memoryview]:
    """The content, a piece at a time in the same memory: each is good until the next."""
    room = memoryview(bytearray(CHUNK))
    while count := stream.readinto(room):
        yield room[:count]


def _write(found: Found, part: Path, throttle: Throttle, roots: Collection[Path] | None) -> str:
    """Stream the source into ``part`` durably; its digest, or `Changed`."""
    digest = xxhash.xxh3_128()
    with found.source.open("rb") as source, part.open("wb") as out:
        if roots is not None:
            # Again: the name may lead elsewhere since the first look.
            check_place(source.fileno(), found.source, roots)
        for piece in _pieces(source):
            throttle.take(len(piece))
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    unchanged(found, "was read; it will be copied again")
    if part.stat().st_size != found.size:
        raise Changed(f"{found.source.name} changed while it was copied; it will be copied again")
    return digest.hexdigest()
