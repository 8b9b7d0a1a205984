"""CTF estimation against the truth on simulated Thon rings, made by the simulator's own CTF."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from nextpyp_nb.bench.cost import measured
from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.kernels.ctf_fit import CtfFailed, estimate_ctf
from nextpyp_nb.session.quality_limits import QUALITY
from nextpyp_nb.simulate.rings import LEVELS, Rings, draw_rings

GROSS = 500.0
# Beyond these the product alarms.
_LIMITS = {figure.name: figure.limit for figure in QUALITY}
_STAIRS = tuple(float(signal) for signal in np.geomspace(0.05, 1.6, 8))


def bench_ctf(*, spectra: int, side: int = 2048, seed: int = 1, out: Path | None = None) -> int:
    """Fit ``spectra`` micrographs of ``side``² px, half with a phase plate, and compare with the truth."""
    draws = [
        (seed * 1_000_000 + n, level, n % 2 == 1, side)
        for n, level in zip(range(spectra), _cycle(spectra), strict=True)
    ]
    # The signal rises by steps, all else the same: the fit must reach further each time.
    stairs = [(seed * 1_000_000 + n, side) for n in range(max(2, spectra // 200))]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        fits = list(pool.map(_fit_draw, draws, chunksize=4))
        ranks = list(pool.map(_climb, stairs))
    rows = [
        summary([fit for fit in fits if fit["level"] == level and fit["phase_plate"] == plate])
        for level in LEVELS
        for plate in (False, True)
    ]
    columns = ("level", "phase_plate", "n", "rms", "median", "gross", "gross_unflagged", "failed", "covered",
               "astigmatism_median", "phase_median", "cpu_s")  # fmt: skip
    show(rows, columns)
    show([{"n": len(ranks), "spearman": float(np.mean(ranks))}], ("n", "spearman"))
    write_json(out, rows, fits=fits, spearman=ranks, side=side)
    return 0


def _cycle(count: int) -> list[str]:
    """Levels in turn, each with and without phase plate."""
    return [list(LEVELS)[n // 2 % len(LEVELS)] for n in range(count)]


def _fit_draw(draw: tuple[int, str, bool, int]) -> dict[str, Any]:
    number, level, plate, side = draw
    rings = draw_rings(number, signal=LEVELS[level], phase_plate=plate)
    return {"level": level, "phase_plate": plate, "seed": number} | fit_rings(rings, side)


def fit_rings(rings: Rings, side: int) -> dict[str, Any]:
    """Errors of one fit, Å and degrees; ``failed`` says why there is none."""
    truth, image = rings.ctf, rings.image(side)
    try:
        with measured() as cost:
            ctf = estimate_ctf(
                image, pixel_size=rings.pixel_size, voltage=truth.voltage, cs=truth.cs,
                amplitude_contrast=truth.amplitude_contrast, phase_shift=truth.phase_shift > 0,
            ).ctf  # fmt: skip
    except CtfFailed as failure:
        return {"failed": str(failure), "true_defocus": truth.defocus}
    turn = [c.astigmatism * np.exp(2j * math.radians(c.defocus_angle)) for c in (ctf, truth)]
    return {
        "true_defocus": truth.defocus,
        "error": ctf.defocus - truth.defocus,
        "error_bar": ctf.defocus_error,
        "astigmatism_error": abs(turn[0] - turn[1]),
        "phase_error": abs((ctf.phase_shift - truth.phase_shift + 90.0) % 180.0 - 90.0),
        "fit_resolution": ctf.fit_resolution,
        "score": ctf.score,
        "cpu_s": cost["cpu_s"],
    }


def summary(fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of figures; ``rms`` leaves gross errors out, which ``gross`` counts."""
    made = [fit for fit in fits if "error" in fit]
    row: dict[str, Any] = {"n": len(fits), "failed": len(fits) - len(made)}
    row |= {name: fits[0][name] for name in ("level", "phase_plate") if fits}
    if not made:
        return row
    error = np.array([abs(fit["error"]) for fit in made])
    bar = np.array([fit["error_bar"] for fit in made])
    reach = np.array([fit["fit_resolution"] for fit in made])
    doubtful = (bar > _LIMITS["defocus_error"]) | (reach > _LIMITS["fit_resolution"])
    fine = error[error <= GROSS]
    return row | {
        "rms": float(np.sqrt(np.mean(fine**2))) if len(fine) else float("nan"),
        "median": float(np.median(error)),
        "gross": int((error > GROSS).sum()),
        "gross_unflagged": int(((error > GROSS) & ~doubtful).sum()),
        "covered": float((error <= bar).mean()),
        "astigmatism_median": float(np.median([fit["astigmatism_error"] for fit in made])),
        "phase_median": float(np.median([fit["phase_error"] for fit in made])),
        "cpu_s": float(np.mean([fit["cpu_s"] for fit in made])),
    }


def _climb(draw: tuple[int, int]) -> float:
    """Rank correlation of the fit's reach with a signal that rises by steps."""
    number, side = draw
    fits = [fit_rings(draw_rings(number, signal=signal), side) for signal in _STAIRS]
    reach = [1 / fit["fit_resolution"] if "error" in fit else 0.0 for fit in fits]
    return float(spearmanr(_STAIRS, reach).statistic)
