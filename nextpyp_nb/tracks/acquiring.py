"""What the microscope noted beside each movie: stored when it comes, grouped, compared with the settings."""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextpyp_nb.formats.acquisition import Acquisition, hole_and_shot, read_acquisition
from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.optics_groups import OpticsGroups, Shift
from nextpyp_nb.tracks.track import Live

AT_ONCE = 1000
# Setting, unit, and how far (as a part of it) the microscope's word may differ.
COMPARED = {
    "pixel_size": ("microscope.pixel_size", "Å", 0.02),
    "voltage": ("microscope.voltage", "kV", 0.01),
    "dose": ("microscope.dose", "e⁻/Å²", 0.2),
}


class Notes:
    """Reads the side files of movies once each, as soon as they stand still; movies never wait for them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waiting: dict[str, tuple[int, str]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._unreadable: dict[str, tuple[int, int]] = {}
        self._new: dict[int, dict[str, Any]] = {}
        self._said: set[str] = set()
        self._groups = OpticsGroups()
        self._restore()

    def expect(self, movie_id: int, name: str, source: str) -> None:
        """A movie was found: what its name tells is known at once, the rest when its side file is there."""
        self._waiting[sys.intern(source)] = (movie_id, name)
        pattern = self._live.settings.raw_data.name_pattern
        if parts := hole_and_shot(Path(source).name, pattern):
            self._new[movie_id] = parts

    def take(self, sides: Mapping[str, str]) -> int:
        """Read the side files that arrived, store what they say, and return how many were read."""
        read, told = 0, {}
        for source in [source for source in self._waiting if source in sides][:AT_ONCE]:
            noted = self._read(sides[source])
            if noted is None:
                continue
            movie_id, name = self._waiting.pop(source)
            pattern = self._live.settings.raw_data.name_pattern
            self._new[movie_id] = as_columns(noted, Path(sides[source]).name) | hole_and_shot(
                Path(source).name, pattern
            )
            told[name] = noted
            read += 1
        if self._new:
            shifts = [_shift(movie, columns) for movie, columns in self._new.items()]
            self._live.store.movie_acquisitions(self._new, self._groups.assign(shifts))
            self._new = {}
        for name, noted in told.items():
            self._compare(name, noted)
        return read

    def _restore(self) -> None:
        rows = self._live.store.acquisitions()
        for row in rows:
            if "side" not in (row["acquisition"] or {}):
                self._waiting[sys.intern(row["source"])] = (row["id"], row["name"])
        grouped = [row for row in rows if row["acquisition"] and row["optics_group"]]
        self._groups.restore(
            (_shift(row["id"], row["acquisition"]), int(row["optics_group"])) for row in grouped
        )

    def _read(self, side: str) -> Acquisition | None:
        """The side file's words, once it stood still from one look to the next."""
        try:
            now = Path(side).stat()
            signature = (now.st_size, now.st_mtime_ns)
            if self._unreadable.get(side) == signature:
                return None
            if self._seen.get(side) != signature:
                self._seen[side] = signature
                return None
            noted = read_acquisition(side)
        except BadFile as error:
            self._unreadable[side] = signature
            self._live.logs["transfer"].warning(str(error))
            return None
        except OSError:
            return None
        self._seen.pop(side, None)
        return noted

    def _compare(self, name: str, noted: Acquisition) -> None:
        for text in disagreements(noted, self._live.settings):
            if text not in self._said:
                self._said.add(text)
                self._live.logs["transfer"].warning(text, extra={"movie": name})
                self._live.store.log("metadata", text, track="transfer", movie=name, level="warning")


def as_columns(noted: Acquisition, side: str) -> dict[str, Any]:
    """What is known of an acquisition, as plain JSON; ``side`` is the file's name, the time is UTC."""
    columns: dict[str, Any] = {"side": side}
    for key, value in asdict(noted).items():
        if isinstance(value, datetime):
            # A time without a zone is that of the microscope's clock: taken to be this machine's zone.
            columns[key] = value.astimezone(UTC).isoformat(timespec="milliseconds")
        elif value not in (None, "") and not (isinstance(value, float) and math.isnan(value)):
            columns[key] = value
    return columns


def disagreements(noted: Acquisition, settings: Settings) -> Iterable[str]:
    """Where the microscope's words and the settings differ by more than rounding, in sentences."""
    flat, labels = settings.flat(), {item.key: item.label.lower() for item in settings.items()}
    for field, (key, unit, tolerance) in COMPARED.items():
        told, ours = getattr(noted, field), flat[key]
        if told > 0 and ours and abs(told - ours) > tolerance * ours:
            yield (
                f"the microscope reports a {labels[key]} of {told:.4g} {unit}, the settings say"
                f" {ours:.4g} {unit}; the settings are used"
            )


def _shift(movie: int, columns: Mapping[str, Any]) -> Shift:
    return movie, columns.get("beam_shift_x"), columns.get("beam_shift_y")
