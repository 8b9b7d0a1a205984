"""Micrographs of nothing but Thon rings: noise whose spectrum is shot noise, low frequencies and CTF²."""

from dataclasses import dataclass

import numpy as np
import scipy.fft as sf

from nextpyp_nb.records import Ctf, FloatArray

from .optics import contrast_transfer, envelope, frequencies

LEVELS = {"good": 0.4, "fair": 0.15, "poor": 0.04}
_SPHERICAL = {80.0: 2.0, 200.0: 2.7, 300.0: 2.7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """One such micrograph: its true CTF, pixel size (Å), and signal over shot noise."""

    ctf: Ctf
    pixel_size: float
    signal: float
    seed: int

    def image(self, side: int) -> FloatArray:
        """The micrograph, float32 (side, side), mean 40 counts/px."""
        ky, kx = frequencies((side, side), self.pixel_size)
        k2 = ky**2 + kx**2
        signal = self.signal * (1 + 8 * np.exp(-900 * k2)) * envelope(k2, 60.0) ** 2
        shot = 1 - 0.5 * k2 * self.pixel_size**2
        power = shot + signal * contrast_transfer(ky, kx, self.ctf) ** 2 + 2 * np.exp(-3600 * k2)
        noise = np.random.default_rng([self.seed, 1]).standard_normal((side, side), np.float32)
        ringed = sf.irfft2(sf.rfft2(noise) * np.sqrt(power).astype(np.float32), s=(side, side))
        return np.asarray(40 + np.sqrt(40) * ringed, np.float32)


def draw_rings(seed: int, *, signal: float, phase_plate: bool = False) -> Rings:
    """Rings of 0.5 to 4 µm, astigmatism 0 to 1000 Å, at 80, 200 or 300 kV, drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    voltage = float(rng.choice(list(_SPHERICAL)))
    defocus, half = rng.uniform(5000, 40000), rng.uniform(0, 500)
    ctf = Ctf(
        defocus_u=defocus + half,
        defocus_v=defocus - half,
        defocus_angle=rng.uniform(-90, 90),
        voltage=voltage,
        cs=_SPHERICAL[voltage],
        amplitude_contrast=float(rng.choice([0.07, 0.1])),
        phase_shift=rng.uniform(20, 140) if phase_plate else 0.0,
    )
    return Rings(ctf=ctf, pixel_size=rng.uniform(0.8, 1.5), signal=signal, seed=seed)
