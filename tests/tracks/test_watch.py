"""Alerts reach people once when raised and once when over, and what fails on the way stops nothing."""

import email
import email.policy
import http.server
import json
import threading
from datetime import datetime

import pytest
from pydantic import ValidationError

from nextpyp_nb.session import create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings, Site
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.notify import Notice, deliver
from nextpyp_nb.tracks.track import Live
from nextpyp_nb.tracks.watch import Watch

NOTICE = Notice(
    code="stalled",
    session="grid1",
    state="raised",
    sentence="No new movies: 12 min",
    since="2030-01-01T00:00:00+00:00",
)


@pytest.fixture
def receiver():
    """A web server that keeps what it is sent; ``answer`` is its status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(server.answer)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.got, server.answer = [], 200
        server.url = f"http://127.0.0.1:{server.server_port}/secret-token"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sendmail(tmp_path):
    """A program that keeps the arguments and the mail it is given."""
    path = tmp_path / "sendmail"
    path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def live(tmp_path):
    settings = Settings.from_flat(
        {"raw_data.location": "/x/*.tiff", "microscope.pixel_size": 1, "microscope.voltage": 300}
    )
    session = create_session("s", settings=settings, root=tmp_path / "sessions")
    logs = Logbook(session.folder)
    with Store(session.folder / "session.db") as store, acquire(store):
        yield Live(session.folder, store, logs, settings, 1), session
    logs.close()


def paused(store, yes):
    state, message = ("paused", "the disk is full") if yes else ("running", "")
    store.set_track("preprocess", state=state, wanted=True, message=message)


def ours(notices):
    """Not those of the disk that the tests run on."""
    return [notice for notice in notices if notice.code == "paused_preprocess"]


def test_raised_once_over_once_and_a_new_runner_tells_nothing_again(live, receiver):
    (live, session), site = live, Site(alert_webhook=receiver.url)
    watch = Watch(live, site)
    paused(live.store, True)
    raised = ours(watch.look(session))
    watch.tell(raised)
    assert ours(watch.look(session)) == []
    since = session.status().raised["paused_preprocess"]
    again = Watch(live, site)
    assert ours(again.look(session)) == []
    paused(live.store, False)
    over = ours(again.look(session))
    again.tell(over)
    assert ours(again.look(session)) == []
    assert "paused_preprocess" not in session.status().raised
    assert [told["state"] for *_, told in receiver.got] == ["raised", "over"]
    for path, kind, told in receiver.got:
        assert (path, kind) == ("/secret-token", "application/json")
        assert (told["code"], told["session"]) == ("paused_preprocess", "s")
        assert datetime.fromisoformat(told["since"]) == since
    assert receiver.got[0][2]["sentence"] == "Track preprocess paused: the disk is full"


def test_an_alert_is_told_even_when_the_disk_takes_nothing(live, monkeypatch):
    (live, session) = live
    watch = Watch(live, Site())
    paused(live.store, True)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(live.store, "set_meta", full)
        assert len(ours(watch.look(session))) == 1
        assert ours(watch.look(session)) == []
    assert session.status().raised == {}
    watch.look(session)
    assert "paused_preprocess" in session.status().raised


def test_a_mail_goes_through_sendmail(sendmail, tmp_path, live):
    site = Site(alert_mail=("ada@example.org", "root"), sendmail=sendmail)
    deliver(NOTICE, site, live[0].logs["watch"])
    assert (tmp_path / "arguments").read_text().split() == ["-t", "-i"]
    mail = email.message_from_bytes((tmp_path / "mail").read_bytes(), policy=email.policy.default)
    assert mail["To"] == "ada@example.org, root"
    assert mail["Subject"] == "[grid1] No new movies: 12 min"
    assert NOTICE.since in mail.get_content()


def test_a_hostile_name_adds_no_header(sendmail, tmp_path, live):
    name = "g\r\nBcc: eve@example.org\n\nbody\x85\u2028Cc: eve@example.org"
    notice = Notice(code="disk", session=name, state="over", sentence="full\nCc: eve@example.org", since="x")
    deliver(notice, Site(alert_mail=("ada@example.org",), sendmail=sendmail), live[0].logs["watch"])
    mail = email.message_from_bytes((tmp_path / "mail").read_bytes(), policy=email.policy.default)
    assert (mail["To"], mail["Cc"], mail["Bcc"]) == ("ada@example.org", None, None)
    assert "eve@example.org" in mail["Subject"]


def test_what_fails_is_logged_without_its_address_and_the_other_way_goes_on(
    receiver, sendmail, tmp_path, live
):
    log = live[0].logs["watch"]
    receiver.answer = 500
    deliver(NOTICE, Site(alert_webhook=receiver.url, alert_mail=("ada",), sendmail=sendmail), log)
    assert (tmp_path / "mail").is_file()
    deliver(NOTICE, Site(alert_mail=("ada",), sendmail=tmp_path / "none"), log)
    deliver(NOTICE, Site(alert_webhook="http://127.0.0.1:1/secret-token"), log)
    text = (live[0].folder / "logs" / "watch.log").read_text()
    assert [json.loads(line)["level"] for line in text.splitlines()] == ["error"] * 3
    assert "the webhook did not take stalled raised: 500" in text
    assert "the mail did not take stalled raised" in text
    assert "secret-token" not in text


@pytest.mark.parametrize(
    "wrong",
    [{"alert_mail": ("a@b\nBcc: c@d",)}, {"alert_mail": ("a, b",)}, {"alert_webhook": "file:///etc/passwd"}],
)
def test_a_site_names_no_other_recipients_and_only_web_addresses(wrong):
    with pytest.raises(ValidationError):
        Site(**wrong)
