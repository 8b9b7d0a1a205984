import json

from nextpyp_nb.bench.live import bench_live


def test_a_collection_tells_what_each_process_holds_and_what_2d_costs(tmp_path, capsys):
    assert bench_live(movies=2, side=448, frames=4, every=5000, seed=2, out=tmp_path / "live.json") == 0
    told = json.loads((tmp_path / "live.json").read_text())
    assert told == json.loads(capsys.readouterr().out)
    assert told["processed"] == 2
    assert told["first classes after, s"] is None
    for kind in ("runner", "workers"):
        most, _ = told[f"{kind}: MB, most; a movie more"]
        assert 20 < most < 4000
