"""Figures by which a microscopist judges a micrograph."""

import math
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.fourier import radial_frequency
from nextpyp_nb.kernels.spectrum import power_spectrum
from nextpyp_nb.records import Ctf, FloatArray, MotionModel

_ICE = (1 / 3.85, 1 / 3.55)
_BESIDE_ICE = ((1 / 4.4, 1 / 4.0), (1 / 3.45, 1 / 3.2))
_WATER = (1 / 4.2, 1 / 3.4)
_BEYOND_WATER = (1 / 3.1, 1 / 2.8)
_SAMPLE = 9
_FIELDS = 8


def micrograph_quality(
    average: Any,
    *,
    pixel_size: float,
    motion: MotionModel | None,
    ctf: Ctf | None,
    mean_dose: float,
    early_dose: float = 4.0,
) -> dict[str, float]:
    """Figures of the unweighted ``average`` (y, x): motions and astigmatism in Å, doses in e⁻/px/frame.

    ``dose_evenness`` is the spread of the mean between an eighth by an eighth of the field, as a share of
    the mean. ``ice_ring`` is the height of the 3.7 Å ring of crystalline ice over its surroundings
    against the second Thon ring (above 1: much ice), after SIMPLE (Caesar et al. 2020). ``ice_thickness``
    is the power where water is strongest, around 3.7 Å, over the noise at 3 Å: it grows with the thickness
    at the same microscope and dose. What cannot be known is NaN.
    """
    rings = _radial_amplitude(average, pixel_size)
    nan = float("nan")
    early = motion.early(early_dose) if motion else nan
    total = motion.total if motion else nan
    return {
        "total_motion": total,
        "early_motion": early,
        "late_motion": total - early,
        "astigmatism": ctf.astigmatism if ctf else nan,
        "ice_ring": _ice_ring(*rings, ctf),
        "ice_thickness": _ice_thickness(*rings),
        "mean_dose": float(mean_dose),
        "dose_evenness": _dose_evenness(average),
    }


def _dose_evenness(average: Any) -> float:
    height, width = (max(length // _FIELDS, 1) for length in average.shape)
    rows, columns = average.shape[0] // height, average.shape[1] // width
    fields = average[: rows * height, : columns * width].reshape(rows, height, columns, width)
    means = to_numpy(fields.mean(axis=(1, 3)))
    level = float(means.mean())
    return float(means.std() / abs(level)) if level else float("nan")


def _radial_amplitude(average: Any, pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """Frequency and root mean power of one-pixel rings, without the axes."""
    spectrum = power_spectrum(average, pixel_size=pixel_size, most_tiles=_SAMPLE)
    radius = radial_frequency((spectrum.size, spectrum.size))
    ring = np.rint(radius[1:, 1:] * spectrum.size).astype(np.int64).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, spectrum.power[1:, 1:].ravel()) / np.maximum(count, 1)
    half = spectrum.size // 2
    frequency = np.arange(half) / (spectrum.size * spectrum.pixel_size)
    return frequency, np.sqrt(mean[:half])


def _rise(
    frequency: FloatArray, curve: FloatArray, beside: tuple[tuple[float, float], ...]
) -> tuple[FloatArray, FloatArray]:
    """A curve above the straight line through the bands ``beside``, and that line."""
    chosen = np.zeros(len(frequency), bool)
    for low, high in beside:
        chosen |= (frequency >= low) & (frequency <= high)
    line = np.polyval(np.polyfit(frequency[chosen], curve[chosen], 1), frequency)
    return curve - line, line


def _ice_ring(frequency: FloatArray, amplitude: FloatArray, ctf: Ctf | None) -> float:
    """Height of the ice ring over that of the second Thon ring (or of 10-20 Å), NaN for coarse pixels."""
    if frequency[-1] < _BESIDE_ICE[1][1]:
        return float("nan")
    rise, line = _rise(frequency, amplitude, _BESIDE_ICE)
    ring = _three_bin_peak(rise[(frequency >= _ICE[0]) & (frequency <= _ICE[1])])
    low, high = _second_ring(ctf)
    level = float(np.interp(np.mean(_ICE), frequency, line))
    signal = _three_bin_peak(amplitude[(frequency >= low) & (frequency <= high)]) - level
    return ring / signal if signal > 0 else float("nan")


def _ice_thickness(frequency: FloatArray, amplitude: FloatArray) -> float:
    """Median power between 4.2 and 3.4 Å over that of finer detail, less 1; NaN for coarse pixels."""
    beyond = (frequency >= _BEYOND_WATER[0]) & (frequency <= _BEYOND_WATER[1])
    if frequency[-1] < _BEYOND_WATER[0] or not beyond.any():
        return float("nan")
    # Medians leave sharp rings of crystals out.
    level = float(np.median(amplitude[beyond] ** 2))
    water = (frequency >= _WATER[0]) & (frequency <= _WATER[1])
    return float(np.median(amplitude[water] ** 2)) / level - 1.0 if level > 0 else float("nan")


def _three_bin_peak(curve: FloatArray) -> float:
    """Highest mean of three neighbours."""
    return (
        float(np.convolve(curve, np.full(3, 1 / 3), mode="valid").max()) if len(curve) >= 3 else float("nan")
    )


def _second_ring(ctf: Ctf | None) -> tuple[float, float]:
    """Frequencies between the first and second zero of the CTF, spherical aberration left out."""
    if ctf is None:
        return 1 / 20, 1 / 10
    spare = math.asin(ctf.amplitude_contrast) + math.radians(ctf.phase_shift)
    scale = math.pi * wavelength(ctf.voltage) * ctf.defocus
    first, second = (math.sqrt(max(n * math.pi - spare, 0.0) / scale) for n in (1, 2))
    return first, min(second, _BESIDE_ICE[0][0])
