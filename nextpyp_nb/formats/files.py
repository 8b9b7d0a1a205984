"""What every reader and writer shares: the error for bad files and publishing a file whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BadFile(ValueError):
    """A file that cannot be read; the message is a plain sentence for people."""


@contextmanager
def published(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a hidden temporary name beside ``path``; on leaving, fsync it and rename it into place."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
