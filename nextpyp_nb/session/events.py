"""What happened, and waiting for something to happen."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened; ``level`` is info, warning or error."""

    id: int
    time: datetime
    level: str
    track: str | None
    movie: str | None
    code: str
    text: str


class Watched(Protocol):
    """Something with a change counter, such as a session."""

    def version(self) -> int:
        """Differs after every change."""
        ...


def changes(session: Watched, interval: float = 0.5) -> Iterator[int]:
    """The version now and after every change, looking every ``interval`` seconds; never ends."""
    seen: int | None = None
    while True:
        now = session.version()
        if now != seen:
            seen = now
            yield now
        else:
            time.sleep(interval)


def moment(seconds: float | None) -> datetime | None:
    """A stored time as people's time, UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
