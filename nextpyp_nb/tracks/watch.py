"""Tells the outside how a session does: metrics.prom for Prometheus, every quarter of a minute."""

import asyncio
import contextlib
import sqlite3

from nextpyp_nb.session.observation import observe, write_metrics
from nextpyp_nb.session.session import Session
from nextpyp_nb.tracks.track import Live

PERIOD = 15.0


class Watch:
    """Looks at the session as a reader does; nothing that goes wrong here stops the work."""

    def __init__(self, live: Live) -> None:
        self.live = live

    async def run(self) -> None:
        """Look for the life of the runner."""
        session = Session(self.live.folder)
        while True:
            await asyncio.to_thread(self.look, session)
            await asyncio.sleep(PERIOD)

    def look(self, session: Session) -> None:
        """Write the metrics of now."""
        try:
            write_metrics(session, observe(session))
        except Exception:
            # A full disk may not even take the log.
            with contextlib.suppress(OSError):
                self.live.logs["watch"].exception("the session could not be watched")


def last_look(session: Session) -> None:
    """Write the metrics of a session whose runner ended in order."""
    with contextlib.suppress(OSError, sqlite3.Error):
        write_metrics(session, observe(session))
