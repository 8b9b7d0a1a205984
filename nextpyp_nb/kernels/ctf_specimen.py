"""What the rings tell of the specimen: its tilt, from defocus over the field, and its thickness."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.fringes import FringeModel
from nextpyp_nb.kernels.polar_grid import polar_grid
from nextpyp_nb.kernels.spectrum import Spectrum, power_spectrum
from nextpyp_nb.records import FloatArray

_FIELDS, _SECTORS = 5, 12
_TILTS, _DIRECTIONS = (12.0, 25.0, 40.0, 55.0), 8
_BEST = 3
_THINNEST, _THICKEST, _STEPS = 200.0, 10000.0, 80
# Drop of the sum of squares in units of the noise that a node must bring (noise brings less than 15).
_LEAST_GAIN = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """Plane of the specimen in degrees: defocus grows 90° counter-clockwise of ``axis`` (from x, y up)."""

    tilt: float
    axis: float
    error: float


def fit_tilt(
    average: Any,
    whole: Spectrum,
    start: FloatArray,
    free: NDArray[np.bool_],
    flat: FringeModel,
    *,
    pixel_size: float,
) -> tuple[Tilt, FloatArray, FringeModel]:
    """Fit a plane of defocus to the spectra of parts of ``average`` (y, x).

    ``start`` is the CTF that the model ``flat`` of the ``whole`` spectrum gave; ``pixel_size`` in Å. Returns
    the tilt, the CTF at the middle of the image and its model: the parameters of ``flat`` and what defocus
    gains along x and y up to the outermost part, Å. After the patches of CTFFIND5 (Elferich et al. 2024),
    as one least-squares fit.
    """
    spectrum = power_spectrum(average, pixel_size=pixel_size, tile=whole.size, fields=_FIELDS)
    band = float(flat.grid.frequency[0]), float(flat.grid.frequency[-1])
    grid = polar_grid(spectrum.size, spectrum.pixel_size, *band, _SECTORS)
    count = len(spectrum.groups)
    stack = grid.stacked(spectrum.shares * count)
    reach = max(float(np.abs(spectrum.places).max()), spectrum.pixel_size)
    power = np.concatenate(grid.pool(spectrum.groups))
    y, x = np.repeat(spectrum.places / reach, _SECTORS, axis=0).T[:, :, None]
    model = FringeModel(stack, power, flat.optics, more=(x * stack.k2, y * stack.k2))
    free = np.append(free, [True, True])
    turn = np.exp(2j * math.pi * np.arange(_DIRECTIONS) / _DIRECTIONS)
    planes = np.append(0.0, (np.tan(np.radians(_TILTS))[:, None] * reach * turn).ravel())
    trials = [np.append(start, [plane.real, plane.imag]) for plane in planes]
    costs = [model.cost(trial)[2] for trial in trials]
    ends = [model.refine(trials[n], free, steps=20) for n in np.argsort(costs)[:_BEST]]
    best, cost = min(ends, key=lambda end: end[1])
    _, covariance = model.respond(best, free, model.power[None])
    slope = best[4:] / reach
    steepness = float(np.hypot(*slope))
    spread = math.sqrt(2.0 * model.noise(cost) * 0.5 * np.trace(covariance[-2:, -2:])) / reach
    tilt = Tilt(
        tilt=math.degrees(math.atan(steepness)),
        axis=math.degrees(math.atan2(-slope[0], slope[1])),
        error=math.degrees(spread / (1.0 + steepness**2)),
    )
    return tilt, best, model


def node_contrast(frequency: FloatArray, thickness: float, voltage: float) -> FloatArray:
    """Contrast of the fringes of a slab of ``thickness`` Å: sinc of lambda k² t (Tichelaar et al. 2020)."""
    return np.asarray(np.sinc(wavelength(voltage) * frequency**2 * thickness))


def fit_thickness(
    model: FringeModel, parameters: FloatArray, free: NDArray[np.bool_]
) -> tuple[float | None, FloatArray]:
    """Thickness in Å from the nodes of the fringes (None where no node is seen), and the CTF refined to it.

    Leaves the nodes in ``model``. After CTFFIND5 (Elferich et al. 2024), as part of the least-squares fit.
    """
    plain, start = model.cost(parameters)[2], parameters
    thicknesses = np.geomspace(_THINNEST, _THICKEST, _STEPS)
    thickness = float(thicknesses[np.argmin([_cost(model, start, t) for t in thicknesses])])
    ratio = float(thicknesses[1] / thicknesses[0])
    for _ in range(2):
        _cost(model, parameters, thickness)
        parameters, _ = model.refine(parameters, free)
        low, middle, high = (_cost(model, parameters, thickness * ratio**n) for n in (-1, 0, 1))
        bend = low - 2.0 * middle + high
        move = 0.5 * (low - high) / bend if bend > 0 else 0.0
        thickness *= ratio ** float(np.clip(move, -1.0, 1.0))
    if plain - _cost(model, parameters, thickness) < _LEAST_GAIN * model.noise(plain):
        model.contrast = np.ones(model.grid.shape[1])
        return None, start
    return thickness, parameters


def _cost(model: FringeModel, parameters: FloatArray, thickness: float) -> float:
    model.contrast = node_contrast(model.grid.frequency, thickness, model.optics.voltage)
    return model.cost(parameters)[2]
