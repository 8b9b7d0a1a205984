"""What a session tells a watcher: the same by status, by --json and by the Prometheus text file."""

import json
import time

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nextpyp_nb.cli import main
from nextpyp_nb.session.alerts import paused_tracks
from nextpyp_nb.session.observation import observe, write_metrics


def told(session):
    """(name, labels but the session) → value, of metrics.prom; every sample names the session."""
    text = (session.folder / "metrics.prom").read_text()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("session") == session.name
            values = tuple(labels.pop(n) for n in ("track", "state", "step", "code") if n in labels)
            assert not labels
            key = (sample.name.removeprefix("nextpyp_"), values)
            assert key not in found
            found[key] = sample.value
    return found


@pytest.fixture
def busy(session, store, arrive, process):
    """Three micrographs done, two that wait, one movie found, one track paused."""
    arrive(3)
    process()
    arrive(2, first=3)
    store.add_movies([{"name": "late", "source": "/camera/late.tiff", "size": 10}])
    store.set_track("transfer", state="running", wanted=True, message="")
    store.set_track("preprocess", state="paused", wanted=False, message='no "GPU" \\ here')
    store.beat()
    return session


def test_the_text_file_says_what_status_says(busy):
    seen = observe(busy)
    write_metrics(busy, seen)
    found, status = told(busy), seen.status
    assert status.tracks["preprocess"].counts["done"] == 3
    assert found["track_items", ("preprocess", "waiting")] == 2
    assert found["track_items", ("transfer", "found")] == 6
    for track in status.tracks.values():
        assert found["track_state", (track.name, track.state)] == 1
        assert (
            sum(
                v for (name, labels), v in found.items() if (name, *labels[:1]) == ("track_state", track.name)
            )
            == 1
        )
        assert found["track_rate_per_hour", (track.name,)] == pytest.approx(track.rate_per_hour)
        assert found["track_backlog", (track.name,)] == track.backlog
        for name, count in track.counts.items():
            key = ("particles", ({"particles": "picked"}.get(name, name),))
            assert found.get(("track_items", (track.name, name)), found.get(key)) == count
    assert found["particles", ("picked",)] == seen.particles == 300
    assert found["runner_up", ()] == 1
    assert abs(found["runner_heartbeat_timestamp_seconds", ()] - time.time()) < 60
    assert found["disk_size_bytes", ()] == seen.total_bytes > found["disk_free_bytes", ()] > 0
    assert {step for name, step in found if name == "step_seconds"} == {(step,) for step in seen.latency_s}
    assert ("alert", ("paused_preprocess",)) in found
    assert [path.name for path in busy.folder.glob("*metrics*")] == ["metrics.prom"]


def test_json_has_all_of_it(busy, capsys):
    assert main(["status", busy.name, "--root", str(busy.folder.parent), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runner"] == "running"
    assert found["tracks"]["preprocess"]["counts"]["done"] == 3
    assert found["particles"] == 300
    assert found["classes"] == 0
    assert found["free_bytes"] > 0
    assert found["latency_s"].keys() == observe(busy).latency_s.keys()
    assert pd.Timestamp(found["heartbeat"]).timestamp() == pytest.approx(time.time(), abs=60)
    (alert,) = [alert for alert in found["alerts"] if alert["kind"] == "paused_preprocess"]
    assert alert["text"] == 'no "GPU" \\ here'


def test_a_paused_track_is_an_alert_and_others_are_none(busy):
    assert [alert.kind for alert in paused_tracks(busy.status())] == ["paused_preprocess"]


def test_labels_are_escaped_as_the_format_wants(busy):
    busy.name = 'a "b"\\\nc'
    write_metrics(busy, observe(busy))
    assert told(busy)["runner_up", ()] == 1


def test_a_disk_that_is_full_leaves_the_last_metrics_whole(busy, monkeypatch):
    write_metrics(busy, observe(busy))
    before = (busy.folder / "metrics.prom").read_bytes()

    def full(registry, escaping):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prometheus_client.exposition.generate_latest", full)
    with pytest.raises(OSError, match="No space"):
        write_metrics(busy, observe(busy))
    assert [path.name for path in busy.folder.glob("*metrics*")] == ["metrics.prom"]
    assert (busy.folder / "metrics.prom").read_bytes() == before
