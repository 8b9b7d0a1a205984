import json

import pytest

from nextpyp_nb.bench import report
from nextpyp_nb.bench.session import bench_sessions


def test_a_benchmark_writes_scores_against_the_truth_and_cost(tmp_path, capsys):
    assert bench_sessions(movies=1, seeds=[3], against=None, out=tmp_path / "b.json") == 0
    (row,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert row["motion_global_median_px"] < 0.4
    assert row["defocus_max_A"] < 200
    assert row["f1"] > 0.8
    assert 0 < row["cpu_s_per_movie"] < 1000
    assert "motion global median px" in capsys.readouterr().out


def test_a_missing_peer_is_said(monkeypatch):
    monkeypatch.setattr(report.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="is not on PATH"):
        bench_sessions(movies=1, seeds=[1], against="relion", out=None)
