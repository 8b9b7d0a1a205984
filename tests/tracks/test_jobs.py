"""Reports as jobs of a session: written, read again, logged, cancelled, and asked for at the end."""

import json
import time

import pytest

from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks import report
from nextpyp_nb.tracks.report import report_plan, write_report

HOSTILE = "<img src=x onerror=alert(1)>.tiff"


def _until(session, state):
    until = time.monotonic() + 300
    while True:
        jobs = session.exports
        if len(jobs) and jobs["state"].iloc[-1] in state:
            return jobs.iloc[-1]
        assert time.monotonic() < until, jobs
        time.sleep(0.2)


def test_a_report_is_a_job_with_path_and_log(session):
    with Store(session.folder / "session.db") as store:
        (movie,) = store.add_movies([{"name": HOSTILE, "source": f"/x/{HOSTILE}"}])
        store.movie_failed(movie, f"no frames in {HOSTILE}")
    answer = session.report().wait(60)
    assert answer.ok, answer.message
    job = _until(session, ("done", "failed"))
    assert (job["state"], job["kind"]) == ("done", "report"), job["message"]
    page = (session.folder / "reports" / "0001" / "report.html").read_text()
    assert "Report of s" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert 'src="http' not in page
    log = (session.folder / "logs" / "job_0001.log").read_text().splitlines()
    said = [json.loads(line)["text"] for line in log]
    assert said[0].startswith("report to ")
    assert "writing HTML" in said
    assert said[-1].startswith("done: ")


def test_a_job_is_cancelled_whether_it_waits_or_runs(session):
    assert session.report().wait(60).ok
    assert session.report().wait(60).ok
    for number in (2, 1):
        assert session.cancel_export(number).wait(60).ok
    assert session.exports["state"].tolist() == ["cancelled", "cancelled"]
    again = session.cancel_export(1).wait(60)
    assert (again.ok, again.message) == (False, "job 1 is not running")


def test_a_report_that_is_not_whole_is_an_error(session, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_html", lambda cells, name: f"<html>Report of {name}")
    monkeypatch.setattr("papermill.execute_notebook", _writes_an_empty_notebook)
    with pytest.raises(OSError, match="is not whole"):
        write_report(report_plan(session.folder, tmp_path / "out"), lambda report: None)


def test_news_are_what_came_after_the_last_report(session):
    with Store(session.folder / "session.db") as store:
        assert not store.news_since_report()
        (movie,) = store.add_movies([{"name": "a", "source": "/x/a.tiff"}])
        store.movie_done(movie, path="/x/a.tiff", size=1, hash="")
        with store.transaction():
            store._run(
                "INSERT INTO micrograph(movie_id, revision, version, finished) VALUES (?, 1, '0', ?)",
                movie, time.time(),
            )  # fmt: skip
        assert store.news_since_report()
        store.add_export("all", "", None, {}, kind="report")
        assert not store.news_since_report()


def _writes_an_empty_notebook(source, target, *_, **__):
    import nbformat

    nbformat.write(nbformat.v4.new_notebook(), target)
