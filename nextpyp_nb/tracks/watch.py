"""Tells the outside how a session does: metrics.prom for Prometheus, and alerts that come and go."""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from nextpyp_nb.session.alerts import Alert
from nextpyp_nb.session.observation import observe, write_metrics
from nextpyp_nb.session.session import Session
from nextpyp_nb.session.status import RAISED
from nextpyp_nb.settings import Site
from nextpyp_nb.tracks.notify import Notice, deliver
from nextpyp_nb.tracks.track import Live

PERIOD = 15.0


class Watch:
    """Looks at the session as a reader does; nothing that goes wrong here stops the work."""

    def __init__(self, live: Live, site: Site) -> None:
        self.live, self.site = live, site
        self._saved = live.store.meta(RAISED) or "{}"
        # What was raised and is not over, by code; it outlives the runner, so that nothing is told twice.
        self._raised: dict[str, dict[str, str]] = json.loads(self._saved)

    async def run(self) -> None:
        """Look for the life of the runner; alerts from the second look on, when the tracks have started."""
        session, loop = Session(self.live.folder), asyncio.get_running_loop()
        telling: set[asyncio.Task[None]] = set()
        # Always the same thread: each that reads tables keeps some MB and two files of its own.
        with ThreadPoolExecutor(1, thread_name_prefix="watch") as thread:
            await loop.run_in_executor(thread, partial(self.look, session, alerts=False))
            while True:
                await asyncio.sleep(PERIOD)
                notices = await loop.run_in_executor(thread, self.look, session)
                if notices:
                    # Beside the looks: a slow receiver must not keep the metrics waiting.
                    task = asyncio.create_task(asyncio.to_thread(self.tell, notices))
                    telling.add(task)
                    task.add_done_callback(telling.discard)

    def look(self, session: Session, *, alerts: bool = True) -> list[Notice]:
        """Write the metrics of now; returns what there is to tell."""
        notices: list[Notice] = []
        try:
            seen = observe(session)
            if alerts:
                notices = self._news(session.name, seen.alerts)
                self._save()
            write_metrics(session, seen)
        except Exception:
            # A full disk may not even take the log; what is raised is told all the same.
            with contextlib.suppress(OSError):
                self._log.exception("the session could not be watched")
        return notices

    def tell(self, notices: Sequence[Notice]) -> None:
        """Tell people, one notice after another."""
        with contextlib.suppress(OSError):
            for notice in notices:
                deliver(notice, self.site, self._log)

    @property
    def _log(self) -> logging.Logger:
        return self.live.logs["watch"]

    def _news(self, session: str, alerts: Sequence[Alert]) -> list[Notice]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        current = {alert.kind: alert for alert in alerts}
        news = [
            Notice(
                code=kind,
                session=session,
                state="over",
                sentence=f"{told['title']}: over",
                since=told["since"],
            )
            for kind, told in self._raised.items()
            if kind not in current
        ]
        news += [
            Notice(
                code=kind, session=session, state="raised", sentence=f"{alert.title}: {alert.text}", since=now
            )
            for kind, alert in current.items()
            if kind not in self._raised
        ]
        fresh = {kind: {"title": alert.title, "since": now} for kind, alert in current.items()}
        self._raised = {kind: self._raised.get(kind, told) for kind, told in fresh.items()}
        return news

    def _save(self) -> None:
        kept = json.dumps(self._raised)
        if kept != self._saved:
            self.live.store.set_meta(RAISED, kept)
            self._saved = kept


def last_look(session: Session) -> None:
    """Write the metrics of a session whose runner ended in order."""
    with contextlib.suppress(OSError, ValueError, sqlite3.Error):
        write_metrics(session, observe(session))
