"""The Operation page: which buttons can do something, what they ask, what they command."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from nextpyp_nb.views.operation import OperationPage
from nextpyp_nb.views.pieces import shown
from nextpyp_nb.views.track_panel import possible

NOTHING = {"done": 0, "running": 0, "waiting": 0, "failed": 0}
SOME = NOTHING | {"done": 5}


@pytest.fixture
def page(session, live):
    made = OperationPage(session, live)
    live.subscribe(made.draw)
    return made


@pytest.mark.parametrize(
    ("state", "counts", "can"),
    [
        ("stopped", NOTHING, "start"),
        ("stopped", SOME, "start restart clear"),
        ("stale", SOME, "start restart clear"),
        ("running", NOTHING, "restart stop"),
        ("running", SOME, "restart clear stop"),
        ("waiting", SOME, "restart clear stop"),
        ("paused", SOME, "start restart clear stop"),
        ("stopping", SOME, "start"),
    ],
)
def test_impossible_buttons_are_disabled(state, counts, can):
    assert {name for name, on in possible(state, counts).items() if on} == {*can.split(), "logs"}


def test_buttons_follow_the_state_and_command_their_track(session, live, page):
    panel = page.tracks["preprocess"]
    panel.buttons["start"].click()
    session.runner = "running"
    session.track("preprocess", state="running", message="aligning <b>", counts=SOME)
    live.refresh()
    assert panel.buttons["start"].disabled
    assert "aligning &lt;b&gt;" in panel.name.value
    assert page.tracks["transfer"].buttons["stop"].disabled
    panel.buttons["stop"].click()
    assert session.commands == [("start", "preprocess"), ("stop", "preprocess")]


def test_a_track_without_a_living_runner_is_not_running(session, live, page):
    session.runner = "stale"
    session.track("transfer", state="running", counts=SOME)
    live.refresh()
    assert "does not answer" in page.tracks["transfer"].name.value
    assert not page.tracks["transfer"].buttons["start"].disabled


def test_restart_says_what_it_will_do_and_waits_for_a_yes(session, live, page, micrograph):
    old = session.settings
    session.settings_of = lambda revision: old
    session.put(*(micrograph(f"m{i}", i, seconds_ctf=30.0, seconds_picking=30.0) for i in range(4)))
    session.save_settings(old.updated({"ctf.max_resolution": 5}))
    session.commands.clear()
    session.track("preprocess", counts=SOME | {"failed": 2})
    live.refresh()
    panel = page.tracks["preprocess"]
    panel.buttons["restart"].click()
    assert session.commands == []
    assert "redo CTF and picks of 4 micrographs, about 4 min" in panel.question.value
    assert "try 2 failed again" in panel.question.value
    panel.unconfirmed()
    assert "nb-hidden" in panel.confirm._dom_classes
    panel.buttons["restart"].click()
    panel.sure.click()
    assert session.commands == [("restart", "preprocess")]


def test_clear_says_what_it_drops(session, live, page, micrograph):
    session.put(micrograph("m"))
    session.track("transfer", counts=SOME)
    live.refresh()
    panel = page.tracks["transfer"]
    panel.buttons["clear"].click()
    assert "drop 1 micrographs" in panel.question.value
    assert "transferred movies stay" in panel.question.value
    assert "nb-danger" in panel.sure._dom_classes
    panel.sure.click()
    assert session.commands == [("clear", "transfer")]


def test_counts_and_rates_stand_in_the_row(session, live, page):
    session.runner = "running"
    counts = {"done": 713, "running": 2, "waiting": 1, "failed": 2}
    session.track("preprocess", state="running", counts=counts, rate_per_hour=318.0, backlog=3, eta_s=34.0)
    session.track("classify", counts=SOME | {"classified": 121408, "new": 3120})
    live.refresh()
    row = page.tracks["preprocess"]
    assert all(f"<b>{n}</b> {word}" in row.progress.value for word, n in counts.items())
    assert "318 movies/h" in row.rate.value
    assert "3 waiting, about 34 s" in row.rate.value
    assert "<b>121,408</b> classified" in page.tracks["classify"].progress.value


def test_cancel_asks_first(session, live, page):
    assert page.cancel.disabled
    session.runner = "running"
    session.touch()
    live.refresh()
    page.cancel.click()
    assert session.commands == []
    page.cancel_all()
    assert session.commands == [("cancel",)]


def test_failures_keep_their_rows_and_are_plain_text(session, live, page):
    def fail(*names):
        session.failures = pd.DataFrame(
            [{"movie": n, "stage": "ctf", "reason": "no <i>fit</i>", "attempts": 2} for n in names]
        )
        session.touch()
        live.refresh()

    fail("<script>", "b")
    first, second = page.attention.entries.children
    assert "<script>" not in first.children[0].value
    assert "no &lt;i&gt;fit" in first.children[0].value
    assert "2 attempts" in first.children[0].value
    fail("c", "b")
    assert page.attention.entries.children[1] is second
    retry, ignore, _ = second.children[1].children
    retry.click()
    ignore.click()
    page.attention.retry_all.click()
    assert session.commands == [("retry", "b"), ("ignore", "b"), ("retry",)]


def test_exports_show_state_and_place(session, live, page):
    now = datetime.now(UTC)
    session.exports = pd.DataFrame(
        [
            {
                "id": 3,
                "name": "3",
                "state": "done",
                "path": "/s/exports/3",
                "filter": None,
                "message": "12 micrographs",
                "created": now,
                "finished": now,
            }
        ]
    )
    session.touch()
    live.refresh()
    (entry,) = page.jobs.entries.children
    label, cancel = entry.children[0].children[0], entry.children[0].children[1].children[0]
    assert "/s/exports/3" in label.value
    assert "12 micrographs" in label.value
    assert not shown(cancel)


def test_a_running_job_shows_its_progress_its_log_and_is_cancelled(session, live, page):
    job = {"id": 4, "kind": "report", "state": "running", "message": "writing HTML", "done": 1, "total": 3}
    session.exports = pd.DataFrame([job | {"created": datetime.now(UTC), "path": None, "filter": None}])
    (session.folder / "logs").mkdir()
    line = {"time": "2026-01-02T03:04:05+00:00", "text": "writing <b>HTML</b>"}
    (session.folder / "logs" / "job_0004.log").write_text(json.dumps(line) + "\n")
    session.touch()
    live.refresh()
    (entry,) = page.jobs.entries.children
    label, (cancel, log) = entry.children[0].children[0], entry.children[0].children[1].children
    assert "Report 4" in label.value
    assert 'title="1 of 3"' in label.value
    log.click()
    assert "writing &lt;b&gt;HTML" in entry.children[1].value
    cancel.click()
    assert session.commands == [("cancel_export", 4)]


def test_the_log_is_of_the_track_asked_for(session, live, page):
    now = datetime.now(UTC)
    session.happened = [
        SimpleNamespace(
            id=i, time=now, level="error", track=track, movie=f"movie-{track}", code="", text="<b>"
        )
        for i, track in enumerate(("transfer", "preprocess"))
    ]
    session.touch()
    live.refresh()
    page.tracks["transfer"].buttons["logs"].click()
    lines = page.log_viewer.lines
    assert "movie-transfer" in lines.value
    assert "movie-preprocess" not in lines.value
    assert "&lt;b&gt;" in lines.value
    page.log_viewer.open_movie("movie-preprocess")
    assert "movie-transfer" not in lines.value
    page.tracks["transfer"].buttons["logs"].click()
    page.tracks["transfer"].buttons["logs"].click()
    assert "nb-hidden" in page.log_viewer._dom_classes


def test_settings_waiting_for_restart_are_named(session, live, page):
    session.runner = "running"
    page.draw(live.snapshot)
    assert "revision 1 is in use" in page.revision.value
    session.revision = 2
    status = session.status()
    status.revision = 1
    session.status = lambda: status
    session.touch()
    live.refresh()
    assert "revision 2 is saved; the tracks use revision 1" in page.revision.value
