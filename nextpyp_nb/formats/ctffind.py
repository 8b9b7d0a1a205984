"""CTF results as CTFFIND 4 writes them: the numbers, the curves, and the picture of the spectrum."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.records import Ctf, CtfProfile


def write_ctffind(
    target: Path,
    ctf: Ctf,
    profile: CtfProfile,
    spectrum: NDArray[np.uint8],
    *,
    micrograph: str,
    pixel_size: float,
    specimen: tuple[float, float, float] | None = None,
) -> None:
    """Write ``target`` (.mrc, the spectrum), its .txt and _avrot.txt; ``pixel_size`` (Å) of the image.

    ``specimen`` is what CTFFIND 5 adds: tilt axis and tilt in degrees, thickness in Å, 0 where not found.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(target, spectrum.astype(np.float32) / 255.0, pixel_size=pixel_size)
    head = (
        f"# Output as of CTFFIND version 4\n# Input file: {micrograph} ; Number of micrographs: 1\n"
        f"# Pixel size: {pixel_size:.3f} Angstroms ; acceleration voltage: {ctf.voltage:.1f} keV ; spherical "
        f"aberration: {ctf.cs:.2f} mm ; amplitude contrast: {ctf.amplitude_contrast:.2f}\n"
    )
    more = "".join(f" {value:.6f}" for value in specimen or ())
    names = _NUMBERS + (_SPECIMEN if specimen else "")
    target.with_suffix(".txt").write_text(f"{head}{names}\n{_number_line(ctf)}{more}\n")
    curves = np.stack(
        [
            profile.frequency * pixel_size,
            profile.radial_average,
            profile.equiphase_average,
            profile.fit,
            profile.quality,
            _chance(profile),
        ]
    )
    with target.with_name(f"{target.stem}_avrot.txt").open("w") as file:
        file.write(head + _CURVES)
        np.savetxt(file, curves, fmt="%.6f")


_NUMBERS = (
    "# Columns: #1 - micrograph number; #2 - defocus 1 [Angstroms]; #3 - defocus 2; #4 - azimuth of "
    "astigmatism; #5 - additional phase shift [radians]; #6 - cross correlation; #7 - spacing (in Angstroms) "
    "up to which CTF rings were fit successfully"
)
_SPECIMEN = (
    "; #8 - tilt axis angle [degrees]; #9 - tilt angle [degrees]; #10 - sample thickness [Angstroms] "
    "(0 where it was not found)"
)
_CURVES = (
    "# 6 lines per micrograph: #1 - spatial frequency (1/pixel); #2 - 1D rotational average of spectrum "
    "(assuming no astigmatism); #3 - 1D rotational average of spectrum; #4 - CTF fit; #5 - cross-correlation "
    "between spectrum and CTF fit; #6 - 2sigma of expected cross correlation of noise\n"
)


def _number_line(ctf: Ctf) -> str:
    shift = math.radians(ctf.phase_shift)
    return (
        f"1.000000 {ctf.defocus_u:.6f} {ctf.defocus_v:.6f} {ctf.defocus_angle:.6f} "
        f"{shift:.6f} {ctf.score:.6f} {ctf.fit_resolution:.6f}"
    )


def _chance(profile: CtfProfile) -> NDArray[np.float64]:
    """Twice the deviation of a correlation over a ring of noise."""
    rings = profile.frequency / (profile.frequency[1] - profile.frequency[0])
    return np.asarray(2.0 / np.sqrt(np.maximum(math.pi * rings, 4.0)), np.float64)
