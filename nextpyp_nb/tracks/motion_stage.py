"""Motion of one movie: read, gain, align, sum, previews."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.check import check_movie
from nextpyp_nb.formats.defects import read_defects
from nextpyp_nb.formats.eer import EventStreams
from nextpyp_nb.formats.fractions import Fractions, equal_fractions, frames_per_dose, read_fractions
from nextpyp_nb.formats.frames import Exposure, holds_events, read_exposure
from nextpyp_nb.formats.gain import gain_shape, read_gain, says_packed
from nextpyp_nb.formats.motion_star import write_motion_star
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.pictures import write_jpeg
from nextpyp_nb.formats.tiff import unpack_halves
from nextpyp_nb.kernels.backend import empty_for, to_device, to_numpy
from nextpyp_nb.kernels.display import pictures
from nextpyp_nb.kernels.events import count_events
from nextpyp_nb.kernels.gain import orient_gain
from nextpyp_nb.kernels.motion import CorrectedMovie, correct_motion, group_sums, take_micrograph
from nextpyp_nb.records import MotionModel
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.gain_stage import gain_operation, watch_gain

NOT_OF_MOTION = ("first_frame", "last_frame", "half_precision", "correct_magnification")
# Transforms of fewer pixels cost a third more with two threads, and take as long.
SMALL = 1 << 21
GROUP_DOSE = 4.0  # e⁻/Å² of the sums that show Thon rings without alignment
EER_OPTIONS = ("eer_frames", "eer_dose", "eer_fractions", "eer_reduce")


def correct_movie(path: Path, places: Places, settings: Settings, payload: dict[str, Any]) -> dict[str, Any]:
    """Read, gain, align and sum one movie; averages, motion and previews lie in ``places`` afterwards."""
    scope = settings.microscope
    exposure = _unpacked(_read(path, settings, payload), settings)
    if not _is_micrograph(exposure, settings):
        watch_gain(
            exposure.frames, places.folder, places.name, settings,
            events=exposure.fractions is not None,
        )  # fmt: skip
    small = exposure.frames[0].size < SMALL
    with scipy.fft.set_workers(1 if small else scipy.fft.get_workers()):
        corrected = _corrected(exposure, settings, payload)
        _write_averages(corrected, places, settings)
    motion = corrected.motion
    write_motion_star(
        places("motion"), motion, movie_name=path.name,
        gain_name=settings.gain.reference or None, binning=settings.raw_data.binning,
        voltage=scope.voltage, initial_dose=scope.initial_dose, first_frame=exposure.first + 1,
        eer_frames=exposure.fractions.constant if exposure.fractions else None,
        eer_upsampling=settings.motion.eer_reduce,
        hot_pixels=_found_pixels(corrected, settings, exposure.fractions is not None),
    )  # fmt: skip
    write_arrays(
        places("trajectory"),
        shifts=motion.shifts,
        pixel_size=motion.pixel_size,
        dose_per_frame=motion.dose_per_frame,
        shape=np.array([motion.height, motion.width]),
        mean_dose=corrected.mean_dose,
        **({} if motion.local is None else {"local": motion.local}),
    )
    average = to_numpy(corrected.average)
    return {
        "n_frames": len(exposure.doses(scope.dose)),
        "corrupt_frames": exposure.corrupt,
        "height": average.shape[0],
        "width": average.shape[1],
        "pixel_size": scope.pixel_size * settings.raw_data.binning,
        "dose_per_frame": motion.dose_per_frame,
    }


def _read(path: Path, settings: Settings, payload: dict[str, Any]) -> Exposure:
    align = settings.motion
    fractions: Fractions | None = None
    if holds_events(path):
        n_raw, group = check_movie(path).n_frames, align.eer_frames
        if align.eer_dose > 0:
            group = frames_per_dose(n_raw, settings.microscope.dose, align.eer_dose)
        fractions = equal_fractions(n_raw, group)
        if align.eer_fractions:
            fractions = read_fractions(align.eer_fractions, n_raw)
    threads = max(1, int(payload.get("threads", 1)))
    device = payload.get("device")
    decoder = None if device is None else partial(_count_on_device, device=device)
    return read_exposure(
        path, first=align.first_frame, last=align.last_frame, threads=threads,
        fractions=fractions, eer_reduce=align.eer_reduce, decoder=decoder, empty=empty_for(device),
    )  # fmt: skip


def _count_on_device(streams: EventStreams, bounds: Sequence[int], *, device: int) -> tuple[Any, int]:
    """Frames of an EER on the GPU."""
    return count_events(
        to_device(streams.words, device), starts=streams.starts, bits=streams.bits,
        coding=streams.coding, shape=streams.shape, bounds=bounds,
    )  # fmt: skip


def _corrected(exposure: Exposure, settings: Settings, payload: dict[str, Any]) -> CorrectedMovie:
    scope, frames = settings.microscope, exposure.frames
    doses = exposure.doses(scope.dose)
    before, doses = np.split(doses, [exposure.first])
    doses = doses[: len(frames)]
    gain, defects = oriented_gain(settings, frames.shape[1:], exposure.fractions is not None)
    device = payload.get("device")
    known: dict[str, Any] = {
        "gain": None if gain is None else to_device(gain, device),
        "defects": None if defects is None else to_device(defects, device),
        "pixel_size": scope.pixel_size,
        "binning": settings.raw_data.binning,
    }
    if _is_micrograph(exposure, settings):
        return take_micrograph(to_device(frames[0], device), dose_per_frame=float(doses[0]), **known)
    options = settings.motion.model_dump(exclude={*NOT_OF_MOTION, *EER_OPTIONS})
    if len(frames) == 1:
        options["method"] = "none"
    return correct_motion(
        to_device(frames, device),
        voltage=scope.voltage,
        dose_per_frame=doses,
        initial_dose=scope.initial_dose + float(before.sum()),
        hot_pixels=settings.gain.hot_pixels,
        magnification=chosen_stretch(settings),
        **known,
        **options,
    )


def frame_groups(path: Path, settings: Settings, payload: dict[str, Any]) -> Any | None:
    """Unaligned sums of frames of about 4 e⁻/Å² each, (groups, y, x); None of a micrograph without frames."""
    exposure = _unpacked(_read(path, settings, payload), settings)
    if _is_micrograph(exposure, settings):
        return None
    frames = exposure.frames
    dose = float(np.mean(exposure.doses(settings.microscope.dose)))
    gain, defects = oriented_gain(settings, frames.shape[1:], exposure.fractions is not None)
    device = payload.get("device")
    return group_sums(
        to_device(frames, device),
        group=max(1, round(GROUP_DOSE / dose)) if dose > 0 else 1,
        gain=None if gain is None else to_device(gain, device),
        defects=None if defects is None else to_device(defects, device),
        hot_pixels=settings.gain.hot_pixels,
    )


def chosen_stretch(settings: Settings) -> tuple[float, float, float] | None:
    """Stretch along the major axis, across it, and its angle; None where nothing is to be stretched."""
    scope = settings.microscope
    if not settings.motion.correct_magnification or not scope.distorted:
        return None
    return scope.magnification_major, scope.magnification_minor, scope.distortion_angle


def _found_pixels(corrected: CorrectedMovie, settings: Settings, events: bool) -> Any:
    """Bad pixels (n, 2) that neither the gain reference nor the defect file told of."""
    bad = to_numpy(corrected.defects)
    places = np.flatnonzero(bad)
    gain, defects = oriented_gain(settings, bad.shape, events)
    if gain is not None:
        places = places[gain.ravel()[places] > 0]
    if defects is not None:
        places = places[~defects.ravel()[places]]
    return np.stack(np.divmod(places, bad.shape[1]), axis=1)


def _unpacked(exposure: Exposure, settings: Settings) -> Exposure:
    """With two pixels from each byte where the gain reference is twice as wide as the frames."""
    path, frames = Path(settings.gain.reference), exposure.frames
    if frames.dtype != np.uint8 or not path.is_file():
        return exposure
    shape = _gain_shape(path, path.stat().st_mtime_ns)
    packed = says_packed(shape, frames.shape[1:])
    return replace(exposure, frames=unpack_halves(frames)) if packed else exposure


@lru_cache(maxsize=2)
def _gain_shape(path: Path, mtime_ns: int) -> tuple[int, int]:
    return gain_shape(path)


def _is_micrograph(exposure: Exposure, settings: Settings) -> bool:
    """Whether the values are those of an image summed elsewhere, and not the counts of a movie."""
    if settings.raw_data.no_frames and exposure.n_stored != 1:
        raise ValueError(
            f"the file holds {exposure.n_stored} frames, expected one image: switch off Settings, Raw data, "
            "Micrographs without frames"
        )
    return settings.raw_data.no_frames or (exposure.n_stored == 1 and exposure.frames.dtype.kind == "f")


def _write_averages(corrected: CorrectedMovie, places: Places, settings: Settings) -> None:
    pixel_size = settings.microscope.pixel_size * settings.raw_data.binning

    def stored(image: Any) -> Any:
        return -to_numpy(image) if settings.raw_data.invert else to_numpy(image)

    even, odd = corrected.halves or (None, None)
    kinds = {
        "average": corrected.average, "weighted": corrected.weighted, "rest": corrected.rest,
        "even": even, "odd": odd,
    }  # fmt: skip
    for image, path in ((image, places(kind)) for kind, image in kinds.items()):
        if image is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Values of unknown scale may not fit into 16 bits.
            half = settings.motion.half_precision and np.isfinite(corrected.mean_dose)
            write_mrc(path, stored(image), pixel_size=pixel_size, float16=bool(half))
    shown = corrected.weighted if corrected.weighted is not None else corrected.average
    for kind, picture in zip(("preview", "thumb"), pictures(stored(shown)), strict=True):
        write_jpeg(places(kind), picture)


def oriented_gain(settings: Settings, shape: tuple[int, int], events: bool) -> tuple[Any, Any]:
    """The factor to multiply frames of ``shape`` with, and the map of the defect file; None without."""
    chosen = settings.gain
    gain = None
    if chosen.reference:
        path = Path(chosen.reference)
        if not path.is_file():
            raise FileNotFoundError(
                f"no gain reference at {path}; give the right file in Settings, Gain reference"
            )
        turned = shape if chosen.rotation % 2 == 0 else shape[::-1]
        gain = _oriented_gain(
            path, path.stat().st_mtime_ns, turned, chosen.rotation, chosen.flip_horizontal,
            chosen.flip_vertical, gain_operation(chosen.operation, path, events),
        )  # fmt: skip
    defects = read_defects(Path(chosen.defects), shape) if chosen.defects else None
    return gain, defects


@lru_cache(maxsize=2)
def _oriented_gain(
    path: Path,
    mtime_ns: int,
    shape: tuple[int, int],
    rotation: int,
    flip_x: bool,
    flip_y: bool,
    operation: str,
) -> Any:
    gain = read_gain(path, shape=shape)
    return orient_gain(
        gain, rotation=rotation, flip_horizontal=flip_x, flip_vertical=flip_y, operation=operation
    )


def read_motion(places: Places) -> tuple[MotionModel, float]:
    """The motion of a movie as it was found, and its mean dose (e⁻/px/frame; NaN where unknown)."""
    stored = read_arrays(places("trajectory"))
    height, width = (int(side) for side in stored["shape"])
    motion = MotionModel(
        shifts=stored["shifts"],
        pixel_size=float(stored["pixel_size"]),
        dose_per_frame=float(stored["dose_per_frame"]),
        height=height,
        width=width,
        local=stored.get("local"),
    )
    return motion, float(stored["mean_dose"])
