"""Where things lie in a session's folder."""

from dataclasses import dataclass
from pathlib import Path

# Ending of files that are still being written.
PART = ".nextpyp.part"
FOLDERS = (
    "raw", "micrographs", "previews", "motion", "ctf", "picks", "particles", "class2d", "exports", "logs",
    "tryout",
)  # fmt: skip

_OF_MOVIE = {
    "average": "micrographs/{}.mrc", "weighted": "micrographs/{}_dw.mrc",
    "even": "micrographs/{}_even.mrc", "odd": "micrographs/{}_odd.mrc", "preview": "previews/{}.jpg",
    "thumb": "previews/{}_thumb.jpg", "motion": "motion/{}.star", "trajectory": "motion/{}.npz",
    "rest": "motion/{}_rest.mrcs",
    "ctf": "ctf/{}.npz", "picks": "picks/{}.npz", "manual": "manual_picks/{}.json",
    "particles": "particles/{}.npz", "results": "results/{}.json",
}  # fmt: skip
_OF_ROUND = {
    "classes": "classes.mrcs", "assignments": "assignments.npz", "state": "state.npz",
    "classes_sheet": "classes.png", "classes_layout": "classes.json", "classes_picture": "classes.jpg",
}  # fmt: skip


def place(folder: Path, kind: str, name: str | int) -> Path:
    """The file of a movie (by name) or of a round (by number); it need not exist."""
    if kind in _OF_MOVIE:
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise ValueError(f"got movie name {name!r}, expected a name as in the table of movies")
        return folder / _OF_MOVIE[kind].format(name)
    if kind in _OF_ROUND:
        return folder / "class2d" / f"round_{int(name):04d}" / _OF_ROUND[kind]
    raise ValueError(f"got kind {kind!r}, expected one of {', '.join((*_OF_MOVIE, *_OF_ROUND))}")


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one movie: ``places("average")`` and so on."""

    folder: Path
    name: str

    def __call__(self, kind: str) -> Path:
        """The file of ``kind``; it need not exist."""
        return place(self.folder, kind, self.name)
