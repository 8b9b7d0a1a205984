"""Estimate the CTF of a micrograph from the fringes in its power spectrum."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.ctf_doubt import NEIGHBOURS, ambiguity, noise_error, sampled_error
from nextpyp_nb.kernels.ctf_joined import joined
from nextpyp_nb.kernels.ctf_profile import fit_profile, spectrum_picture, whole_model
from nextpyp_nb.kernels.ctf_specimen import Tilt, fit_thickness, fit_tilt, node_contrast
from nextpyp_nb.kernels.fringes import UNEVEN, UNEVEN_FLAT, FringeModel, Optics
from nextpyp_nb.kernels.spectrum import Spectrum, power_spectrum
from nextpyp_nb.records import Ctf, CtfProfile, FloatArray

_TYPICAL_REACH, _RADII = 6.0, 3
_START_PEAKS, _TRIALS = 4, 2
_NYQUIST_SHARE = 0.47
# Noise alone reaches this, and more so where a phase shift is searched too (measured on noise).
_LEAST_GAIN, _LEAST_PHASE_GAIN = 45.0, 15.0
# A start this far below the best is not worth a refinement; an optimum this unlikely not a second look.
_WORTH, _LIKELY = 0.25, 1e-3
# An optimum that is so many times less likely, as a logarithm, is left where it is.
_HOPELESS = 20.0
# Rings of less than this multiple of the least evidence may be noise too, if seldom: no reach is claimed.
_SURE = 2.0
# Below this multiple of the least evidence rivals of a fit are looked for.
_WEAK, _RIVALS = 3.0, 10
_DENSE = 0.4
# Larger than so many tiles, a micrograph is looked at first in this many.
_LARGE, _FEW = 5, 16
# Few tiles see rings less far than all of them will.
_FURTHER = 1.2
# Parameters (Å) closer than this are the same optimum.
_SAME = 30.0


class CtfFailed(ValueError):
    """No believable CTF in this micrograph; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfEstimate:
    """A CTF with the curves and the picture (uint8, y up) that show how well it fits.

    ``tilt`` and ``thickness`` (Å) where they were asked for; no thickness where no node is seen.
    """

    ctf: Ctf
    profile: CtfProfile
    spectrum: NDArray[np.uint8]
    tilt: Tilt | None = None
    thickness: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Ranges of one estimate, in Å and radians."""

    optics: Optics
    lowest: float
    highest: float
    defoci: FloatArray
    phases: FloatArray
    free: NDArray[np.bool_]
    tolerance: float

    def model(self, spectrum: Spectrum, power: FloatArray) -> FringeModel:
        """Fringe model of ``power`` on the polar grid of this search."""
        highest = min(self.highest, _NYQUIST_SHARE / spectrum.pixel_size)
        grid = spectrum.grid(self.lowest, highest)
        uneven = UNEVEN if spectrum.worth is None else UNEVEN_FLAT
        return FringeModel(grid, grid.pool(power), self.optics, self.tolerance, uneven=uneven)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Optimum:
    """Where a refinement ended; ``weight`` is its likelihood over that of the best."""

    parameters: FloatArray
    cost: float
    weight: float


def estimate_ctf(  # noqa: PLR0913  (one keyword for each setting of the section)
    average: Any,
    *,
    rest: Any = None,
    pixel_size: float,
    voltage: float,
    cs: float,
    amplitude_contrast: float,
    min_resolution: float = 50.0,
    max_resolution: float = 3.0,
    min_defocus: float = 3500.0,
    max_defocus: float = 50000.0,
    tile: int = 512,
    defocus_step: float = 250.0,
    astigmatism: bool = True,
    astigmatism_tolerance: float = 500.0,
    phase_shift: bool = False,
    min_phase: float = 0.0,
    max_phase: float = 180.0,
    phase_step: float = 10.0,
    tilt: bool = False,
    thickness: bool = False,
) -> CtfEstimate:
    """Fit defocus, astigmatism and perhaps phase shift to the unweighted ``average`` (y, x).

    Or to the mean spectrum of images (n, y, x), such as unaligned sums of a few frames each. Where rings are
    sure, those of ``rest`` (sum, y, x) count too: further sums over the frames, as noisy as the average.
    Å, kV, mm and degrees; defocus positive under focus, angle counter-clockwise from x with y up.
    ``astigmatism_tolerance`` is the usual size of U - V: a larger one needs evidence; ``tilt`` and
    ``thickness`` ask for the specimen's. Rings that may be noise reach to ``min_resolution`` only. Raises
    ``CtfFailed`` with the reason. After Rohou & Grigorieff 2015, as a weighted least-squares fit.
    """
    _check(average, pixel_size, min_resolution, max_resolution, min_defocus, max_defocus)
    # 0 and 180 degrees are the same.
    last = min(max_phase, min_phase + 180.0 - phase_step) + 1e-6
    phases = np.arange(min_phase, last, phase_step) if phase_shift else np.zeros(1)
    search = _Search(
        optics=Optics(voltage=voltage, cs=cs, amplitude_contrast=amplitude_contrast),
        lowest=1 / min_resolution,
        highest=1 / max_resolution,
        defoci=np.arange(min_defocus, max_defocus + 1e-6, defocus_step),
        phases=np.radians(phases),
        free=np.array([True, astigmatism, astigmatism, phase_shift]),
        tolerance=astigmatism_tolerance,
    )
    spectrum, model, optima = _fit(search, average, pixel_size, tile)
    if rest is not None and _evidence(search, model, optima) >= _WEAK:
        others = power_spectrum(rest, pixel_size=pixel_size, tile=spectrum.size, like=average)
        spectrum = joined(spectrum, others, len(rest), search.optics, search.lowest, optima[0].parameters)
        model = search.model(spectrum, spectrum.power)
        optima = _optima(model, search, [found.parameters for found in optima if found.weight > _LIKELY])
    parameters, free = optima[0].parameters, search.free
    plain, error = model, _error(search, spectrum, model, optima)
    plane = slab = None
    if tilt:
        plane, parameters, model = fit_tilt(average, spectrum, parameters, free, model, pixel_size=pixel_size)
        free = np.append(free, [True, True])
    if thickness:
        slab, parameters = fit_thickness(model, parameters, free)
    shown = model if tilt else whole_model(spectrum, search.optics, search.lowest)
    if slab:
        shown.contrast = node_contrast(shown.grid.frequency, slab, voltage)
    profile, resolution = fit_profile(shown, parameters)
    if _evidence(search, plain, optima, resolution) < _SURE:
        resolution = min_resolution
    ctf = _record(search, parameters, model, resolution, error)
    picture = spectrum_picture(spectrum, ctf, search.lowest)
    return CtfEstimate(ctf=ctf, profile=profile, spectrum=picture, tilt=plane, thickness=slab)


def _fit(
    search: _Search, average: Any, pixel_size: float, tile: int
) -> tuple[Spectrum, FringeModel, list[_Optimum]]:
    """Optima of the fit, in tiles of twice the side where fringes are too close for those of ``tile``."""
    crowded, shortest = None, min(average.shape[-2:]) * pixel_size
    if shortest > _LARGE * tile * pixel_size:
        # A few tiles may tell already that the others are too small.
        spectrum = power_spectrum(average, pixel_size=pixel_size, tile=tile, most_tiles=_FEW)
        model = search.model(spectrum, spectrum.power)
        starts = _starts(search, model)
        if _delay(search, starts[0][0], 1.0 / search.highest) > _DENSE * _span(spectrum):
            with contextlib.suppress(CtfFailed):
                # Those of the highest peak: where others are as likely, all tiles are needed.
                optima = _optima(model, search, starts[: 1 + _TRIALS])
                if _evidence(search, model, optima) >= _WEAK:
                    crowded = _if_crowded(search, spectrum, optima, shortest, _FURTHER)
    if crowded is None:
        spectrum = power_spectrum(average, pixel_size=pixel_size, tile=tile)
        model = search.model(spectrum, spectrum.power)
        optima = _optima(model, search, _starts(search, model))
        evidence = _evidence(search, model, optima)
        if evidence < 1.0:
            raise CtfFailed(
                f"no Thon rings found between {search.defoci[0]:.0f} and {search.defoci[-1]:.0f} Å defocus "
                f"(evidence {evidence:.2f} of what noise could give): "
                "look at the image, the pixel size and the defocus range"
            )
        if evidence < _WEAK:
            rivals = _rivals(search, model, optima[0].parameters)
            optima = _optima(model, search, [*(found.parameters for found in optima), *rivals])
        crowded = _if_crowded(search, spectrum, optima, shortest)
    if crowded is not None:
        spectrum = power_spectrum(average, pixel_size=pixel_size, tile=2 * tile)
        model = search.model(spectrum, spectrum.power)
        optima = _optima(model, search, [found.parameters for found in crowded if found.weight > _LIKELY])
    return spectrum, model, optima


def _error(search: _Search, spectrum: Spectrum, model: FringeModel, optima: list[_Optimum]) -> float:
    """Error (Å) of the mean defocus of the first of ``optima``."""
    if _evidence(search, model, optima) < _WEAK:
        likely = np.array([found.parameters for found in optima if found.weight > _LIKELY])
        return sampled_error(model, spectrum, likely, search.free, search.defoci[0], search.defoci[-1])
    return math.hypot(
        noise_error(model, spectrum, optima[0].parameters, search.free),
        ambiguity([found.parameters[0] for found in optima], [found.weight for found in optima]),
    )


def _if_crowded(
    search: _Search, spectrum: Spectrum, optima: list[_Optimum], shortest: float, further: float = 1.0
) -> list[_Optimum] | None:
    """The ``optima`` where their fringes at the fit resolution are too close for the tiles; else None.

    ``shortest`` is the shorter side of the micrograph, Å; rings may be seen ``further`` than this fit holds.
    """
    found, span = optima[0].parameters, _span(spectrum)
    resolution = fit_profile(whole_model(spectrum, search.optics, search.lowest), found)[1]
    close = _delay(search, found[0], resolution / further) > _DENSE * span
    return optima if close and shortest > 1.4 * span else None


def _span(spectrum: Spectrum) -> float:
    """Side of a tile, Å."""
    return spectrum.size * spectrum.pixel_size


def _delay(search: _Search, defocus: float, resolution: float) -> float:
    """How far detail of a resolution is displaced either way, Å: fringes there are its inverse apart."""
    return 2.0 * wavelength(search.optics.voltage) * defocus / resolution


def _check(average: Any, pixel_size: float, low: float, high: float, least: float, most: float) -> None:
    if average.ndim not in (2, 3) or min(average.shape[-2:]) < 64:
        raise CtfFailed(f"got an image of shape {tuple(average.shape)}, expected (y, x) of at least 64 px")
    if not (low > high > 0 and most > least > 0):
        raise ValueError(
            f"got resolution {low}-{high} Å and defocus {least}-{most} Å: "
            "expected a coarser before a finer resolution, and a lower before a higher defocus"
        )
    if high < 2 * pixel_size and low < 4 * pixel_size:
        raise ValueError(f"pixels of {pixel_size} Å hold no detail between {low} and {high} Å")
    darkest, brightest = float(average.min()), float(average.max())
    if not (math.isfinite(darkest) and math.isfinite(brightest)):
        raise CtfFailed("the micrograph holds values that are not numbers: look at the gain reference")
    if darkest == brightest:
        raise CtfFailed("the micrograph is blank: every pixel has the same value")


def _starts(search: _Search, model: FringeModel) -> list[FloatArray]:
    """Where to refine from: peaks of the search, each with its likeliest astigmatisms."""
    gains = model.search(search.defoci, search.phases)
    starts = []
    for row, column in _peaks(gains):
        middle = np.array([search.defoci[column], 0.0, 0.0, search.phases[row]])
        trials = middle + _astigmatisms(search)
        costs = [model.cost(trial)[2] for trial in trials]
        starts += [middle, *trials[np.argsort(costs)[:_TRIALS]]]
    return starts


def _astigmatisms(search: _Search) -> FloatArray:
    """Steps of the parameters to astigmatisms around none, by which fringes at 6 Å move by a quarter."""
    if not search.free[1]:
        return np.empty((0, 4))
    radius = _quarter_fringe(search)
    turn = np.exp(0.25j * math.pi * np.arange(8))
    around = (np.arange(1, _RADII + 1)[:, None] * radius * turn).ravel()
    none = np.zeros(len(around))
    return np.stack([none, around.real, around.imag, none], axis=1)


def _peaks(gains: FloatArray) -> list[tuple[int, int]]:
    """The highest local maxima over phase shift and defocus that are worth it, best first."""
    highest = float(gains.max())
    top = gains == maximum_filter(gains, 3, mode=("wrap", "nearest"))
    top &= gains >= highest - (1.0 - _WORTH) * abs(highest)
    order = np.argsort(np.where(top, gains, -np.inf), axis=None)[::-1][: min(_START_PEAKS, int(top.sum()))]
    return [(int(n) // gains.shape[1], int(n) % gains.shape[1]) for n in order]


def _optima(model: FringeModel, search: _Search, starts: list[FloatArray]) -> list[_Optimum]:
    """The different optima that ``starts`` lead to, best first, with what each is worth against the best."""
    ends = _refined(model, search, starts)
    model.power = model.flatten_directions(ends[0][0])
    worst = ends[0][1] + _HOPELESS * 2.0 * NEIGHBOURS * model.noise(ends[0][1])
    ends = _refined(model, search, [parameters for parameters, cost in ends if cost <= worst])
    ends = [end for end in ends if _inside(search, end[0])]
    if not ends:
        raise CtfFailed("every fit ran out of the defocus range: widen it")
    least = ends[0][1]
    scale = 2.0 * NEIGHBOURS * model.noise(least)
    return [_Optimum(parameters=p, cost=cost, weight=math.exp((least - cost) / scale)) for p, cost in ends]


def _refined(model: FringeModel, search: _Search, starts: list[FloatArray]) -> list[tuple[FloatArray, float]]:
    """Where refinements end, and their costs, best first, each place once."""
    ends: list[tuple[FloatArray, float]] = []
    for end in sorted((model.refine(start, search.free) for start in starts), key=lambda end: end[1]):
        if all(np.abs(end[0] - other)[:3].max() > _SAME for other, _ in ends):
            ends.append(end)
    return ends


def _inside(search: _Search, parameters: FloatArray) -> bool:
    step = search.defoci[1] - search.defoci[0] if len(search.defoci) > 1 else 0.0
    return bool(search.defoci[0] - step <= parameters[0] <= search.defoci[-1] + step)


def _evidence(search: _Search, model: FringeModel, optima: list[_Optimum], reach: float = 0.0) -> float:
    """How far the rings of the best fit, up to ``reach`` (Å), lie above what noise could give; a multiple."""
    smooth = np.zeros(model.grid.shape)
    if reach:
        near = model.grid.frequency <= 1.0 / reach
        fringe = model.cosine(optima[0].parameters)[1]
        gain = float((model.rest(smooth) - model.rest(fringe))[near].sum())
    else:
        gain = model.solve(smooth)[2] - optima[0].cost
    return gain / model.variance() / (_LEAST_GAIN + (_LEAST_PHASE_GAIN if search.free[3] else 0.0))


def _rivals(search: _Search, model: FringeModel, best: FloatArray) -> list[FloatArray]:
    """The likeliest places around ``best``, half a fringe at 6 Å away at most: weak rings fit many."""
    middle = best * np.array([1.0, 0.0, 0.0, 1.0])
    turns = np.vstack([np.zeros((1, 4)), _astigmatisms(search)])
    steps = (
        _quarter_fringe(search) * np.linspace(-2.0, 2.0, 7)[:, None, None] * np.array([1.0, 0.0, 0.0, 0.0])
    )
    trials = middle + (turns + steps).reshape(-1, 4)
    costs = [model.cost(trial)[2] for trial in trials]
    return [trials[n] for n in np.argsort(costs)[:_RIVALS]]


def _quarter_fringe(search: _Search) -> float:
    """Change of defocus that moves the fringes at 6 Å by a quarter."""
    return 0.25 * _TYPICAL_REACH**2 / wavelength(search.optics.voltage)


def _record(
    search: _Search, parameters: FloatArray, model: FringeModel, resolution: float, error: float
) -> Ctf:
    fringe = model.cosine(parameters)[1]
    background, _, _ = model.solve(fringe)
    flat = (model.power - background) / model.level
    weight = model.grid.count * model.usable
    flat = flat - np.average(flat, weights=weight)
    fringe = fringe - np.average(fringe, weights=weight)
    score = (weight * flat * fringe).sum() / math.sqrt((weight * flat**2).sum() * (weight * fringe**2).sum())
    half = math.hypot(parameters[1], parameters[2])
    return Ctf(
        defocus_u=float(parameters[0] + half),
        defocus_v=float(parameters[0] - half),
        defocus_angle=0.5 * math.degrees(math.atan2(parameters[2], parameters[1])),
        voltage=search.optics.voltage,
        cs=search.optics.cs,
        amplitude_contrast=search.optics.amplitude_contrast,
        phase_shift=math.degrees(parameters[3]) % 180.0,
        fit_resolution=resolution,
        score=float(score),
        defocus_error=error,
    )
