"""Pre-processing of movies as tasks: claim, commit, fail, retry, quarantine, do again."""

import json
import time
import traceback as traceback_module
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nextpyp_nb import __version__
from nextpyp_nb.session.database import Database, to_json
from nextpyp_nb.session.particle_size import KEPT as SIZE
from nextpyp_nb.session.quality_limits import ctf_doubt
from nextpyp_nb.session.stages import STAGES, first_changed, movie_keys, own_keys
from nextpyp_nb.settings import Settings

MICROGRAPH_COLUMNS = (
    "n_frames", "height", "width", "pixel_size", "dose_per_frame", "defocus_u", "defocus_v", "defocus_angle",
    "phase_shift", "fit_resolution", "ctf_score", "defocus_error", "ctf_failed", "total_motion",
    "early_motion", "late_motion", "ice_ring", "mean_dose", "dose_evenness", "particles", "pick_threshold",
    "junk_fraction", "seconds_motion", "seconds_ctf", "seconds_picking",
)  # fmt: skip
LAST_TRANSIENT_ATTEMPT = 6
ALONE_WAITS_AT_MOST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """One movie to pre-process, from ``first_stage`` on; what `commit_micrograph` wants back."""

    movie_id: int
    name: str
    path: str
    first_stage: str
    keys: dict[str, str]
    revision: int
    attempts: int
    alone: bool
    epoch: int


class Tasks(Database):
    """What the store knows and writes of the pre-processing of movies."""

    _claims = 0

    def claim_tasks(self, n: int, worker: str, revision: int, settings: Settings) -> list[ClaimedTask]:
        """At most ``n`` ready tasks, newest first with every fourth the oldest; each attempt is counted now.

        A task that killed its worker runs again alone: only while nothing else runs. A task whose
        results are those of ``settings`` already is done without work.
        """
        own = own_keys(settings)
        claimed: list[ClaimedTask] = []
        with self.transaction():
            while len(claimed) < n and (row := self._next_ready(bool(claimed))):
                keys = movie_keys(own, input_hash(row))
                held = {stage: row[f"key_{stage}"] for stage in STAGES}
                first = first_changed(held, keys)
                if first is None:
                    self._run(
                        "UPDATE task SET state = 'done', reason = NULL WHERE movie_id = ?", row["movie_id"]
                    )
                    continue
                # The files of these stages are written over from now on: they are no key's until committed.
                no_more = "".join(f", key_{stage} = NULL" for stage in STAGES[STAGES.index(first) :])
                self._run(
                    "UPDATE task SET state = 'running', attempts = attempts + 1, worker = ?, epoch = ?,"
                    f" started = ?, finished = NULL, revision = ?{no_more} WHERE movie_id = ?",
                    worker, self.epoch, time.time(), revision, row["movie_id"],
                )  # fmt: skip
                claimed.append(
                    ClaimedTask(
                        movie_id=row["movie_id"], name=row["name"], path=row["path"], first_stage=first,
                        keys=keys, revision=revision, attempts=row["attempts"] + 1, alone=bool(row["alone"]),
                        epoch=self.epoch,
                    )
                )  # fmt: skip
                if row["alone"]:
                    break
        return claimed

    def commit_micrograph(
        self, task: ClaimedTask, record: Mapping[str, Any], *, particles_path: str | None = None
    ) -> None:
        """Result, state, the particles it unlocks and the event, in one transaction.

        ``record`` holds `MICROGRAPH_COLUMNS` of the stages that ran; other numbers become columns too.
        """
        now = time.time()
        with self.transaction():
            row = self._row("SELECT state, epoch, started FROM task WHERE movie_id = ?", task.movie_id)
            if row is None or row["state"] != "running" or row["epoch"] != task.epoch:
                raise ValueError(f"the task of {task.name} is not running: its result came too late")
            self._store_record(task, record, row["started"], now)
            # Settings that were applied meanwhile may ask for more: claiming finds out.
            in_force = self._value("SELECT value FROM meta WHERE key = 'applied_revision'")
            state = "done" if in_force in (None, str(task.revision)) else "ready"
            self._run(
                "UPDATE task SET state = ?, reason = NULL, traceback = NULL, alone = 0, attempts = 0,"
                " not_before = 0, key_motion = ?, key_ctf = ?, key_picking = ?, revision = ?, finished = ?"
                " WHERE movie_id = ?",
                state, *(task.keys[stage] for stage in STAGES), task.revision, now, task.movie_id,
            )  # fmt: skip
            # A movie's picks are new particles: its batch goes to the end of the order.
            self._run("DELETE FROM batch WHERE movie_id = ?", task.movie_id)
            if record.get("particles"):
                self._run(
                    "INSERT INTO batch(movie_id, particles, path, revision, key) VALUES (?, ?, ?, ?, ?)",
                    task.movie_id, record["particles"], particles_path, task.revision, task.keys["picking"],
                )  # fmt: skip
            self.log("micrograph_done", _summary(record), track="preprocess", movie=task.name)

    def restore_micrograph(
        self, movie_id: int, keys: Mapping[str, str], revision: int, record: Mapping[str, Any]
    ) -> None:
        """Results that were committed before the database was lost count again."""
        now = time.time()
        with self.transaction():
            row = self._row("SELECT name, path FROM movie WHERE id = ?", movie_id)
            assert row is not None
            self._run(
                "UPDATE task SET state = 'running', epoch = ?, started = ? WHERE movie_id = ?",
                self.epoch, now, movie_id,
            )  # fmt: skip
            task = ClaimedTask(
                movie_id=movie_id, name=row["name"], path=row["path"], first_stage=STAGES[0],
                keys=dict(keys), revision=revision, attempts=0, alone=False, epoch=self.epoch,
            )  # fmt: skip
            self.commit_micrograph(task, record)
            # Whether the settings in force ask for more, claiming finds out.
            self._run("UPDATE task SET state = 'ready' WHERE movie_id = ?", movie_id)

    def task_failed(
        self, task: ClaimedTask, kind: str, reason: str, traceback: str | BaseException | None = None
    ) -> str:
        """Retry with back-off (transient), once (deterministic), once alone (killed); else give up.

        Returns the state: ready, failed or quarantined.
        """
        if isinstance(traceback, BaseException):
            traceback = "".join(traceback_module.format_exception(traceback))
        state, wait, alone = _after_failure(kind, task)
        now = time.time()
        with self.transaction():
            changed = self._run(
                "UPDATE task SET state = ?, not_before = ?, alone = ?, reason = ?, traceback = ?,"
                " finished = ? WHERE movie_id = ? AND state = 'running' AND epoch = ?",
                state, now + wait, int(alone), reason, traceback, now, task.movie_id, task.epoch,
            ).rowcount  # fmt: skip
            if changed:
                again = {"ready": "; it will be tried again", "quarantined": "; it is put aside"}
                self.log(
                    f"micrograph_{'retry' if state == 'ready' else state}", reason + again.get(state, ""),
                    track="preprocess", movie=task.name, level="warning" if state == "ready" else "error",
                )  # fmt: skip
        return state

    def release_tasks(self, tasks: list[ClaimedTask] | None = None) -> int:
        """Running → ready without blame: at runner start (all of them), or after cancelling ``tasks``.

        A task found running at start may have taken the runner down with it, so its attempt counts:
        after three such it runs alone, and then is put aside.
        """
        with self.transaction():
            if tasks is not None:
                self._run_many(
                    "UPDATE task SET state = 'ready', attempts = MAX(attempts - 1, 0)"
                    " WHERE movie_id = ? AND state = 'running' AND epoch = ?",
                    [(task.movie_id, task.epoch) for task in tasks],
                )
                return len(tasks)
            self._run(
                "UPDATE task SET state = 'quarantined', finished = ?, reason = 'the runner ended while it"
                " worked on this movie, time and again'"
                " WHERE state = 'running' AND alone = 1 AND attempts > 4",
                time.time(),
            )
            return self._run(
                "UPDATE task SET state = 'ready', alone = attempts >= 3 WHERE state = 'running'"
            ).rowcount

    def release_running(self) -> dict[str, int]:
        """Runner start: put back what the runner before left running, and answer its open commands."""
        with self.transaction():
            counts = {
                "transfers": self._run(
                    "UPDATE movie SET state = 'found' WHERE state = 'transferring'"
                ).rowcount,
                "tasks": self.release_tasks(),
                "rounds": self._run(
                    "UPDATE round SET state = 'failed', finished = ?, reason = 'the runner ended'"
                    " WHERE state = 'running'",
                    time.time(),
                ).rowcount,
                "exports": self._run(
                    "UPDATE export SET state = 'failed', finished = ?, message = 'the runner ended'"
                    " WHERE state IN ('waiting', 'running')",
                    time.time(),
                ).rowcount,
            }
            self._run(
                "UPDATE command SET ok = 0, message = 'the runner ended before it answered; try again'"
                " WHERE ok IS NULL"
            )
        return counts

    def reset_stages(self, settings: Settings, *, retry: bool = True) -> dict[str, int]:
        """Restart: what other ``settings`` made becomes ready again; failed tasks are tried anew.

        Or not, without ``retry``. Returns micrographs to redo by first stage, and "retried".
        """
        own, now = own_keys(settings), time.time()
        counts = dict.fromkeys((*STAGES, "retried"), 0)
        with self.transaction():
            stale = []
            for row in self._rows(
                "SELECT m.id, m.hash, m.size, m.mtime_ns, t.key_motion, t.key_ctf, t.key_picking FROM task t"
                " JOIN movie m ON m.id = t.movie_id WHERE t.state = 'done'"
            ):
                held = {stage: row[f"key_{stage}"] for stage in STAGES}
                if first := first_changed(held, movie_keys(own, input_hash(row))):
                    counts[first] += 1
                    stale.append((now, row["id"]))
            self._run_many(
                "UPDATE task SET state = 'ready', attempts = 0, not_before = 0, ready = ? WHERE movie_id = ?",
                stale,
            )
            counts["retried"] = self.retry() if retry else 0
        return counts

    def retry(self, movie: str | None = None) -> int:
        """Failed and quarantined tasks (or that of one movie, ignored ones too) become ready."""
        with self.transaction():
            return self._run(
                "UPDATE task SET state = 'ready', attempts = 0, not_before = 0, reason = NULL,"
                " alone = (state = 'quarantined'), ready = ?"
                " WHERE (state IN ('failed', 'quarantined') OR (state = 'ignored' AND ? IS NOT NULL))"
                " AND (? IS NULL OR movie_id = (SELECT id FROM movie WHERE name = ?))",
                time.time(), movie, movie, movie,
            ).rowcount  # fmt: skip

    def clear_preprocess(self) -> int:
        """Drop all micrographs, particles and classes; every transferred movie is ready again.

        The caller has stopped the workers; the files are removed afterwards. Returns how many were dropped.
        """
        with self.transaction():
            self._run("DELETE FROM class")
            self._run("DELETE FROM round")
            self._run("DELETE FROM batch")
            self._run("DELETE FROM meta WHERE key = ?", SIZE)
            dropped = self._run("DELETE FROM micrograph").rowcount
            self._run("DELETE FROM task")
            self._run(
                "INSERT INTO task(movie_id, state, ready)"
                " SELECT id, 'ready', ? FROM movie WHERE state = 'done'",
                time.time(),
            )
            self.log("cleared", f"Cleared {dropped:,} micrographs.", track="preprocess")
        return dropped

    def held_keys(self, movie_id: int) -> dict[str, str | None]:
        """The keys of the results that lie there; none where an attempt may have written over them."""
        row = self._row(
            "SELECT * FROM task WHERE movie_id = ?"
            " AND (state = 'done' OR (state = 'ready' AND attempts = 0))",
            movie_id,
        )
        return {stage: row[f"key_{stage}"] for stage in STAGES} if row else {}

    def task_counts(self) -> dict[str, int]:
        """Tasks by state."""
        return {
            row["state"]: row["n"] for row in self._rows("SELECT state, COUNT(*) n FROM task GROUP BY state")
        }

    def next_retry(self) -> float | None:
        """Seconds until a task that backs off may be claimed; None when none waits."""
        at = self._value("SELECT MIN(not_before) FROM task WHERE state = 'ready'")
        return None if at is None else max(0.0, float(at) - time.time())

    def trouble(self, since: float) -> str | None:
        """Why pre-processing should pause: ten failures in a row, or 20 % of the last 50, after ``since``."""
        rows = self._rows(
            "SELECT state, reason FROM task WHERE finished >= ?"
            " AND state IN ('done', 'failed', 'quarantined') ORDER BY finished DESC LIMIT 50",
            since,
        )
        failed = [row["state"] != "done" for row in rows]
        if len(rows) >= 10 and all(failed[:10]):
            return f"ten movies in a row failed; the last one: {rows[0]['reason']}"
        if len(rows) >= 50 and sum(failed) >= 10:
            last = next(row["reason"] for row in rows if row["state"] != "done")
            return f"{sum(failed)} of the last 50 movies failed; the last one: {last}"
        return None

    def _next_ready(self, some_claimed: bool) -> dict[str, Any] | None:
        now = time.time()
        running = some_claimed or bool(self._value("SELECT COUNT(*) FROM task WHERE state = 'running'"))
        if self._value("SELECT 1 FROM task WHERE state = 'running' AND alone = 1"):
            return None
        self._claims += 1
        order = "t.movie_id ASC" if self._claims % 4 == 0 else "t.movie_id DESC"
        select = (
            "SELECT t.*, m.name, m.path, m.hash, m.size, m.mtime_ns FROM task t JOIN movie m"
            " ON m.id = t.movie_id WHERE t.state = 'ready' AND t.not_before <= ? AND t.alone = ?"
        )
        alone = self._row(f"{select} ORDER BY t.finished LIMIT 1", now, 1)
        # A lone task that waited long enough empties the machine; else it takes a quiet moment.
        if alone and now - (alone["finished"] or 0.0) > ALONE_WAITS_AT_MOST:
            return None if running else alone
        return self._row(f"{select} ORDER BY {order} LIMIT 1", now, 0) or (None if running else alone)

    def _store_record(
        self, task: ClaimedTask, record: Mapping[str, Any], started: float, finished: float
    ) -> None:
        values = {name: record[name] for name in MICROGRAPH_COLUMNS if name in record}
        more = {name: value for name, value in record.items() if name not in MICROGRAPH_COLUMNS}
        before = self._value("SELECT more FROM micrograph WHERE movie_id = ?", task.movie_id)
        values |= {
            "revision": task.revision, "version": __version__, "started": started, "finished": finished,
            "more": to_json(_merged(before, more)),
        }  # fmt: skip
        columns = ", ".join(values)
        updates = ", ".join(f"{name} = excluded.{name}" for name in values)
        self._run(
            f"INSERT INTO micrograph(movie_id, {columns}) VALUES ({', '.join('?' * (len(values) + 1))})"
            f" ON CONFLICT(movie_id) DO UPDATE SET {updates}",
            task.movie_id, *values.values(),
        )  # fmt: skip


def input_hash(movie: Mapping[str, Any]) -> str:
    """What stands for a movie's content in keys: its hash, or size and time of a link."""
    return movie["hash"] or f"{movie['size']}:{movie['mtime_ns']}"


def _after_failure(kind: str, task: ClaimedTask) -> tuple[str, float, bool]:
    if kind == "transient":
        if task.attempts >= LAST_TRANSIENT_ATTEMPT:
            return "failed", 0.0, False
        return "ready", min(2.0**task.attempts, 300.0), task.alone
    if kind == "deterministic":
        return ("failed" if task.attempts >= 2 else "ready"), 0.0, False
    if kind == "killed":
        return ("quarantined", 0.0, True) if task.alone else ("ready", 0.0, True)
    raise ValueError(f"got failure kind {kind!r}, expected transient, deterministic or killed")


def _merged(before: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
    return (json.loads(before) if before else {}) | dict(more)


def _summary(record: Mapping[str, Any]) -> str:
    parts = []
    if record.get("fit_resolution"):
        parts.append(ctf_doubt(record) or f"CTF to {record['fit_resolution']:.1f} Å")
    elif record.get("ctf_failed"):
        parts.append(f"no CTF: {record['ctf_failed']}")
    if record.get("particles") is not None:
        parts.append(f"{record['particles']:,} particles")
    return ", ".join(parts) or "done"
