"""Estimate the CTF of a micrograph from the fringes in its power spectrum."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.ctf_profile import fit_profile, spectrum_picture
from nextpyp_nb.kernels.fringes import FringeModel, Optics, polar_grid
from nextpyp_nb.kernels.spectrum import Spectrum, power_spectrum
from nextpyp_nb.records import Ctf, CtfProfile, FloatArray

_TYPICAL_REACH, _RADII = 6.0, 3
_START_PEAKS = 3
_NYQUIST_SHARE = 0.47
_LEAST_GAIN = 45.0
_DENSE = 0.4
# Variance is lost to the likeness of neighbouring points of a tapered spectrum (measured on noise).
_NEIGHBOURS = 2.0
# Degrees of freedom that the foretold variance is worth beside that between sets of tiles.
_FORETOLD = 3.0


class CtfFailed(ValueError):
    """No believable CTF in this micrograph; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfEstimate:
    """A CTF with the curves and the picture (uint8, y up) that show how well it fits."""

    ctf: Ctf
    profile: CtfProfile
    spectrum: NDArray[np.uint8]


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
        grid = polar_grid(spectrum.size, spectrum.pixel_size, self.lowest, highest)
        return FringeModel(grid, grid.pool(power), self.optics, self.tolerance)


def estimate_ctf(  # noqa: PLR0913  (one keyword for each setting of the section)
    average: Any,
    *,
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
) -> CtfEstimate:
    """Fit defocus, astigmatism and perhaps phase shift to the unweighted ``average`` (y, x).

    Å, kV, mm and degrees; defocus positive under focus, angle counter-clockwise from x with y up.
    ``astigmatism_tolerance`` is the usual size of U - V: a larger one needs evidence. Raises
    ``CtfFailed`` with the reason. After Rohou & Grigorieff 2015, as a weighted least-squares fit.
    """
    _check(average, pixel_size, min_resolution, max_resolution, min_defocus, max_defocus)
    phases = np.arange(min_phase, max_phase + 1e-6, phase_step) if phase_shift else np.zeros(1)
    search = _Search(
        optics=Optics(voltage=voltage, cs=cs, amplitude_contrast=amplitude_contrast),
        lowest=1 / min_resolution,
        highest=1 / max_resolution,
        defoci=np.arange(min_defocus, max_defocus + 1e-6, defocus_step),
        phases=np.radians(phases),
        free=np.array([True, astigmatism, astigmatism, phase_shift]),
        tolerance=astigmatism_tolerance,
    )
    spectrum = power_spectrum(average, pixel_size=pixel_size, tile=tile)
    found = _fit(search, spectrum)
    if _crowded(found.ctf, spectrum) and min(np.shape(average)) * pixel_size > 1.4 * _span(spectrum):
        found = _fit(search, power_spectrum(average, pixel_size=pixel_size, tile=2 * tile))
    return found


def _check(average: Any, pixel_size: float, low: float, high: float, least: float, most: float) -> None:
    if average.ndim != 2 or min(average.shape) < 64:
        raise CtfFailed(f"got an image of shape {tuple(average.shape)}, expected (y, x) of at least 64 px")
    if not (low > high > 0 and most > least > 0):
        raise ValueError(
            f"got resolution {low}-{high} Å and defocus {least}-{most} Å: "
            "expected a coarser before a finer resolution, and a lower before a higher defocus"
        )
    if high < 2 * pixel_size and low < 4 * pixel_size:
        raise ValueError(f"pixels of {pixel_size} Å hold no detail between {low} and {high} Å")
    level, spread = float(average.mean()), float(average.std())
    if not (math.isfinite(level) and math.isfinite(spread)):
        raise CtfFailed("the micrograph holds values that are not numbers: look at the gain reference")
    if spread == 0.0:
        raise CtfFailed("the micrograph is blank: every pixel has the same value")


def _span(spectrum: Spectrum) -> float:
    """Side of a tile, Å."""
    return spectrum.size * spectrum.pixel_size


def _crowded(ctf: Ctf, spectrum: Spectrum) -> bool:
    """Whether fringes at the fit resolution are too close for the tiles that were used."""
    delay = 2.0 * wavelength(ctf.voltage) * ctf.defocus / ctf.fit_resolution
    return delay > _DENSE * _span(spectrum)


def _fit(search: _Search, spectrum: Spectrum) -> CtfEstimate:
    model = search.model(spectrum, spectrum.power)
    start, gain = _best_start(search, model)
    if gain < _LEAST_GAIN:
        raise CtfFailed(
            f"no Thon rings found between {search.defoci[0]:.0f} and {search.defoci[-1]:.0f} Å defocus "
            f"(evidence {gain:.1f}, expected {_LEAST_GAIN:.0f} or more): "
            "look at the image, the pixel size and the defocus range"
        )
    model.power = model.flatten_directions(start)
    parameters, _ = model.refine(start, search.free)
    profile, resolution = fit_profile(spectrum, search.optics, parameters, search.lowest)
    ctf = _record(search, parameters, model, resolution, _error(search, spectrum, model, parameters))
    return CtfEstimate(ctf=ctf, profile=profile, spectrum=spectrum_picture(spectrum, ctf, search.lowest))


def _best_start(search: _Search, model: FringeModel) -> tuple[FloatArray, float]:
    """Best of a few refined starts, and its drop of the sum of squares in units of the noise."""
    gains = model.search(search.defoci, search.phases)
    starts = [
        np.array([search.defoci[column], 0.0, 0.0, search.phases[row]]) for row, column in _peaks(gains)
    ]
    tries = [_refine_around(search, model, start) for start in starts]
    inside = [found for found in tries if _inside(search, found[0])]
    if not inside:
        raise CtfFailed("every fit ran out of the defocus range: widen it")
    parameters, cost = min(inside, key=lambda found: found[1])
    smooth = model.solve(np.zeros(model.grid.shape))[2]
    return parameters, (smooth - cost) / model.variance()


def _refine_around(search: _Search, model: FringeModel, start: FloatArray) -> tuple[FloatArray, float]:
    """Best of refinements from ``start`` and from the two likeliest astigmatisms around it."""
    best = model.refine(start, search.free)
    if not search.free[1]:
        return best
    # Fringes at 6 Å move by a quarter from one radius to the next.
    radius = 0.5 * math.pi / (2 * math.pi * wavelength(search.optics.voltage) / _TYPICAL_REACH**2)
    turn = np.exp(0.25j * math.pi * np.arange(8))
    around = (np.arange(1, _RADII + 1)[:, None] * radius * turn).ravel()
    middle = best[0] * np.array([1.0, 0.0, 0.0, 1.0])
    trials = [middle + np.array([0.0, place.real, place.imag, 0.0]) for place in around]
    costs = [model.cost(trial)[2] for trial in trials]
    likeliest = [trials[n] for n in np.argsort(costs)[:2]]
    return min((best, *(model.refine(trial, search.free) for trial in likeliest)), key=lambda found: found[1])


def _peaks(gains: FloatArray) -> list[tuple[int, int]]:
    """The highest local maxima along defocus, best first, at most one per phase and neighbourhood."""
    padded = np.pad(gains, ((0, 0), (1, 1)), constant_values=-np.inf)
    top = (gains >= padded[:, :-2]) & (gains >= padded[:, 2:])
    order = np.argsort(np.where(top, gains, -np.inf), axis=None)[::-1][:_START_PEAKS]
    return [(int(n) // gains.shape[1], int(n) % gains.shape[1]) for n in order]


def _inside(search: _Search, parameters: FloatArray) -> bool:
    step = search.defoci[1] - search.defoci[0] if len(search.defoci) > 1 else 0.0
    return bool(search.defoci[0] - step <= parameters[0] <= search.defoci[-1] + step)


def _error(search: _Search, spectrum: Spectrum, model: FringeModel, parameters: FloatArray) -> float:
    """Error of the mean defocus from the disagreement of sets of tiles, steadied by what noise foretells."""
    left = model.cost(parameters)[2]
    noise = left / max(int((model.weight > 0).sum()), 1)
    steps, covariance = model.respond(parameters, search.free, [model.grid.pool(g) for g in spectrum.groups])
    foretold = _NEIGHBOURS * noise * float(covariance[0, 0])
    count = len(spectrum.groups)
    if count < 2:
        return math.sqrt(foretold)
    apart = steps[:, 0] - spectrum.shares @ steps[:, 0]
    seen = spectrum.between * float(spectrum.shares @ apart**2)
    return math.sqrt((_FORETOLD * foretold + (count - 1) * seen) / (_FORETOLD + count - 1))


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
