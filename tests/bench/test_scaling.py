"""The benchmark of scaling runs, and adds up."""

import json

import pytest

pytest.importorskip("distributed", reason="the extra dask is not installed")

from nextpyp_nb.bench.scaling import bench_scaling


def test_two_workers_process_all_and_no_faster_than_can_be(tmp_path):
    assert bench_scaling(workers=[2], cost=0.2, movies=8, out=tmp_path / "out.json") == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (row["workers"], row["movies"]) == (2, 16)
    assert 0 < row["of_ideal"] < 1.3
    assert min(row["runner_cpu_ms"], row["scheduler_cpu_ms"], row["workers_cpu_ms"]) > 0
