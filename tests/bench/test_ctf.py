import json

import numpy as np
import pytest

from nextpyp_nb.bench import ctf as bench
from nextpyp_nb.simulate.rings import draw_rings


def test_strong_rings_are_fitted_within_what_the_error_bars_claim():
    fits = [bench.fit_rings(draw_rings(n, signal=0.5), 1200) for n in range(40, 52)]
    error = np.array([fit["error"] for fit in fits])
    bars = np.array([fit["error_bar"] for fit in fits])
    assert np.abs(error).max() < 100
    assert np.median(np.abs(error)) < 20
    assert 0.4 < np.sqrt(np.mean((error / bars) ** 2)) < 1.8


def test_rings_are_noise_of_the_promised_power():
    rings = draw_rings(3, signal=0.0)
    image = rings.image(256)
    assert image.mean() == pytest.approx(40, abs=0.5)
    assert draw_rings(3, signal=0.0) == rings


def test_summary_counts_gross_errors_and_failures_apart():
    fit = {"level": "good", "phase_plate": False, "error_bar": 10.0, "astigmatism_error": 5.0,
           "phase_error": 0.0, "fit_resolution": 4.0, "cpu_s": 0.1}  # fmt: skip
    fits = [fit | {"error": 6.0}, fit | {"error": -8.0}, fit | {"error": 900.0}, fit | {"failed": "no rings"}]
    del fits[3]["error_bar"]
    row = bench.summary(fits)
    assert (row["n"], row["failed"], row["gross"], row["gross_unflagged"]) == (4, 1, 1, 1)
    assert row["rms"] == pytest.approx(np.sqrt(50))
    assert row["covered"] == pytest.approx(2 / 3)


def test_the_benchmark_writes_its_rows(tmp_path):
    assert bench.bench_ctf(spectra=6, side=512, out=tmp_path / "ctf.json") == 0
    written = json.loads((tmp_path / "ctf.json").read_text())
    assert {row["level"] for row in written["rows"]} == {"good", "fair", "poor"}
    assert len(written["fits"]) == 6
