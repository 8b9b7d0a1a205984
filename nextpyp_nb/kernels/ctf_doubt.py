"""How far a fitted defocus may be off: by noise, by sets of tiles that disagree, and by fits as likely."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.kernels.fringes import FringeModel
from nextpyp_nb.kernels.spectrum import Spectrum
from nextpyp_nb.records import FloatArray

# Neighbouring points of a tapered spectrum are alike: (N sum w^4 / (sum w^2)^2)^2 for the window of a tile.
NEIGHBOURS = 1.8
# Degrees of freedom that the foretold variance is worth beside that between sets of tiles.
_FORETOLD = 10.0
# Within so many deviations lie 0.9 of a normal distribution.
_DEVIATIONS_OF_90 = 1.645
# Of a walk over the likelihood: its steps, how often it leaps, and what lies within one deviation.
_STEPS, _LEAPS, _ONE_DEVIATION = 1500, 0.4, 0.683
# Where the likelihood is looked at, in deviations that its curvature foretells.
_ASIDE = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)


def noise_error(
    model: FringeModel, spectrum: Spectrum, parameters: FloatArray, free: NDArray[np.bool_]
) -> float:
    """Error (Å) of the mean defocus of a fit: what noise foretells, steadied by how sets of tiles disagree.

    The likelihood of weak rings is broader than the parabola that both take it for: its breadth is measured.
    """
    noise, covariance, steadied = _foretold(model, spectrum, parameters, free)
    way = np.zeros(len(parameters))
    way[free] = covariance[:, 0] / math.sqrt(covariance[0, 0])
    breadth = _breadth(model, parameters, free, way, noise)
    return math.sqrt(float(covariance[0, 0]) * steadied * breadth)


def _foretold(
    model: FringeModel, spectrum: Spectrum, parameters: FloatArray, free: NDArray[np.bool_]
) -> tuple[float, FloatArray, float]:
    """Variance of the power, the covariance of the free parameters that it foretells, and by what it is off.

    The last is the variance of the defocus, steadied by how sets of tiles disagree, over the foretold one.
    """
    noise = NEIGHBOURS * model.noise(model.cost(parameters)[2])
    steps, covariance = model.respond(parameters, free, model.grid.pool(spectrum.groups))
    foretold, count = noise * float(covariance[0, 0]), len(spectrum.groups)
    steadied = 1.0
    if count > 1:
        apart = steps[:, 0] - spectrum.shares @ steps[:, 0]
        seen = spectrum.between * float(spectrum.shares @ apart**2)
        steadied = (_FORETOLD + (count - 1) * seen / foretold) / (_FORETOLD + count - 1)
    return noise, noise * covariance, steadied


def _breadth(
    model: FringeModel, parameters: FloatArray, free: NDArray[np.bool_], way: FloatArray, noise: float
) -> float:
    """Variance of the defocus under its profile likelihood, in units of that along ``way``: at least 1.

    ``way`` is one foretold deviation of the defocus, with what the other parameters do meanwhile.
    """
    others = free.copy()
    others[0] = False
    least = model.cost(parameters)[2]
    aside = np.array([0, *_ASIDE])
    costs = [least]
    for step in _ASIDE:
        place = parameters + step * way
        costs.append(model.refine(place, others, steps=3)[1] if others.any() else model.cost(place)[2])
    likelihood = np.exp((min(costs) - np.array(costs)) / (2.0 * noise))
    return max(1.0, float(likelihood @ aside**2 / likelihood.sum()))


def ambiguity(defoci: Sequence[float], weights: Sequence[float]) -> float:
    """Doubt about the first of ``defoci`` (Å) that others leave: what holds 0.9, as a deviation.

    ``weights`` are likelihoods over that of the first.
    """
    apart = np.abs(np.asarray(defoci) - defoci[0])
    order = np.argsort(apart)
    within = np.cumsum(np.asarray(weights)[order])
    return float(apart[order][np.searchsorted(within, 0.9 * within[-1])]) / _DEVIATIONS_OF_90


def sampled_error(
    model: FringeModel,
    spectrum: Spectrum,
    places: FloatArray,
    free: NDArray[np.bool_],
    lowest: float,
    highest: float,
) -> float:
    """Half width (Å) of what holds 0.68 of the likelihood around the first of ``places`` (n, parameters).

    Weak rings fit many defoci nearly as well, and optima alone do not say how broad each of them is: a walk
    between ``lowest`` and ``highest`` (Å) visits them as often as they are likely. It goes by what curvature
    foretells, and leaps by what lies between two of ``places`` (Metropolis et al. 1953, ter Braak 2006).
    """
    random = np.random.default_rng(0)
    here, cost = places[0], model.cost(places[0])[2]
    noise, covariance, steadied = _foretold(model, spectrum, here, free)
    lengths, directions = np.linalg.eigh(covariance)
    root = directions * np.sqrt(np.maximum(lengths, 0.0))
    steps = np.zeros((_STEPS, len(here)))
    steps[:, free] = random.standard_normal((_STEPS, len(root))) @ root.T
    steps *= 10.0 ** random.uniform(-0.5, 0.5, (_STEPS, 1))
    if len(places) > 1:
        leaps = np.flatnonzero(random.random(_STEPS) < _LEAPS)
        first = random.integers(len(places), size=len(leaps))
        other = first - random.integers(1, len(places), size=len(leaps))
        steps[leaps] = 0.3 * steps[leaps] + places[first] - places[other]
    chances = np.log(random.random(_STEPS))
    apart = np.empty(_STEPS)
    for number, step in enumerate(steps):
        there = model.cost(here + step)[2]
        likelier = chances[number] < (cost - there) / (2.0 * noise)
        if likelier and lowest <= here[0] + step[0] <= highest:
            here, cost = here + step, there
        apart[number] = abs(here[0] - places[0][0])
    return math.sqrt(steadied) * float(np.quantile(apart, _ONE_DEVIATION))
