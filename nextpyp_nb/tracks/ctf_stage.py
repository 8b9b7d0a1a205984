"""CTF of one micrograph: fit, curves and spectrum."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.kernels.ctf_fit import CtfFailed, estimate_ctf
from nextpyp_nb.records import Ctf
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings

# Stretch that motion correction leaves in a sum of frames, as a share of the defocus it feigns.
_STRETCH = 7e-4


def fit_ctf(
    average: Any, pixel_size: float, places: Places, settings: Settings, n_frames: int, rest: Any = None
) -> dict[str, Any]:
    """Fit the CTF of an average of ``n_frames``; curves and fit lie in ``places``, numbers are returned.

    Or of unaligned sums of some of them (n, y, x), whose spectra are averaged. ``rest`` are the further sums
    of `sum_frames`.
    """
    scope = settings.microscope
    try:
        fitted = estimate_ctf(
            average,
            rest=rest,
            pixel_size=pixel_size,
            voltage=scope.voltage,
            cs=scope.cs,
            amplitude_contrast=scope.amplitude_contrast,
            **settings.ctf.model_dump(exclude={"from_frames"}),
        )
    except CtfFailed as failure:
        write_arrays(places("ctf"), reason=np.array(str(failure)))
        fit = dict.fromkeys(("defocus_u", "defocus_v", "defocus_angle", "phase_shift"), None)
        return fit | {"fit_resolution": None, "ctf_score": None, "defocus_error": None,
                      "tilt": None, "tilt_axis": None, "thickness": None,
                      "ctf_failed": str(failure), "ctf": None}  # fmt: skip
    ctf = fitted.ctf
    if n_frames > 1:
        ctf = replace(ctf, defocus_error=math.hypot(ctf.defocus_error, _STRETCH * ctf.defocus))
    specimen = {
        "tilt": fitted.tilt and fitted.tilt.tilt,
        "tilt_axis": fitted.tilt and fitted.tilt.axis,
        "thickness": fitted.thickness,
    }
    known = {name: np.float64(value) for name, value in specimen.items() if value is not None}
    write_arrays(places("ctf"), spectrum=fitted.spectrum, **asdict(fitted.profile), **asdict(ctf), **known)
    return {
        "defocus_u": ctf.defocus_u,
        "defocus_v": ctf.defocus_v,
        "defocus_angle": ctf.defocus_angle,
        "phase_shift": ctf.phase_shift,
        "fit_resolution": ctf.fit_resolution,
        "ctf_score": ctf.score,
        "defocus_error": ctf.defocus_error,
        "ctf_failed": None,
        "ctf": ctf,
    } | specimen


def read_ctf(places: Places) -> Ctf | None:
    """The CTF of a micrograph as it was fitted, None where the fit failed."""
    stored = read_arrays(places("ctf"))
    if "defocus_u" not in stored:
        return None
    return Ctf(**{name: float(stored[name]) for name in Ctf.__dataclass_fields__})


def specimen_numbers(stored: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Tilt axis, tilt and thickness of a stored fit, 0 where one was not found; None where none was."""
    names = ("tilt_axis", "tilt", "thickness")
    if not any(name in stored for name in names):
        return None
    axis, tilt, thickness = (float(stored.get(name, 0.0)) for name in names)
    return axis, tilt, thickness
