"""Where the files of one micrograph lie in the session's folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the micrograph ``name`` below ``folder``."""

    folder: Path
    name: str

    @property
    def average(self) -> Path:
        """Unweighted sum of the aligned frames."""
        return self.folder / "micrographs" / f"{self.name}.mrc"

    @property
    def weighted(self) -> Path:
        """Exposure-weighted sum; there is none when the dose is unknown."""
        return self.folder / "micrographs" / f"{self.name}_dw.mrc"

    @property
    def preview(self) -> Path:
        """Picture for the page."""
        return self.folder / "previews" / f"{self.name}.jpg"

    @property
    def thumb(self) -> Path:
        """Small picture."""
        return self.folder / "previews" / f"{self.name}_thumb.jpg"

    @property
    def motion_star(self) -> Path:
        """Motion in RELION's convention."""
        return self.folder / "motion" / f"{self.name}.star"

    @property
    def trajectory(self) -> Path:
        """Motion as we keep it."""
        return self.folder / "motion" / f"{self.name}.npz"

    @property
    def ctf(self) -> Path:
        """CTF, its curves and spectrum."""
        return self.folder / "ctf" / f"{self.name}.npz"

    @property
    def picks(self) -> Path:
        """Centres and scores."""
        return self.folder / "picks" / f"{self.name}.npz"

    @property
    def particles(self) -> Path:
        """Boxed particles as 2D classification uses them: a cache."""
        return self.folder / "particles" / f"{self.name}.npz"

    def outputs(self) -> tuple[Path, ...]:
        """Everything pre-processing makes of this movie."""
        return (
            self.average, self.weighted, self.preview, self.thumb, self.motion_star,
            self.trajectory, self.ctf, self.picks, self.particles,
        )  # fmt: skip


def round_folder(folder: Path, number: int) -> Path:
    """Where a round of 2D classification keeps its results."""
    return folder / "class2d" / f"round_{number:04d}"
