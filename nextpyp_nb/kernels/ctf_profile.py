"""Curves, resolution and picture that show how far a fitted CTF explains a spectrum."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter, uniform_filter1d

from nextpyp_nb.kernels.ctf import ctf_image, wavelength
from nextpyp_nb.kernels.fourier import bin_image, radial_frequency
from nextpyp_nb.kernels.fringes import FringeModel, Optics
from nextpyp_nb.kernels.spectrum import Spectrum
from nextpyp_nb.records import Ctf, CtfProfile, FloatArray

_SHOWN = 0.49
_GOOD, _FAIR, _PATIENCE = 0.66, 0.5, 3
_PICTURE = 512
_FLATTEN = 24


def whole_model(spectrum: Spectrum, optics: Optics, lowest: float) -> FringeModel:
    """Fringe model of a spectrum up to its Nyquist frequency, for the curves."""
    grid = spectrum.grid(lowest, _SHOWN / spectrum.pixel_size)
    return FringeModel(grid, grid.pool(spectrum.power), optics)


def fit_profile(model: FringeModel, parameters: FloatArray) -> tuple[CtfProfile, float]:
    """Radial and equiphase averages of a spectrum with their fit, and how far the fit holds, Å.

    Curves run over one-pixel bins of the model's rings. Quality is the correlation of equiphase average
    and fit in a window of at least a fringe; the fit holds up to the bin where it falls below 0.5 for
    good. After Rohou & Grigorieff 2015.
    """
    grid, optics = model.grid, model.optics
    background, amplitude, _ = model.solve(model.cosine(parameters)[1])
    flat = (model.power - background) / model.level * model.usable
    width = 2.0 * (grid.frequency[1] - grid.frequency[0])
    n_bins = round((grid.frequency[-1] - grid.frequency[0]) / width) + 1
    frequency = grid.frequency[0] + width * np.arange(n_bins)
    radial = _bin_average(flat, grid.count, np.broadcast_to(grid.frequency, grid.shape), frequency)
    equal = _equiphase_frequency(model, parameters)
    equiphase = _bin_average(flat, grid.count, equal, frequency)
    k2 = frequency**2
    fit = -np.cos(2.0 * optics.phase(k2, parameters[0] * k2, parameters[3]))
    fit *= np.interp(frequency, grid.frequency, model.contrast)
    window = _window_bins(optics, parameters[0], frequency)
    quality = _local_correlation(equiphase, fit, window)
    strength = np.interp(frequency, grid.frequency, amplitude / model.level)
    noise = float(np.std(equiphase - strength * fit))
    scale = 2.0 * np.maximum(strength, 2.0 * noise)
    profile = CtfProfile(
        frequency=frequency.astype(np.float32),
        radial_average=np.clip(0.5 + radial / scale, 0, 1).astype(np.float32),
        equiphase_average=np.clip(0.5 + equiphase / scale, 0, 1).astype(np.float32),
        fit=(0.5 + 0.5 * fit).astype(np.float32),
        quality=np.clip(quality, 0, 1).astype(np.float32),
    )
    return profile, 1.0 / float(frequency[_last_good_bin(quality)])


def _bin_average(values: FloatArray, count: FloatArray, place: FloatArray, frequency: FloatArray) -> Any:
    """Average of polar cells in bins by ``place``, each cell shared between its two nearest bins."""
    position = np.clip((place - frequency[0]) / (frequency[1] - frequency[0]), 0, len(frequency) - 1.001)
    low = np.floor(position).astype(np.int64).ravel()
    part = position.ravel() - low
    total, weight = np.zeros(len(frequency)), np.zeros(len(frequency))
    for number, share in ((low, 1 - part), (low + 1, part)):
        trust = share * count.ravel()
        total += np.bincount(number, trust * values.ravel(), minlength=len(frequency))
        weight += np.bincount(number, trust, minlength=len(frequency))
    return np.asarray(total / np.maximum(weight, 1e-9))


def _equiphase_frequency(model: FringeModel, parameters: FloatArray) -> FloatArray:
    """Frequency at which the mean defocus gives the phase that each cell has."""
    lam = wavelength(model.optics.voltage)
    half = 0.5e7 * lam**2 * model.optics.cs
    defocus = parameters[0]
    phase = model.cosine(parameters)[0] - 2.0 * model.optics.phase(0.0, 0.0, parameters[3])
    target = phase / (2.0 * math.pi * lam)
    # Root of defocus x - half x² = target on the branch that starts at zero.
    root = np.sqrt(np.maximum(defocus**2 - 4.0 * half * target, 0.0))
    return np.asarray(np.sqrt(np.maximum(2.0 * target / (defocus + root), 0.0)))


def _window_bins(optics: Optics, defocus: float, frequency: FloatArray) -> NDArray[np.int64]:
    """Half width in bins of a window that holds a fringe, at least a 40th of the curve."""
    width = frequency[1] - frequency[0]
    fringe = 0.5 / (wavelength(optics.voltage) * defocus * frequency)
    wide = np.maximum(np.rint(0.75 * fringe / width), math.ceil(len(frequency) / 40))
    return np.asarray(wide, np.int64)


def _local_correlation(curve: FloatArray, fit: FloatArray, window: NDArray[np.int64]) -> FloatArray:
    """Normalised correlation of two curves around each bin."""
    place = np.arange(len(curve))
    low, high = np.maximum(place - window, 0), np.minimum(place + window + 1, len(curve))
    n = (high - low).astype(float)

    def mean(values: FloatArray) -> FloatArray:
        running = np.concatenate(([0.0], np.cumsum(values)))
        return np.asarray((running[high] - running[low]) / n)

    a, b = mean(curve), mean(fit)
    covariance = mean(curve * fit) - a * b
    spread = np.sqrt(np.maximum(mean(curve**2) - a * a, 1e-12) * np.maximum(mean(fit**2) - b * b, 1e-12))
    return np.asarray(uniform_filter1d(covariance / spread, 3, mode="nearest"))


def _last_good_bin(quality: FloatArray) -> int:
    """Last bin of the first long stretch of good fit; the first bin where there is none."""
    above = np.flatnonzero(quality > _GOOD)
    if len(above) == 0:
        return 0
    last, poor = int(above[0]), 0
    for number in range(last, len(quality)):
        poor = 0 if quality[number] >= _FAIR else poor + 1
        if poor == 0:
            last = number
        if poor > _PATIENCE:
            break
    return last


def spectrum_picture(spectrum: Spectrum, ctf: Ctf, lowest: float) -> NDArray[np.uint8]:
    """Flattened spectrum at right, fitted CTF² at left up to the fit resolution; uint8 (n, n), y up."""
    size = spectrum.size
    radius = radial_frequency((size, size), spectrum.pixel_size)
    ring = np.rint(radius * np.float32(size * spectrum.pixel_size)).astype(np.intp)
    inner = ring[:, 1:].ravel()
    mean = np.bincount(inner, spectrum.power[:, 1:].ravel()) / np.maximum(np.bincount(inner), 1)
    smooth = gaussian_filter(mean, max(size / 64, 1.0), mode="nearest")
    flat = spectrum.power / np.maximum(smooth, 1e-9).astype(np.float32)[ring] - np.float32(1.0)
    flat[:, 0] = 0.0
    broad, modes = 2 * (size // _FLATTEN) + 1, ("wrap", "nearest")
    flat = gaussian_filter(flat, 1.0, mode=modes)
    flat -= uniform_filter(flat, broad, mode=modes)
    spread = np.sqrt(np.maximum(uniform_filter(flat**2, broad, mode=modes), 0.0))
    data = np.clip(0.5 + 0.2 * flat / np.maximum(spread, 1e-9), 0, 1)
    theory = ctf_image(ctf, shape=(size, size), pixel_size=spectrum.pixel_size) ** 2
    theory[(radius < lowest) | (radius > 1.0 / ctf.fit_resolution)] = 0.5
    right = np.fft.fftshift(data, axes=0)
    left = np.fft.fftshift(theory, axes=0)
    # The left half is the right one turned by 180 degrees about the origin at (n/2, n/2).
    turned = np.roll(left[::-1, ::-1], 1, axis=0)
    picture = np.concatenate((turned[:, :-1], right[:, :-1]), axis=1)
    picture = bin_image(picture, math.ceil(size / _PICTURE))
    return np.asarray(np.rint(255 * picture), np.uint8)
