"""Figures by which a microscopist judges a micrograph."""

import math
from typing import Any

import numpy as np

from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.ctf import wavelength
from nextpyp_nb.kernels.fourier import radial_frequency
from nextpyp_nb.kernels.spectrum import Spectrum, power_spectrum
from nextpyp_nb.records import Ctf, FloatArray, MotionModel

_ICE = (1 / 3.85, 1 / 3.55)
_BESIDE_ICE = ((1 / 4.4, 1 / 4.0), (1 / 3.45, 1 / 3.2))
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
    against the second Thon ring (above 1: much ice), after SIMPLE (Caesar et al. 2020). What cannot be
    known is NaN.
    """
    nan = float("nan")
    early = motion.early(early_dose) if motion else nan
    total = motion.total if motion else nan
    return {
        "total_motion": total,
        "early_motion": early,
        "late_motion": total - early,
        "astigmatism": ctf.astigmatism if ctf else nan,
        "ice_ring": _ice_ring(average, pixel_size, ctf),
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


def _ice_ring(average: Any, pixel_size: float, ctf: Ctf | None) -> float:
    """Height of the ice ring over that of the second Thon ring (or of 10-20 Å), NaN for coarse pixels."""
    if 2 * pixel_size > 1 / _BESIDE_ICE[1][1]:
        return float("nan")
    spectrum = power_spectrum(average, pixel_size=pixel_size, most_tiles=_SAMPLE)
    frequency, amplitude = _radial_amplitude(spectrum)
    beside = np.zeros(len(frequency), bool)
    for low, high in _BESIDE_ICE:
        beside |= (frequency >= low) & (frequency <= high)
    line = np.polyfit(frequency[beside], amplitude[beside], 1)
    rise = amplitude - np.polyval(line, frequency)
    ring = _three_bin_peak(rise[(frequency >= _ICE[0]) & (frequency <= _ICE[1])])
    low, high = _second_ring(ctf)
    level = float(np.polyval(line, np.mean(_ICE)))
    signal = _three_bin_peak(amplitude[(frequency >= low) & (frequency <= high)]) - level
    return ring / signal if signal > 0 else float("nan")


def _radial_amplitude(spectrum: Spectrum) -> tuple[FloatArray, FloatArray]:
    """Frequency and root mean power of one-pixel rings, without the axes."""
    radius = radial_frequency((spectrum.size, spectrum.size))
    ring = np.rint(radius[1:, 1:] * spectrum.size).astype(np.int64).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, spectrum.power[1:, 1:].ravel()) / np.maximum(count, 1)
    half = spectrum.size // 2
    frequency = np.arange(half) / (spectrum.size * spectrum.pixel_size)
    return frequency, np.sqrt(mean[:half])


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
