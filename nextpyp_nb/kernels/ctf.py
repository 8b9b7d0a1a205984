"""The contrast transfer function: one formula, on a curve or on the half-plane of a real FFT."""

import math
from typing import Any

import numpy as np

from nextpyp_nb.records import Ctf, FloatArray

_MM_TO_ANGSTROM = 1e7


def wavelength(voltage: float) -> float:
    """Relativistic electron wavelength in Å for ``voltage`` in kV (CODATA 2018 constants)."""
    volts = 1e3 * voltage
    return 12.264259 / math.sqrt(volts * (1.0 + 0.97847563e-6 * volts))


def _transfer(
    k2: Any,
    defocus: Any,
    *,
    voltage: float,
    cs: float,
    amplitude_contrast: float,
    phase_shift: float,
    xp: Any,
) -> Any:
    """sin(chi + arcsin w) over squared frequencies ``k2`` (1/Å²); ``defocus`` may vary with ``k2``."""
    lam = wavelength(voltage)
    offset = math.radians(phase_shift) + math.asin(amplitude_contrast)
    aberration = 0.5 * lam**2 * cs * _MM_TO_ANGSTROM
    return xp.sin(math.pi * lam * k2 * (defocus - aberration * k2) + offset)


def ctf_1d(
    frequency: FloatArray,
    *,
    defocus: float,
    voltage: float,
    cs: float,
    amplitude_contrast: float,
    phase_shift: float = 0.0,
) -> FloatArray:
    """CTF at ``frequency`` (any shape, 1/Å) as float32 of that shape.

    Defocus in Å, positive under focus; voltage kV, cs mm, phase shift degrees. Positive at low
    frequency under focus, as in RELION: an image with protein bright is CTF x projection.
    """
    k = np.asarray(frequency, np.float64)
    curve = _transfer(
        k * k,
        defocus,
        voltage=voltage,
        cs=cs,
        amplitude_contrast=amplitude_contrast,
        phase_shift=phase_shift,
        xp=np,
    )
    return np.asarray(curve, np.float32)


def ctf_image(ctf: Ctf, *, shape: tuple[int, int], pixel_size: float, xp: Any = np) -> Any:
    """CTF of a (y, x) image of ``shape`` px, float32 (ny, nx//2+1) in rfft layout on device ``xp``.

    ``pixel_size`` in Å. Defocus U lies along ``ctf.defocus_angle``, counter-clockwise from x with y
    up (row 0 at the bottom). Sign as in ``ctf_1d``.
    """
    ny, nx = shape
    ky = xp.fft.fftfreq(ny, pixel_size).astype(xp.float32)[:, None]
    kx = xp.fft.rfftfreq(nx, pixel_size).astype(xp.float32)[None, :]
    k2 = kx * kx + ky * ky
    twice = 2.0 * math.radians(ctf.defocus_angle)
    # cos 2(a - angle) k² without an arctangent: cos 2a k² = kx² - ky², sin 2a k² = 2 kx ky.
    along = math.cos(twice) * (kx * kx - ky * ky) + (2.0 * math.sin(twice)) * (kx * ky)
    mean_defocus = ctf.defocus + 0.5 * ctf.astigmatism * along / xp.maximum(k2, xp.float32(1e-20))
    image = _transfer(
        k2,
        mean_defocus,
        voltage=ctf.voltage,
        cs=ctf.cs,
        amplitude_contrast=ctf.amplitude_contrast,
        phase_shift=ctf.phase_shift,
        xp=xp,
    )
    return image.astype(xp.float32)
