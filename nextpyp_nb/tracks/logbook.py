"""Logs of a session: one JSON line an event and track, rotated and capped."""

import json
import logging
import logging.handlers
from datetime import UTC, datetime
from pathlib import Path

LIMIT = 5 << 20


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "text": record.getMessage(),
        }
        movie = getattr(record, "movie", None)
        if movie:
            line["movie"] = movie
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Logbook:
    """The loggers of one session, by track name (or "runner")."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "logs"
        self._folder.mkdir(exist_ok=True)
        self._loggers: dict[str, logging.Logger] = {}

    def __getitem__(self, track: str) -> logging.Logger:
        """The logger of ``track``."""
        if track not in self._loggers:
            handler = logging.handlers.RotatingFileHandler(
                self._folder / f"{track}.log", maxBytes=LIMIT, backupCount=2, encoding="utf-8"
            )
            handler.setFormatter(_JsonLines())
            # Not from the registry of loggers: two sessions in one process must not share them.
            logger = logging.Logger(f"nextpyp_nb.{track}", logging.INFO)
            logger.addHandler(handler)
            self._loggers[track] = logger
        return self._loggers[track]

    def close(self) -> None:
        """Close all files."""
        for logger in self._loggers.values():
            for handler in logger.handlers:
                handler.close()
        self._loggers.clear()
