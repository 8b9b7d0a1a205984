"""Particles for 2D classification: cut out once, kept on disk, known by ids that last from round to round."""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.mrc import read_mrc
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.fourier import fast_even
from nextpyp_nb.kernels.particles import extract_particles
from nextpyp_nb.records import Ctf
from nextpyp_nb.session.manual_picks import merged_picks
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.ctf_stage import read_ctf
from nextpyp_nb.tracks.process_movie import Report

# An id is the serial of its micrograph times this, plus the number of the pick.
PICKS = 1 << 24


class ImagesGone(ValueError):
    """Images of particles that have to leave are on disk no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxing:
    """How particles are cut out for 2D: box on the micrograph, final box and pixel."""

    box_px: int
    box: int
    pixel_size: float
    radius: float


def boxing(settings: Settings) -> Boxing:
    """Box and pixel for 2D: pixel ≤ limit / 2.5, box at least 2.4 radii, and no smaller than asked."""
    chosen = settings.class2d
    pixel = settings.microscope.pixel_size * settings.raw_data.binning
    radius = chosen.radius or settings.picking.radius
    wanted = pixel * chosen.binning if chosen.binning else max(pixel, chosen.max_resolution / 2.5)
    box = fast_even(max(chosen.box if chosen.binning else 0, int(np.ceil(2.4 * radius / wanted)), 32))
    box_px = 2 * round(box * wanted / pixel / 2)
    return Boxing(box_px=box_px, box=box, pixel_size=pixel * box_px / box, radius=radius)


class Boxes:
    """The particles of a classification, in its order: ``ids`` (n,) and ``centres`` (n, 2) in (y, x) px.

    ``stored`` is what `to_arrays` gave. A micrograph is known by a serial and a stamp of its files: one
    that was picked, fitted or averaged again has another stamp, and its particles are other particles.
    """

    def __init__(self, folder: Path, cut: Boxing, stored: dict[str, Any]) -> None:
        self.folder, self.cut = folder, cut
        self.ids = stored.get("box_ids", np.zeros(0, np.int64))
        self.centres = stored.get("box_centres", np.zeros((0, 2), np.float32))
        self.serials: dict[str, int] = {}
        self.stamps: dict[int, Any] = {}
        if stored:
            self.serials = dict(
                zip(stored["box_names"].tolist(), stored["box_serials"].tolist(), strict=True)
            )
            self.stamps = dict(zip(self.serials.values(), stored["box_stamps"], strict=True))

    def leave(self, engine: Classification, names: list[str]) -> None:
        """Take out the particles of micrographs not in ``names``, or changed since; ImagesGone if late."""
        gone = set(self.serials) - set(names)
        gone |= {n for n, serial in self.serials.items() if not self._is(serial, Places(self.folder, n))}
        out = np.isin(self.ids // PICKS, [self.serials[name] for name in gone])
        engine.remove(self.ids[out])
        self.ids, self.centres = self.ids[~out], self.centres[~out]
        for name in gone:
            del self.stamps[self.serials.pop(name)]

    def enter(self, engine: Classification, groups: dict[str, int], report: Report) -> None:
        """Add the particles of micrographs that are not there, a batch each; ``groups``: name → optics."""
        for index, (name, group) in enumerate(groups.items()):
            if index % 20 == 0:
                report({"stage": "boxing particles", "done": index, "total": len(groups)})
            places = Places(self.folder, name)
            if name in self.serials or not places("picks").is_file():
                continue
            stamp = stamp_of(places, self.cut)
            boxed = _boxed(places, self.cut, stamp)
            if boxed is None or not len(boxed["number"]):
                continue
            serial = 1 + max(self.stamps, default=-1)
            ids = serial * PICKS + boxed["number"]
            engine.add(f"{name} {serial}", ids, group)
            self.serials[name], self.stamps[serial] = serial, stamp
            self.ids, self.centres = (
                np.append(self.ids, ids),
                np.concatenate([self.centres, boxed["centres"]]),
            )

    def read(self, ids: Any) -> tuple[Any, list[Ctf]]:
        """Images (n, b, b) and CTFs of ``ids``."""
        images = np.empty((len(ids), self.cut.box, self.cut.box), np.float32)
        ctfs: dict[int, Ctf] = {}
        names = {serial: name for name, serial in self.serials.items()}
        for serial in np.unique(ids // PICKS).tolist():
            places, stamp = Places(self.folder, names[serial]), self.stamps[serial]
            boxed = _kept(places, stamp)
            if boxed is None:
                if not self._is(serial, places):
                    raise ImagesGone(f"the images of {names[serial]} changed since they were classified")
                boxed = _boxed(places, self.cut, stamp)
                assert boxed is not None
            at = np.flatnonzero(ids // PICKS == serial)
            images[at] = boxed["images"][np.searchsorted(boxed["number"], ids[at] % PICKS)]
            ctfs[serial] = Ctf(**dict(zip(Ctf.__dataclass_fields__, boxed["ctf"].tolist(), strict=True)))
        return images, [ctfs[serial] for serial in (ids // PICKS).tolist()]

    def origin(self, names: list[str]) -> dict[str, Any]:
        """Of each particle: the micrograph (its place in ``names``), the number of the pick, the centre."""
        place_of = {self.serials[name]: i for i, name in enumerate(names) if name in self.serials}
        return {
            "names": np.array(names),
            "micrograph": np.array([place_of[s] for s in (self.ids // PICKS).tolist()], np.int32),
            "pick": (self.ids % PICKS).astype(np.int32),
            "centres": self.centres,
        }

    def to_arrays(self) -> dict[str, Any]:
        """What another round needs."""
        return {
            "box_ids": self.ids,
            "box_centres": self.centres,
            "box_names": np.array(list(self.serials), np.str_),
            "box_serials": np.array(list(self.serials.values()), np.int64),
            "box_stamps": np.array(list(self.stamps.values()), np.int64),
        }

    def _is(self, serial: int, places: Places) -> bool:
        return bool(np.array_equal(self.stamps[serial], stamp_of(places, self.cut)))


def stamp_of(places: Places, cut: Boxing) -> Any:
    """Numbers that change with what the particles of a micrograph are cut from, and how; 0 for no file."""
    files = [places(kind) for kind in ("picks", "manual", "ctf", "average", "weighted")]
    times = [path.stat().st_mtime_ns if path.is_file() else 0 for path in files]
    return np.array([cut.box_px, cut.box, round(cut.radius * 100), *times], np.int64)


def _kept(places: Places, stamp: Any) -> dict[str, Any] | None:
    """Particles as they were cut out under ``stamp``, or None."""
    if not places("particles").is_file():
        return None
    kept = read_arrays(places("particles"))
    return kept if np.array_equal(kept["key"], stamp) else None


def _boxed(places: Places, cut: Boxing, stamp: Any) -> dict[str, Any] | None:
    """Images (n, b, b), numbers of their picks, centres and CTF; None where the CTF fit failed."""
    kept = _kept(places, stamp)
    if kept is not None:
        return kept
    picks, ctf = merged_picks(places.folder, places.name), read_ctf(places)
    if picks is None or ctf is None:
        return None
    average, pixel_size = read_mrc(places("weighted") if places("weighted").is_file() else places("average"))
    images, inside = extract_particles(
        np.asarray(average, np.float32),
        picks.centres,
        pixel_size=pixel_size,
        box_px=cut.box_px,
        target_pixel_size=cut.pixel_size,
        background_radius=cut.radius,
    )
    boxed = {
        "images": images.astype(np.float16), "number": picks.number[inside], "ctf": np.array(astuple(ctf)),
        "centres": picks.centres[inside].astype(np.float32), "key": stamp,
    }  # fmt: skip
    write_arrays(places("particles"), **boxed)
    return boxed
