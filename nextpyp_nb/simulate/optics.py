"""Image formation of a weak phase object: wavelength, CTF, envelope, damage and the noise of ice.

Frequencies are cycles/Å on the grid of ``scipy.fft.rfft2``; voltage is kV, Cs mm, defocus Å (under focus
positive), angles degrees counter-clockwise from x with y up.
"""

import numpy as np
import scipy.fft as sf

from nextpyp_nb.records import Ctf, FloatArray

REST_ENERGY = 510.999  # keV
ICE_DENSITY = 0.031  # water molecules/Å³
ICE_POTENTIAL = 4.5  # mean inner potential, V
CARBON_DENSITY = 0.1  # atoms/Å³
CARBON_STRENGTH = 120.0  # V Å³ an atom


def wavelength(voltage: float) -> float:
    """Relativistic electron wavelength, Å."""
    return float(12.39842 / np.sqrt(voltage * (voltage + 2 * REST_ENERGY)))


def interaction_constant(voltage: float) -> float:
    """Phase per projected potential, rad/(V Å): 2π/(λV) (mc² + eV)/(2mc² + eV)."""
    relativistic = (REST_ENERGY + voltage) / (2 * REST_ENERGY + voltage)
    return float(2 * np.pi / (wavelength(voltage) * voltage * 1e3) * relativistic)


def frequencies(shape: tuple[int, int], pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """Frequencies (y, 1) and (1, x) of the half plane of a real image, 1/Å."""
    ky = sf.fftfreq(shape[0], pixel_size).astype(np.float32)[:, None]
    kx = sf.rfftfreq(shape[1], pixel_size).astype(np.float32)[None, :]
    return ky, kx


def contrast_transfer(ky: FloatArray, kx: FloatArray, ctf: Ctf) -> FloatArray:
    """Contrast transfer √(1-A²) sin χ + A cos χ; positive makes matter dark."""
    k2 = ky**2 + kx**2
    angle = np.arctan2(ky, kx) - np.float32(np.deg2rad(ctf.defocus_angle))
    defocus = ctf.defocus + 0.5 * ctf.astigmatism * np.cos(2 * angle)
    length = wavelength(ctf.voltage)
    chi = np.pi * length * defocus * k2 - 0.5 * np.pi * ctf.cs * 1e7 * length**3 * k2**2
    chi += np.deg2rad(ctf.phase_shift)
    amplitude = ctf.amplitude_contrast
    return (np.sqrt(1 - amplitude**2) * np.sin(chi) + amplitude * np.cos(chi)).astype(np.float32)


def envelope(k2: FloatArray, b_factor: float) -> FloatArray:
    """Fall of amplitude exp(-B k²/4) by source, stage and column."""
    return np.exp(-0.25 * b_factor * k2).astype(np.float32)


def survival(k2: FloatArray, dose: float, voltage: float) -> FloatArray:
    """Share of the specimen's amplitude left after a dose (Grant & Grigorieff 2015, scaled with β²)."""
    k = np.sqrt(np.maximum(k2, 1e-6))
    beta2 = 1 - (REST_ENERGY / (REST_ENERGY + voltage)) ** 2
    critical = (0.245 * k**-1.665 + 2.81) * beta2 / 0.603
    return np.exp(-dose / (2 * critical)).astype(np.float32)


def water_memory(k2: FloatArray, dose: float, mobility: float = 0.35) -> FloatArray:
    """Correlation of the ice pattern over a dose; mobility is Å² per e⁻/Å² and axis."""
    return np.exp(-2 * np.pi**2 * k2 * mobility * dose).astype(np.float32)


def ice_noise(k2: FloatArray, thickness: float, voltage: float) -> FloatArray:
    """Amplitude of the phase of amorphous ice, rad Å: correlated water, first peak at 3.7 Å."""
    k = np.sqrt(k2)
    structure = 0.08 + 0.92 / (1 + np.exp((0.21 - k) / 0.02)) + 0.9 * np.exp(-(((k - 0.27) / 0.03) ** 2))
    strength = ICE_POTENTIAL / ICE_DENSITY * interaction_constant(voltage) * np.exp(-k2 / 0.18)
    return (strength * np.sqrt(ICE_DENSITY * thickness * structure)).astype(np.float32)


def carbon_noise(k2: FloatArray, thickness: float, voltage: float) -> FloatArray:
    """Amplitude of the phase of amorphous carbon, rad Å."""
    structure = 0.35 + 0.65 * np.exp(-(((np.sqrt(k2) - 0.25) / 0.12) ** 2))
    strength = CARBON_STRENGTH * interaction_constant(voltage) * np.exp(-k2 / 0.245)
    return (strength * np.sqrt(CARBON_DENSITY * thickness * structure)).astype(np.float32)
