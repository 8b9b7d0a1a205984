"""Least-squares model of a power spectrum on a polar grid: smooth background + smooth amplitude x fringes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import binary_dilation, binary_opening, median_filter

from nextpyp_nb.kernels._cpu_fringes import RIDGE, fit_rings, normal_matrix, ring_sums, slope_sums
from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.polar_grid import PolarGrid
from nextpyp_nb.records import FloatArray

_BACKGROUND_KNOTS = 14
_AMPLITUDE_KNOTS = 6
_NEGATIVE = 2.0
# Steps of the amplitude from knot to knot that are usual, in units of the noise; and once the power is flat.
UNEVEN, UNEVEN_FLAT = 1.0, 0.3
_ICE_WINDOW, _ICE_CONTRAST, _ICE_FROM = 81, 5.0, 1 / 6


def spline_basis(frequency: FloatArray, knots: int) -> FloatArray:
    """Cubic B-splines (frequency, knots), denser at low frequency."""
    place = np.sqrt(frequency)
    place = (place - place[0]) / (place[-1] - place[0])
    edges = np.concatenate(([0.0] * 3, np.linspace(0, 1, knots - 2), [1.0] * 3))
    return np.asarray(BSpline.design_matrix(np.clip(place, 0, 1), edges, 3).toarray())


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """What turns defocus into phase: kV, mm, and the constant phase of the amplitude contrast."""

    voltage: float
    cs: float
    amplitude_contrast: float

    def phase(self, k2: Any, defocus_k2: Any, shift: float = 0.0) -> Any:
        """Chi in radians from k² and defocus x k² (which may vary with direction)."""
        lam = wavelength(self.voltage)
        aberration = 0.5e7 * lam**2 * self.cs * k2 * k2
        return math.pi * lam * (defocus_k2 - aberration) + math.asin(self.amplitude_contrast) + shift


class FringeModel:
    """P = N(k) - A(k) cos 2 chi, that is N' + 2 A CTF², with N and A solved for at every chi.

    Parameters are (mean defocus, cos and sin part of half the astigmatism, Å; phase shift, radians), then
    one for each of ``more``: what it adds to defocus x k² on the grid. ``contrast`` (rings) scales the
    fringes. Weights are inverse variances of a periodogram, so the fit is close to maximum likelihood.
    """

    def __init__(
        self,
        grid: PolarGrid,
        power: FloatArray,
        optics: Optics,
        tolerance: float = 0.0,
        more: Sequence[FloatArray] = (),
        uneven: float = UNEVEN,
    ) -> None:
        self.grid, self.optics = grid, optics
        self.contrast: FloatArray = np.ones(grid.shape[1])
        self.bare = 2.0 * optics.phase(grid.k2, 0.0)
        scale = 2 * math.pi * wavelength(optics.voltage)
        # Derivatives of 2 chi by the parameters.
        lengths = [scale * part for part in (grid.k2, grid.k2_cos, grid.k2_sin, *more)]
        self.arms = np.stack([*lengths[:3], np.full(grid.shape, 2.0), *lengths[3:]])
        B = self.background_basis = spline_basis(grid.frequency, _BACKGROUND_KNOTS)
        A = self.amplitude_basis = spline_basis(grid.frequency, _AMPLITUDE_KNOTS)
        # Products of their columns (frequency, all pairs): a normal matrix is one product with these.
        self.crossed = (B[:, :, None] * A[:, None, :]).reshape(len(A), -1)
        self.squared = (A[:, :, None] * A[:, None, :]).reshape(len(A), -1)
        rings = grid.count.sum(axis=0)
        mean = (grid.count * power).sum(axis=0) / np.maximum(rings, 1)
        self.usable = ~_crystalline(grid.frequency, mean)
        rings = rings * self.usable
        floor = 0.1 * float(np.median(mean))
        trust = rings / np.maximum(mean, floor) ** 2
        smooth = self.background_basis @ _solve(self.background_basis, trust, trust * mean)
        self.level = np.maximum(smooth, floor)
        self.weight = grid.count * self.usable / self.level**2
        self.ring_weight = self.weight.sum(axis=0)
        self.smooth = B.T @ (self.ring_weight[:, None] * B)
        self.power = power
        self.prior, self.evenness = 0.0, np.zeros((_AMPLITUDE_KNOTS, _AMPLITUDE_KNOTS))
        variance = self.variance()
        self.prior = variance / (0.5 * tolerance) ** 2 if tolerance > 0 else 0.0
        # Before the first fringe amplitude and background are alike: there it goes on as beside it.
        step = np.diff(np.eye(_AMPLITUDE_KNOTS), axis=0) / (uneven * float(np.median(self.level)))
        self.evenness = variance * step.T @ step

    @property
    def power(self) -> FloatArray:
        """Mean power of each cell, (sectors, rings)."""
        return self._power

    @power.setter
    def power(self, power: FloatArray) -> None:
        self._power, self._pull = power, self.weight * power
        self._square = float((self._pull * power).sum())
        self._pulled = self.background_basis.T @ self._pull.sum(axis=0)

    def cosine(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """2 chi and the fringes -cos 2 chi on the grid."""
        twice = self.bare + np.tensordot(parameters, self.arms, 1)
        return twice, -np.cos(_less_whole_turns(twice)) * self.contrast

    def solve(self, fringe: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Background and amplitude per ring, and the weighted sum of squares left."""
        return self._solved(self._sums(fringe))

    def _sums(self, fringe: FloatArray) -> FloatArray:
        """As `ring_sums`, of any fringes (sectors, rings)."""
        weighted = self.weight * fringe
        return np.stack(
            [weighted.sum(axis=0), (weighted * fringe).sum(axis=0), (self._pull * fringe).sum(axis=0)]
        )

    def _solved(self, sums: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        background, amplitude, explained = fit_rings(
            sums, self._pulled, *self._splines, self.background_basis, self.amplitude_basis
        )
        return background, amplitude, self._square - explained

    @property
    def _splines(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """What `normal_matrix` takes beside sums."""
        return self.smooth, self.evenness, self.crossed, self.squared

    def rest(self, fringe: FloatArray) -> FloatArray:
        """The weighted sum of squares left in each ring (frequency,), as ``solve`` fits all of them."""
        background, amplitude, _ = self.solve(fringe)
        return np.asarray((self.weight * (self.power - background - amplitude * fringe) ** 2).sum(axis=0))

    def _project(self, fringe: FloatArray, power: FloatArray) -> FloatArray:
        """Weighted products of ``power`` with the columns of background and amplitude."""
        weighted = self.weight * power
        return np.concatenate(
            (
                self.background_basis.T @ weighted.sum(axis=0),
                self.amplitude_basis.T @ (weighted * fringe).sum(axis=0),
            )
        )

    def respond(
        self, parameters: FloatArray, free: NDArray[np.bool_], powers: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """How far each of ``powers`` alone moves the free parameters, (powers, free), and their covariance.

        One Gauss-Newton step, background and amplitude free; covariance for unit variance of the power.
        """
        twice, fringe = self.cosine(parameters)
        background, amplitude, _ = self.cost(parameters)
        amplitude = np.maximum(amplitude, 0.0)
        _, curvature = self.slope(parameters, background, amplitude)
        arms = (amplitude * self.contrast * np.sin(twice) * self.arms)[free]
        cross = np.stack([self._project(fringe, arm) for arm in arms])
        weighted, squared, _ = self._sums(fringe)
        normal = normal_matrix(weighted, squared, *self._splines)
        matrix = np.block([[normal, cross.T], [cross, curvature[np.ix_(free, free)]]])
        inverse = np.linalg.pinv(matrix, hermitian=True)[-len(arms) :]
        fit = background + amplitude * fringe
        flat = (arms * self.weight).reshape(len(arms), -1)
        steps = [
            inverse @ np.append(self._project(fringe, rest), flat @ rest.ravel())
            for rest in (power - fit for power in powers)
        ]
        return np.array(steps), inverse[:, -len(arms) :]

    def cost(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """As ``solve``, with negative amplitudes punished and the astigmatism restrained."""
        parameters = np.asarray(parameters, float)
        sums = ring_sums(self.bare, self.arms, parameters, self.contrast, self.weight, self._pull)
        background, amplitude, left = self._solved(sums)
        negative = 0.5 * float(np.minimum(amplitude, 0.0) ** 2 @ self.ring_weight)
        restraint = self.prior * float(parameters[1] ** 2 + parameters[2] ** 2)
        return background, amplitude, left + _NEGATIVE * negative + restraint

    def variance(self) -> float:
        """Relative variance of the power per spectrum point, from what a smooth background leaves."""
        _, _, left = self.solve(np.zeros(self.grid.shape))
        return self.noise(left)

    def noise(self, left: float) -> float:
        """Relative variance of the power per spectrum point from the sum of squares ``left``."""
        return left / max(int((self.weight > 0).sum()), 1)

    def search(self, defocus: FloatArray, phases: FloatArray) -> FloatArray:
        """Drop of the sum of squares (phase, defocus) without astigmatism, negative amplitudes punished."""
        w, root = self.ring_weight, np.sqrt(self.ring_weight)
        power = self._pull.sum(axis=0) / np.maximum(root, 1e-12)
        smooth, _ = np.linalg.qr(root[:, None] * self.background_basis)
        power = root * (power - smooth @ (smooth.T @ power))
        k2 = self.grid.frequency**2
        twice = _less_whole_turns(2.0 * self.optics.phase(k2, np.multiply.outer(defocus, k2)))
        # A phase shift turns the fringes of none and those a quarter further into each other.
        sides = [-np.cos(twice), np.sin(twice)]
        rights = [side @ (power[:, None] * self.amplitude_basis) for side in sides]
        # Products of the columns of the amplitude, less what a background explains.
        columns = (root[:, None] * smooth)[:, :, None] * self.amplitude_basis[:, None, :]
        explained = [(side @ columns.reshape(len(k2), -1)).reshape(-1, *columns.shape[1:]) for side in sides]

        def products(one: int, other: int) -> FloatArray:
            whole = ((sides[one] * sides[other]) @ (w[:, None] * self.squared)).reshape(
                -1, *self.evenness.shape
            )
            return np.asarray(whole - explained[one].transpose(0, 2, 1) @ explained[other])

        squares, cross = [products(0, 0), products(1, 1)], products(0, 1)
        cross += cross.transpose(0, 2, 1)
        gains = np.empty((len(phases), len(defocus)))
        for row, shift in enumerate(phases):
            c, q = math.cos(2.0 * shift), math.sin(2.0 * shift)
            right = c * rights[0] + q * rights[1]
            matrix = c * c * squares[0] + c * q * cross + q * q * squares[1] + self.evenness
            diagonal = np.einsum("dkk->d", matrix)[:, None, None] * np.eye(matrix.shape[1])
            found = np.linalg.solve(matrix + 1e-6 * diagonal, right[:, :, None])[:, :, 0]
            negative = np.minimum(found @ self.amplitude_basis.T, 0.0) ** 2 @ (0.5 * _NEGATIVE * w)
            gains[row] = (found * right).sum(axis=1) - negative
        return gains

    def refine(self, start: FloatArray, free: NDArray[np.bool_], steps: int = 12) -> tuple[FloatArray, float]:
        """Levenberg-Marquardt on the ``free`` parameters; returns them and the cost."""
        parameters = np.asarray(start, float)
        background, amplitude, cost = self.cost(parameters)
        damping = 1e-3
        for _ in range(steps):
            gradient, curvature = self.slope(parameters, background, np.maximum(amplitude, 0.0))
            gradient, curvature = gradient[free], curvature[np.ix_(free, free)]
            for _ in range(6):
                step = np.zeros(len(parameters))
                damped = curvature + damping * np.diag(np.diag(curvature) + 1e-12)
                step[free] = np.linalg.solve(damped, gradient)
                trial = self.cost(parameters + step)
                if trial[2] < cost:
                    break
                damping = max(8 * damping, 1e-2)
            else:
                break
            parameters = parameters + step
            background, amplitude, cost = trial
            damping *= 0.3
            if np.abs(np.delete(step, 3)).max() < 0.5 and abs(step[3]) < 1e-3:
                break
        return parameters, cost

    def slope(
        self, parameters: FloatArray, background: FloatArray, amplitude: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Half the negative gradient of the cost and its Gauss-Newton curvature by the parameters."""
        gradient, curvature = slope_sums(
            self.bare, self.arms, np.asarray(parameters, float), self.contrast, self.weight, self.power,
            background, amplitude,
        )  # fmt: skip
        gradient[1:3] -= self.prior * parameters[1:3]
        curvature[[1, 2], [1, 2]] += self.prior
        return gradient, curvature

    def flatten_directions(self, parameters: FloatArray) -> FloatArray:
        """The power without its smooth twofold anisotropy, such as drift leaves."""
        g = self.grid
        _, fringe = self.cosine(parameters)
        background, amplitude, _ = self.solve(fringe)
        power = self.power.copy()
        rest = power - background - amplitude * fringe
        for part in (g.k2_cos, g.k2_sin):
            direction = part / np.maximum(g.k2, 1e-12)
            trust = (self.weight * direction**2).sum(axis=0)
            found = _solve(self.amplitude_basis, trust, (self.weight * direction * rest).sum(axis=0))
            power -= (self.amplitude_basis @ found) * direction
        return power


def _less_whole_turns(angle: FloatArray) -> FloatArray:
    """Radians between -pi and pi as float32, whose sines are had for an eighth of the time."""
    return np.asarray(angle - 2.0 * math.pi * np.rint(angle * (0.5 / math.pi)), np.float32)


def _crystalline(frequency: FloatArray, mean: FloatArray) -> NDArray[np.bool_]:
    """Rings that stand out as ice crystals do: fringes stay within 1.5 median deviations around them."""
    ratio = mean / np.maximum(median_filter(mean, _ICE_WINDOW, mode="nearest"), 1e-12) - 1.0
    usual = median_filter(np.abs(ratio), _ICE_WINDOW, mode="nearest")
    sharp = (np.abs(ratio) > _ICE_CONTRAST * usual) & (frequency > _ICE_FROM)
    return np.asarray(binary_dilation(binary_opening(sharp, iterations=1), iterations=3))


def _solve(basis: FloatArray, weight: FloatArray, right: FloatArray) -> FloatArray:
    """Weighted least squares of a spline, lightly damped."""
    matrix = basis.T @ (weight[:, None] * basis)
    matrix[np.diag_indices(len(matrix))] += RIDGE * np.trace(matrix) / len(matrix)
    return np.asarray(np.linalg.solve(matrix, basis.T @ right))
