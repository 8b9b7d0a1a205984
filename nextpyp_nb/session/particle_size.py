"""The particle radius that the first micrographs speak for, where the settings leave it empty."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeGuard

from nextpyp_nb.session.database import Database
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.settings import Settings

KEPT = "particle_size"
_KEPT_AS = "SELECT value FROM meta WHERE key = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeEstimate:
    """A radius (Å) and from how many micrographs; it holds at ``pixel_size`` (Å) only."""

    radius: float
    micrographs: int
    pixel_size: float | None

    def __str__(self) -> str:
        many = "s" * (self.micrographs != 1)
        return f"radius estimated: {self.radius:g} Å from {self.micrographs} micrograph{many}"


def wants_estimate(settings: Settings) -> bool:
    """Whether the settings ask for picks without saying how large particles are."""
    return settings.picking.radius is None and settings.picking.method != "none"


def with_estimate(settings: Settings, found: SizeEstimate | None) -> Settings:
    """``settings`` as they are worked with: an empty radius is the one ``found`` at the same pixel size."""
    return settings if not _holds(found, settings) else settings.updated({"picking.radius": found.radius})


def _holds(found: SizeEstimate | None, settings: Settings) -> TypeGuard[SizeEstimate]:
    same = found is not None and found.pixel_size == settings.microscope.pixel_size
    return same and wants_estimate(settings)


def _read(kept: str | None, settings: Settings) -> SizeEstimate | None:
    found = SizeEstimate(**json.loads(kept)) if kept else None
    return found if _holds(found, settings) else None


class EstimatedSize:
    """The part of a `Session` that is about the size of particles."""

    @property
    def size_estimate(self) -> SizeEstimate | None:
        """The radius that stands in for an empty one in the newest settings, as soon as it is estimated."""
        return _read(self._reader.value(_KEPT_AS, KEPT), self.settings)

    @property
    def settings_used(self) -> Settings:
        """The newest settings, with the estimated radius where they leave it empty."""
        return with_estimate(self.settings, self.size_estimate)

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The newest settings."""

    _reader: Reader


class ParticleSizes(Database):
    """What micrographs tell of the particles' size, and what was made of it."""

    def size_estimate(self, settings: Settings) -> SizeEstimate | None:
        """The estimate that stands in for an empty radius in ``settings``."""
        return _read(self._value(_KEPT_AS, KEPT), settings)

    def with_estimate(self, settings: Settings) -> Settings:
        """``settings`` as they are worked with: an empty radius is the estimated one."""
        return with_estimate(settings, self.size_estimate(settings))

    def size_curves(self, settings: Settings) -> list[list[float]]:
        """What was measured of each micrograph at the pixel size of ``settings``, in order of arrival."""
        return [
            json.loads(row["curve"])
            for row in self._rows(
                "SELECT curve FROM size_curve WHERE pixel_size IS ? ORDER BY movie_id",
                settings.microscope.pixel_size,
            )
        ]

    def keep_size_curve(self, movie_id: int, settings: Settings, curve: Sequence[float]) -> None:
        """Keep what one micrograph tells."""
        with self.transaction():
            self._run(
                "INSERT OR REPLACE INTO size_curve VALUES (?, ?, ?)",
                movie_id, settings.microscope.pixel_size, json.dumps(list(curve)),
            )  # fmt: skip

    def keep_size_estimate(self, found: SizeEstimate) -> None:
        """Keep the estimate and say so."""
        with self.transaction():
            self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", KEPT, json.dumps(asdict(found)))
            self.log("size_estimated", f"Particle {found}.", track="preprocess")
