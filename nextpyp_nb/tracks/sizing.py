"""The particle radius, where the settings leave it empty: from the first micrographs, once."""

import time
from dataclasses import asdict

from nextpyp_nb.kernels.particle_size import likely_radius
from nextpyp_nb.session.journal import note
from nextpyp_nb.session.particle_size import SizeEstimate, wants_estimate
from nextpyp_nb.session.tasks import ClaimedTask
from nextpyp_nb.tracks.track import Live

FIRST = 5
# Fewer micrographs must do when no more come for so long, s; in a run that ends when nothing is left, HASTE.
PATIENCE, HASTE = 60.0, 3.0
ON_THE_WAY = ("found", "settling", "transferring")
# After so many it is not tried any longer.
LAST = 20


class Sizing:
    """Collects what micrographs tell of the size of particles, and has them picked once it is known."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._outdated: set[int] = set()
        self._curves: list[list[float]] = []
        self._read()

    def wanted(self) -> bool:
        """Whether micrographs shall be measured."""
        return wants_estimate(self._live.settings) and len(self._curves) < LAST

    def pending(self) -> bool:
        """Whether an estimate can be made of what was measured."""
        return wants_estimate(self._live.settings) and self._told() > 0

    def take(self, claimed: ClaimedTask, curve: list[float] | None) -> None:
        """Keep what a micrograph told; one picked without the size that is known by now is picked again."""
        live = self._live
        if curve is not None:
            live.store.keep_size_curve(claimed.movie_id, live.settings, curve)
            self._read()
        if claimed.movie_id in self._outdated:
            self._outdated.discard(claimed.movie_id)
            live.store.reset_stages(live.settings, retry=False)

    def step(self, running: list[ClaimedTask], idle_since: float | None) -> None:
        """Make the estimate once enough micrographs told, or no more come; ``running`` are in flight."""
        live = self._live
        if not self.pending():
            return
        if self._told() < FIRST and len(self._curves) < LAST and not self._last_ones(idle_since):
            return
        radius = likely_radius(self._curves)
        assert radius is not None
        found = SizeEstimate(
            radius=round(radius), micrographs=self._told(),
            pixel_size=live.settings.microscope.pixel_size,
        )  # fmt: skip
        with live.store.transaction():
            live.store.keep_size_estimate(found)
            live.settings = live.store.with_estimate(live.settings)
            live.store.reset_stages(live.settings, retry=False)
        self._outdated = {claimed.movie_id for claimed in running}
        note(live.folder, "size", {"estimate": asdict(found)})
        live.wake("preprocess")
        live.wake("classify")

    def message(self) -> str:
        """What is known so far; empty where no estimate is made."""
        if not wants_estimate(self._live.settings):
            return ""
        if self._told() == 0 and len(self._curves) >= LAST:
            return f"no particles stand out in {len(self._curves)} micrographs: give their radius in Settings"
        return f"estimating the particle radius: {self._told()} of {FIRST} micrographs"

    def refresh(self) -> None:
        """Look again at what was measured: settings or results changed."""
        self._outdated.clear()
        self._read()

    def _last_ones(self, idle_since: float | None) -> bool:
        """Whether it seems that no more micrographs come."""
        patience = HASTE if self._live.until_idle else PATIENCE
        waited = idle_since is not None and time.monotonic() - idle_since > patience
        return waited and not self._live.store.movies(*ON_THE_WAY)

    def _told(self) -> int:
        return sum(max(curve) > 0 for curve in self._curves)

    def _read(self) -> None:
        settings = self._live.settings
        self._curves = self._live.store.size_curves(settings) if wants_estimate(settings) else []
