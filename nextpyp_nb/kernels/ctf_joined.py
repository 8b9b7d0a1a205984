"""One power spectrum of several sums over the same frames."""

from dataclasses import replace

import numpy as np

from nextpyp_nb.kernels.backend import array_module
from nextpyp_nb.kernels.ctf_profile import whole_model
from nextpyp_nb.kernels.fourier import radial_frequency
from nextpyp_nb.kernels.fringes import Optics
from nextpyp_nb.kernels.spectrum import Spectrum
from nextpyp_nb.records import FloatArray

# Fringes are taken to be at least so strong, as a share of the background: some rings show none.
_FAINT = 1e-3
# A background is at least this share of the mean power: below the first fringe it is ill defined.
_LEAST = 0.3


def joined(
    spectrum: Spectrum, others: Spectrum, times: int, optics: Optics, lowest: float, parameters: FloatArray
) -> Spectrum:
    """One flat spectrum of that of a mean of frames and the mean of ``times`` others, of the same tiles.

    Each ring takes from both as much as makes the fringes of the CTF with ``parameters`` stand out best: what
    stays the same from frame to frame is in the first, what moves, such as water, in all.
    """
    at = radial_frequency((spectrum.size, spectrum.size), spectrum.pixel_size)
    flat, heights = [], []
    for one in (spectrum, others):
        model = whole_model(one, optics, lowest)
        rings = model.grid.frequency
        # Flat by the background alone: mean power holds the first fringe, which division would bend.
        background, amplitude, _ = model.cost(parameters)
        background = np.maximum(background, _LEAST * model.level)
        heights.append(amplitude / background)
        level = np.interp(at, rings, background).astype(np.float32)
        flat.append((one.power / level, one.groups / array_module(one.groups).asarray(level)))
    # The noise of power is as large as the power: once it is flat, fringes weigh by their height.
    weights = np.maximum(heights[0], _FAINT), times * np.maximum(heights[1], 0.0)
    share = weights[1] / (weights[0] + weights[1])
    mix = np.interp(at, rings, share).astype(np.float32)
    there = array_module(spectrum.groups).asarray(mix)
    (power, groups), (other_power, other_groups) = flat
    return replace(
        spectrum,
        power=power + mix * (other_power - power),
        groups=groups + there * (other_groups - groups),
        worth=(rings, 1.0 / ((1.0 - share) ** 2 + share**2 / times)),
    )
