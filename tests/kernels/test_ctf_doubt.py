"""What a fit of the CTF claims where noise may have had a hand in it."""

import numpy as np
import pytest

from nextpyp_nb.kernels import ctf_doubt, ctf_fit
from nextpyp_nb.kernels.ctf_fit import estimate_ctf
from nextpyp_nb.simulate.rings import draw_rings


def fit(number, *, signal, side):
    rings = draw_rings(number, signal=signal)
    truth = rings.ctf
    return rings.ctf, estimate_ctf(
        rings.image(side), pixel_size=rings.pixel_size, voltage=truth.voltage, cs=truth.cs,
        amplitude_contrast=truth.amplitude_contrast,
    ).ctf  # fmt: skip


def test_rings_that_may_be_noise_claim_no_reach():
    # Noise fits best here, mostly between 3 and 4 Å: with a small error bar, and wrong.
    truth, found = fit(500021, signal=0.04, side=2048)
    assert abs(found.defocus - truth.defocus) > 10_000
    assert found.fit_resolution == 50.0
    truth, found = fit(41, signal=0.5, side=1024)
    assert abs(found.defocus - truth.defocus) < 100
    assert found.fit_resolution < 6


@pytest.mark.parametrize(
    ("number", "signal", "side", "least", "most"), [(40, 0.5, 1024, 0.8, 1.3), (500000, 0.04, 2048, 2, 10)]
)
def test_weak_rings_leave_more_doubt_than_their_curvature_says(
    monkeypatch, number, signal, side, least, most
):
    found = []

    def both(model, spectrum, places, free, *limits):
        _, covariance, steadied = ctf_doubt._foretold(model, spectrum, places[0], free)
        error = ctf_doubt.sampled_error(model, spectrum, places, free, *limits)
        found.append(error / np.sqrt(covariance[0, 0] * steadied))
        return error

    monkeypatch.setattr(ctf_fit, "sampled_error", both)
    # However strong they are.
    monkeypatch.setattr(ctf_fit, "_WEAK", np.inf)
    _, ctf = fit(number, signal=signal, side=side)
    assert least <= found[0] < most
    assert ctf.defocus_error > 0
