import pytest

from nextpyp_nb.bench.device import bench_device
from nextpyp_nb.kernels.backend import gpu_count


def test_a_missing_gpu_is_said_at_once():
    with pytest.raises(RuntimeError, match=r"GPU 7 was asked for, \d are there"):
        bench_device(device=7)


@pytest.mark.gpu
def test_a_gpu_is_measured(tmp_path, capsys):
    if gpu_count() == 0:
        pytest.skip("no GPU here, or no CuPy")
    assert bench_device(particles=2000, out=tmp_path / "device.json") == 0
    assert "particles/s" in capsys.readouterr().out
