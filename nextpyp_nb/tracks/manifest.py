"""The hashes of all copied files in one list that `xxh128sum -c` checks."""

from pathlib import Path

from nextpyp_nb.formats.files import published
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.copying import Transferred

NAME = "manifest.xxh128"


class Manifest:
    """A line for each copied file of a session, made good from the database at the start."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._path = folder, folder / NAME
        listed = read_manifest(self._path)
        wanted = listed | {
            _relative(Path(row["path"]), folder): row["hash"] for row in store.taken() if row["hash"]
        }
        if wanted != listed or not self._ends_whole():
            with published(self._path) as part:
                part.write_text("".join(_line(name, digest) for name, digest in wanted.items()))

    def add(self, done: Transferred) -> None:
        """Append a copied file; links have no hash."""
        if done.digest:
            with self._path.open("a") as out:
                out.write(_line(_relative(done.path, self._folder), done.digest))

    def _ends_whole(self) -> bool:
        return not self._path.exists() or self._path.read_bytes()[-1:] in (b"", b"\n")


def read_manifest(path: Path) -> dict[str, str]:
    """Hash by file name, relative to the manifest's folder; a torn last line is left out."""
    if not path.exists():
        return {}
    lines = path.read_text(errors="replace").split("\n")[:-1]
    return {line[34:]: line[:32] for line in lines if len(line) > 34 and line[32:34] == "  "}


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _line(name: str, digest: str) -> str:
    return f"{digest}  {name}\n"
