"""Motion correction: align the frames, then their parts, and sum them once at full size."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nextpyp_nb.kernels.align import FrameSpectra, align_frames
from nextpyp_nb.kernels.backend import array_module
from nextpyp_nb.kernels.counts import Counts, total_counts
from nextpyp_nb.kernels.exposure import low_rank_filters
from nextpyp_nb.kernels.fourier import fourier_resize
from nextpyp_nb.kernels.frame_sum import half_sums, sum_frames
from nextpyp_nb.kernels.gain import find_defects, replace_defects
from nextpyp_nb.kernels.local_motion import fit_local_motion, frames_together
from nextpyp_nb.kernels.magnification import stretched
from nextpyp_nb.kernels.moving import moving_frames
from nextpyp_nb.records import FloatArray, MotionModel

ALIGN_PIXEL, COARSEST_PIXEL = 2.0, 4.0
BFACTOR = 30.0
MIN_SIDE = 32
METHODS = ("local", "whole-frame", "none")
# Where a micrograph has no more pixels, its Thon rings are noisy: so many further sums show them too.
SMALL, FURTHER = 2**22, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedMovie:
    """An aligned movie: mean and exposure-weighted mean, float32 (y, x) in e⁻/px/frame, and its motion.

    ``halves`` are the shares of even and odd frames, counted from 1, in the mean; ``rest`` (sum, y, x) are
    sums over the frames that have no noise in common with it: what changed from frame to frame.
    """

    average: Any
    weighted: Any | None
    motion: MotionModel
    defects: Any
    mean_dose: float
    halves: tuple[Any, ...] | None = None
    rest: Any | None = None


def correct_motion(  # noqa: PLR0913
    frames: Any,
    *,
    gain: Any = None,
    defects: Any = None,
    pixel_size: float,
    voltage: float,
    dose_per_frame: float | FloatArray | None,
    initial_dose: float = 0.0,
    method: str = "local",
    first_frame: int = 0,
    last_frame: int = -1,
    group: int = 1,
    bfactor: float = BFACTOR,
    exposure_weighting: bool = True,
    binning: int = 1,
    integer_shifts: bool = False,
    hot_pixels: bool = True,
    halves: bool = False,
    magnification: tuple[float, float, float] | None = None,
) -> CorrectedMovie:
    """Align raw frames and sum them: (frame, y, x) counts, y up -> two (y, x) images.

    ``method`` "local" also lets parts move against each other where that proves true, "whole-frame" does not.
    ``gain`` multiplies and is 0 where dead, ``defects`` is True where bad, ``pixel_size`` Å, ``voltage`` kV,
    doses e⁻/Å² (one, or one for each frame of the movie), ``bfactor`` px². The motion found is that of the
    specimen, in raw px: frames are sampled at +shift. ``magnification`` is that of `stretched`.
    """
    doses = np.full(len(frames), 0.0 if dose_per_frame is None else dose_per_frame)
    frames = _chosen_frames(frames, first_frame, last_frame)
    total = total_counts(frames)
    bad, mean_dose = _bad_pixels(frames, total, gain, defects, hot_pixels)
    counts = Counts(raw=frames, gain=gain, bad=bad)
    shifts, local = _find_motion(
        counts, total, method, pixel_size, bfactor=bfactor, group=group, whole_pixels=integer_shifts
    )
    del total  # before the sums are made
    exposures = (initial_dose + np.cumsum(doses))[first_frame : first_frame + len(frames)]
    dose = float(doses[first_frame : first_frame + len(frames)].mean())
    weighting = exposure_weighting and dose > 0
    sampled = np.round(shifts) if integer_shifts else shifts
    average, weighted, rest = sum_frames(
        counts,
        sampled,
        low_rank_filters(exposures, pixel_size=pixel_size, voltage=voltage) if weighting else None,
        local,
        further=FURTHER if frames[0].size <= SMALL else 0,
    )
    parts = half_sums(counts, sampled, local) if halves else None
    motion = MotionModel(
        shifts=shifts.astype(np.float32),
        pixel_size=pixel_size,
        dose_per_frame=dose,
        height=frames.shape[1],
        width=frames.shape[2],
        local=None if local is None else local.astype(np.float32),
    )
    return CorrectedMovie(
        average=_finished(average, magnification, binning),
        weighted=None if weighted is None else _finished(weighted, magnification, binning),
        motion=motion,
        defects=bad,
        mean_dose=mean_dose,
        halves=None if parts is None else tuple(_finished(part, magnification, binning) for part in parts),
        rest=None if rest is None else _finished(rest, magnification, binning),
    )


def group_sums(
    frames: Any, *, group: int, gain: Any = None, defects: Any = None, hot_pixels: bool = True
) -> Any:
    """Sums of ``group`` frames each as they were recorded, gain applied and bad pixels replaced.

    (frame, y, x) counts -> float32 (groups, y, x); frames left over join the last group. ``gain`` and
    ``defects`` as in `correct_motion`.
    """
    bad, _ = _bad_pixels(frames, total_counts(frames), gain, defects, hot_pixels)
    xp = array_module(frames)
    sums = xp.zeros((max(1, len(frames) // group), *frames.shape[1:]), xp.float32)
    for number, frame in Counts(raw=frames, gain=gain, bad=bad).corrected():
        sums[min(number // group, len(sums) - 1)] += frame
    return sums


def take_micrograph(
    image: Any,
    *,
    gain: Any = None,
    defects: Any = None,
    pixel_size: float,
    dose_per_frame: float = 0.0,
    binning: int = 1,
) -> CorrectedMovie:
    """Take an image that was aligned and summed elsewhere as it is, (y, x) in any unit, y up.

    ``gain`` multiplies and is 0 where dead, ``defects`` is True where bad; those pixels and what is not
    finite are replaced. ``pixel_size`` Å, dose e⁻/Å². What a count is is not known: ``mean_dose`` is NaN.
    """
    xp = array_module(image)
    image = xp.array(image, dtype=xp.float32)
    bad = ~xp.isfinite(image)
    if gain is not None:
        image *= gain
        bad |= gain <= 0
    if defects is not None:
        bad |= xp.asarray(defects, dtype=bool)
    if bad.all() or float(image[~bad].std()) == 0:
        raise ValueError("the micrograph is the same everywhere: is the file whole?")
    height, width = image.shape
    motion = MotionModel(
        shifts=np.zeros((1, 2), np.float32),
        pixel_size=pixel_size,
        dose_per_frame=dose_per_frame,
        height=height,
        width=width,
    )
    average = _reduced(replace_defects(image, bad), binning)
    return CorrectedMovie(average=average, weighted=None, motion=motion, defects=bad, mean_dose=float("nan"))


def _find_motion(
    counts: Counts,
    total: Any,
    method: str,
    pixel_size: float,
    *,
    bfactor: float,
    group: int,
    whole_pixels: bool,
) -> tuple[FloatArray, FloatArray | None]:
    """Shifts (frame, 2) and local coefficients in px of the raw frames, whose sum is ``total``."""
    if method not in METHODS:
        raise ValueError(f"alignment method is {method!r}, expected one of {', '.join(map(repr, METHODS))}")
    if method == "none":
        return np.zeros((len(counts.raw), 2)), None
    bin_ = _align_binning(counts.raw.shape[1:], pixel_size)
    moving = moving_frames(counts, total, bin_)
    spectra, half = FrameSpectra(moving, bfactor / bin_**2), np.array(moving.shape[1:]) / 2
    del moving
    shifts = align_frames(spectra, group=group)
    local = None
    if method == "local" and not whole_pixels:
        frames = spectra.halved(shifts, frames_together(len(shifts)))
        del spectra  # before the frames are cut
        local = fit_local_motion(frames, shifts / 2, shape=half, pixel_size=2 * bin_ * pixel_size)
    return bin_ * shifts, None if local is None else 2 * bin_ * local


def _chosen_frames(frames: Any, first: int, last: int) -> Any:
    """Frames ``first`` to ``last``, both included; -1 is the last there is."""
    if frames.ndim != 3:
        raise ValueError(f"the movie has {frames.ndim} axes, expected (frame, y, x)")
    if min(frames.shape[1:]) < MIN_SIDE:
        raise ValueError(f"frames are {frames.shape[1:]} px, expected at least {MIN_SIDE} on each side")
    end = len(frames) if last < 0 else last + 1
    if not 0 <= first < end <= len(frames):
        raise ValueError(
            f"frames {first} to {end - 1} were asked for, expected a range within 0 to {len(frames) - 1}"
        )
    return frames[first:end]


def _bad_pixels(frames: Any, total: Any, gain: Any, defects: Any, hot_pixels: bool) -> tuple[Any, float]:
    """The defect map of this movie and the mean of its good pixels, e⁻/px/frame.

    Bad pixels are 0 in ``total`` afterwards.
    """
    xp = array_module(frames)
    shape = frames.shape[1:]
    for name, image in (("gain reference", gain), ("defect map", defects)):
        if image is not None and image.shape != shape:
            raise ValueError(f"the {name} is {image.shape}, expected {shape} as the frames")
    if hot_pixels:
        bad = find_defects(total, gain)
    else:
        bad = ~xp.isfinite(total)
        if gain is not None:
            bad |= gain <= 0
    if defects is not None:
        bad |= xp.asarray(defects, dtype=bool)
    n_good = bad.size - int(xp.count_nonzero(bad))
    if not n_good:
        raise ValueError("no good pixel is left: check the gain reference, the defects and the frames")
    total[bad] = 0
    mean = float(total.sum()) / n_good / len(frames)
    if mean <= 0:
        raise ValueError(f"the frames hold no counts (mean {mean:g}): was the beam on, is the file whole?")
    return bad, mean


def _align_binning(shape: tuple[int, int], pixel_size: float) -> int:
    """Pixels that are added per side before alignment: to about 2 Å, but two where that makes 4 Å or less."""
    least = 2 if 2 * pixel_size <= COARSEST_PIXEL else 1
    return max(1, min(max(round(ALIGN_PIXEL / pixel_size), least), min(shape) // 64))


def _finished(image: Any, magnification: tuple[float, float, float] | None, binning: int) -> Any:
    """The image (y, x), or each of (n, y, x), stretched and with ``binning`` times larger pixels."""
    if magnification is not None:
        parts = [stretched(part, *magnification) for part in image.reshape(-1, *image.shape[-2:])]
        image = array_module(image).stack(parts).reshape(image.shape)
    return _reduced(image, binning)


def _reduced(image: Any, binning: int) -> Any:
    """The image with ``binning`` times larger pixels, cut in Fourier space."""
    if binning == 1:
        return image
    ny, nx = (2 * max(1, n // (2 * binning)) for n in image.shape[-2:])
    return fourier_resize(image, (ny, nx))
