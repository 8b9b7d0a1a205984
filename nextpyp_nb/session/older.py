"""Sessions of another version: an older one's are brought up to date, where that is safe."""

import os
import sqlite3
from pathlib import Path

from nextpyp_nb.session.database import Database
from nextpyp_nb.session.lease import runner_state
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.schema import MIGRATIONS, of_newer


def bring_up_to_date(folder: Path, reader: Reader) -> None:
    """Give the session at ``folder`` the tables that this version reads; ValueError where that cannot be."""
    try:
        version = int(reader.value("PRAGMA user_version"))
    except (FileNotFoundError, sqlite3.DatabaseError):
        # Whoever reads it is told; it can still be deleted.
        return
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise ValueError(of_newer(version))
    lease = reader.row("SELECT * FROM lease")
    assert lease is not None
    if runner_state(lease) == "running":
        raise ValueError(
            f"session {folder.name} is run by an older nextpyp_nb on {lease['host']}, process {lease['pid']};"
            " stop it there first"
        )
    if not (os.access(folder, os.W_OK) and os.access(reader.path, os.W_OK)):
        raise ValueError(
            f"session {folder.name} is of an older nextpyp_nb; once its owner has opened it with this one,"
            " all can read it"
        )
    reader.close()
    Database(reader.path).close()
