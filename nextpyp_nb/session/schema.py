"""The tables of a session, as numbered migrations that only go forward."""

import sqlite3
from collections.abc import Iterator

_FIRST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
INSERT INTO meta VALUES ('changes', '0');
CREATE TABLE lease(
  one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, host TEXT, boot_id TEXT, pid INTEGER,
  start_time INTEGER, beat REAL, since REAL);
INSERT INTO lease(one, epoch) VALUES (1, 0);
CREATE TABLE revision(
  number INTEGER PRIMARY KEY, time REAL NOT NULL, actor TEXT NOT NULL, settings TEXT NOT NULL,
  software TEXT NOT NULL);
CREATE TABLE movie(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, source TEXT NOT NULL UNIQUE, relative TEXT, path TEXT,
  size INTEGER, mtime_ns INTEGER, inode INTEGER, hash TEXT, operation TEXT, state TEXT NOT NULL, reason TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, found REAL NOT NULL, settled REAL, transferred REAL, optics_group TEXT,
  acquisition TEXT, generation INTEGER NOT NULL DEFAULT 0, excluded INTEGER NOT NULL DEFAULT 0);
CREATE INDEX movie_state ON movie(state);
CREATE INDEX movie_transferred ON movie(transferred);
CREATE TABLE task(
  movie_id INTEGER PRIMARY KEY REFERENCES movie(id), stage TEXT NOT NULL DEFAULT 'preprocess',
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
  alone INTEGER NOT NULL DEFAULT 0, key_motion TEXT, key_ctf TEXT, key_picking TEXT, revision INTEGER,
  reason TEXT, traceback TEXT, epoch INTEGER, worker TEXT, ready REAL, started REAL, finished REAL);
CREATE INDEX task_state ON task(state, alone, movie_id);
CREATE INDEX task_finished ON task(finished);
CREATE TABLE micrograph(
  movie_id INTEGER PRIMARY KEY REFERENCES movie(id), revision INTEGER NOT NULL, version TEXT NOT NULL,
  n_frames INTEGER, height INTEGER, width INTEGER, pixel_size REAL, dose_per_frame REAL, defocus_u REAL,
  defocus_v REAL, defocus_angle REAL, phase_shift REAL, fit_resolution REAL, ctf_score REAL,
  defocus_error REAL, ctf_failed TEXT, total_motion REAL, early_motion REAL, late_motion REAL, ice_ring REAL,
  mean_dose REAL, dose_evenness REAL, particles INTEGER, pick_threshold REAL, junk_fraction REAL,
  seconds_motion REAL, seconds_ctf REAL, seconds_picking REAL, started REAL, finished REAL, more TEXT);
CREATE TABLE batch(
  id INTEGER PRIMARY KEY AUTOINCREMENT, movie_id INTEGER NOT NULL UNIQUE REFERENCES movie(id),
  particles INTEGER NOT NULL, path TEXT, revision INTEGER NOT NULL, key TEXT NOT NULL);
CREATE TABLE round(
  number INTEGER PRIMARY KEY, state TEXT NOT NULL, particles INTEGER, classes INTEGER, resolution REAL,
  path TEXT, started REAL, finished REAL, seed INTEGER, record TEXT NOT NULL, key TEXT NOT NULL, reason TEXT,
  revision INTEGER, epoch INTEGER);
CREATE TABLE class(
  round INTEGER NOT NULL REFERENCES round(number), number INTEGER NOT NULL, count INTEGER, share REAL,
  resolution REAL, score REAL, accepted INTEGER, PRIMARY KEY (round, number)) WITHOUT ROWID;
CREATE TABLE event(
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, level TEXT NOT NULL, track TEXT, movie TEXT,
  code TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE track(
  name TEXT PRIMARY KEY, wanted TEXT NOT NULL, state TEXT NOT NULL, since REAL, message TEXT NOT NULL)
  WITHOUT ROWID;
INSERT INTO track VALUES ('transfer', 'stopped', 'stopped', NULL, 'Not started yet.'),
  ('preprocess', 'stopped', 'stopped', NULL, 'Not started yet.'),
  ('classify', 'stopped', 'stopped', NULL, 'Not started yet.');
CREATE TABLE command(
  uuid TEXT PRIMARY KEY, actor TEXT NOT NULL, name TEXT NOT NULL, arguments TEXT NOT NULL,
  received REAL NOT NULL, ok INTEGER, message TEXT) WITHOUT ROWID;
CREATE TABLE export(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, state TEXT NOT NULL, path TEXT, filter TEXT,
  options TEXT NOT NULL, message TEXT, created REAL NOT NULL, finished REAL);
CREATE TABLE filter(name TEXT PRIMARY KEY, expression TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE touched(movie_id INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX touched_change ON touched(change);
"""

# Which rows of the table of micrographs changed in which transaction: panels fetch only those.
_TOUCH = """
CREATE TRIGGER {name} AFTER {event} {when} BEGIN
  DELETE FROM touched WHERE movie_id = new.{id};
  INSERT INTO touched SELECT new.{id}, value + 1 FROM meta WHERE key = 'changes';
END;
"""
_SHOWN = "WHEN EXISTS (SELECT 1 FROM micrograph WHERE movie_id = new.{id})"
_TRIGGERS = "".join(
    _TOUCH.format(name=name, event=event, id=id, when=when.format(id=id))
    for name, event, id, when in (
        ("micrograph_new", "INSERT ON micrograph", "movie_id", ""),
        ("micrograph_changed", "UPDATE ON micrograph", "movie_id", ""),
        ("micrograph_task", "UPDATE OF state, reason ON task", "movie_id", _SHOWN),
        ("micrograph_movie", "UPDATE OF excluded, optics_group, acquisition ON movie", "id", _SHOWN),
    )
)

# Classes are marked by what they are, not by their place in one round; rounds tell what they changed.
# Those of rounds before are named by numbers that no later class gets.
_MARKS = """
CREATE TABLE class_mark(identity INTEGER PRIMARY KEY, accepted INTEGER NOT NULL);
CREATE TABLE class_new(
  round INTEGER NOT NULL REFERENCES round(number), number INTEGER NOT NULL, identity INTEGER, count INTEGER,
  share REAL, resolution REAL, score REAL, PRIMARY KEY (round, number)) WITHOUT ROWID;
INSERT INTO class_new SELECT round, number, -number, count, share, resolution, score FROM class;
DROP TABLE class;
ALTER TABLE class_new RENAME TO class;
ALTER TABLE round ADD COLUMN new INTEGER;
ALTER TABLE round ADD COLUMN churn REAL;
ALTER TABLE round ADD COLUMN annealed INTEGER;
"""

# Size at the source, where compression on the way makes the movie in the session another file.
_SOURCE_SIZE = "ALTER TABLE movie ADD COLUMN source_size INTEGER;"

# Exports and reports are jobs of one kind, with progress.
_JOBS = """
ALTER TABLE export ADD COLUMN kind TEXT NOT NULL DEFAULT 'export';
ALTER TABLE export ADD COLUMN done INTEGER;
ALTER TABLE export ADD COLUMN total INTEGER;
"""

# Numbers that people's own functions give; a micrograph that is done again loses its.
_OWN_COLUMNS = (
    """
CREATE TABLE own_value(
  movie_id INTEGER NOT NULL REFERENCES micrograph(movie_id) ON DELETE CASCADE, name TEXT NOT NULL,
  value REAL NOT NULL, PRIMARY KEY (movie_id, name)) WITHOUT ROWID;
"""
    + _TOUCH.format(name="own_value_new", event="INSERT ON own_value", id="movie_id", when="")
    + _TOUCH.format(name="own_value_gone", event="DELETE ON own_value", id="movie_id", when="").replace(
        "new.", "old."
    )
    + """
CREATE TRIGGER own_value_stale AFTER UPDATE OF finished ON micrograph BEGIN
  DELETE FROM own_value WHERE movie_id = new.movie_id;
END;
"""
)

# How well particles of each size explain a micrograph, where no radius is given.
_SIZES = """
CREATE TABLE size_curve(
  movie_id INTEGER PRIMARY KEY REFERENCES micrograph(movie_id) ON DELETE CASCADE, pixel_size REAL,
  curve TEXT NOT NULL);
"""

MIGRATIONS = (_FIRST + _TRIGGERS, _MARKS, _SOURCE_SIZE, _JOBS, _OWN_COLUMNS, _SIZES)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest schema, each step in one transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise RuntimeError(of_newer(version))
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def of_newer(version: int) -> str:
    """Why a session of that schema stays closed."""
    return (
        f"this session has schema {version}, this nextpyp_nb knows up to {len(MIGRATIONS)}; "
        "open it with the newer nextpyp_nb that made it"
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; a trigger holds semicolons of its own."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
