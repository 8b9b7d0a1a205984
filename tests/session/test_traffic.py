"""How movies flow, and what is wrong with a session as a whole."""

import time

import numpy as np
import pandas as pd
import pytest

from nextpyp_nb.session import create_session
from nextpyp_nb.session.alerts import LAST, full_disk, quality_alerts, stalled
from nextpyp_nb.session.store import Store
from nextpyp_nb.session.traffic import BINS, arrived
from nextpyp_nb.settings import Settings

NOW = 1_800_000_000.0


@pytest.fixture
def session(tmp_path):
    flat = {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    made = create_session("s", settings=Settings.from_flat(flat), root=tmp_path)
    yield made
    made.close()


def _micrographs(session, times, size=10_000_000):
    """Movies at ``times``: 10 s to settle, 4 s copied, 2 s waiting, 5 + 2 + 1 s of work, 0.5 s stored."""
    with Store(session.folder / "session.db") as store:
        rows = [{"name": f"m{n}", "source": f"/x/{n}.tiff", "size": size} for n in range(len(times))]
        for number, begin in zip(store.add_movies(rows), times, strict=True):
            store.movie_done(number, path="/x", size=size, hash="", operation="copy")
            with store.transaction():
                store._run(
                    "UPDATE movie SET found = ?, settled = ?, transferred = ?, acquisition = ? WHERE id = ?",
                    begin, begin + 10, begin + 14,
                    f'{{"time": "{pd.Timestamp(begin - 3, unit="s", tz="UTC").isoformat()}"}}', number,
                )  # fmt: skip
                store._run(
                    "INSERT INTO micrograph(movie_id, revision, version, started, finished, seconds_motion,"
                    " seconds_ctf, seconds_picking) VALUES (?, 1, '0', ?, ?, 5, 2, 1)",
                    number, begin + 16, begin + 24.5,
                )  # fmt: skip


def test_steps_add_up_from_shutter_to_row_and_the_slowest_is_named(session):
    _micrographs(session, time.time() - 300 + 20 * np.arange(10))
    traffic = session.traffic()
    expected = {
        "shutter to found": 3, "settling": 10, "transfer": 4, "waiting for a worker": 2, "motion": 5,
        "CTF": 2, "picking": 1, "storing": 0.5,
    }  # fmt: skip
    assert traffic.steps == pytest.approx(expected, abs=0.01)
    assert traffic.total == pytest.approx(sum(expected.values()), abs=0.01)
    assert traffic.slowest == "settling"


def test_bytes_over_time_keep_their_sum(session):
    times = time.time() - 3600 + 100 * np.arange(30)
    _micrographs(session, times)
    traffic = session.traffic()
    assert traffic.copied
    assert len(traffic.movies) == BINS
    # The first one marks where the time begins; rounding may leave it out.
    assert 29 <= sum(traffic.movies) <= 30
    assert sum(traffic.bytes) == 10_000_000 * sum(traffic.movies)
    assert traffic.bin_seconds == pytest.approx((time.time() - times[0] - 14) / BINS, rel=0.01)


def test_a_movie_under_way_tells_what_is_there(session):
    with Store(session.folder / "session.db") as store:
        (number,) = store.add_movies([{"name": "a[1]", "source": "/x/a.tiff", "size": 5000}])
        store.movie_transferring(number, "copy")
    assert session.traffic().under_way == (("a[1]", 5000),)
    assert arrived(session.folder, "a[1]") == 0
    (session.folder / "raw" / ".a[1].tiff.nextpyp.part").write_bytes(b"x" * 1200)
    assert arrived(session.folder, "a[1]") == 1200


def _alarming(pattern):
    table = pd.DataFrame({"name": [f"m{n}" for n in range(len(pattern))]})
    return quality_alerts(table, pd.DataFrame({"fit_resolution": np.array(pattern, bool)}))


def test_an_alert_is_raised_at_half_and_taken_back_below_a_quarter():
    good, bad = [0] * LAST, [1] * (LAST // 2)
    assert _alarming(good) == []
    (alert,) = _alarming(good + bad)
    assert "10 of the last 20 micrographs above 8 Å" in alert.text
    # Six of twenty are too few to raise it, and too many to take it back.
    still = good + bad + [0] * 14
    assert sum(still[-LAST:]) == 6
    assert len(_alarming(still)) == 1
    assert _alarming(good + [0] * 14 + [1] * 6) == []
    assert _alarming(good + bad + [0] * 16) == []


def test_silence_is_told_against_what_was_usual():
    times = pd.Series(pd.to_datetime(NOW + 30.0 * np.arange(20), unit="s", utc=True))
    last = times.iloc[-1]
    assert stalled(times, last + pd.Timedelta(seconds=500)) is None
    alert = stalled(times, last + pd.Timedelta(seconds=720))
    assert alert is not None
    assert "12 min ago" in alert.text
    assert "each 30 s" in alert.text
    slow = pd.Series(pd.to_datetime(NOW + 600.0 * np.arange(20), unit="s", utc=True))
    assert stalled(slow, slow.iloc[-1] + pd.Timedelta(seconds=720)) is None


def test_a_disk_is_nearly_full_before_it_is_full():
    assert full_disk("x", 10, 100) is None
    assert "nearly full" in full_disk("x", 4, 100).title
    assert "nearly" not in full_disk("x", 1, 100).title
