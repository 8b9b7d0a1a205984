"""Rounds of 2D classification: what they consume, and what they leave."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextpyp_nb.session.database import Database, Row, to_json

# Micrographs that are up to date; their particles count while they are kept, and well enough fitted.
_BATCHES = (
    "SELECT b.id, b.particles, m.name, m.optics_group, m.excluded = 0 AND g.ctf_failed IS NULL"
    " AND g.defocus_u IS NOT NULL AND COALESCE(g.fit_resolution, 1e9) <= ? AS usable"
    " FROM batch b JOIN movie m ON m.id = b.movie_id"
    " JOIN task t ON t.movie_id = b.movie_id JOIN micrograph g ON g.movie_id = b.movie_id"
    " WHERE t.state = 'done' ORDER BY b.id DESC"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Particles that may be classified, and how many of them no round under this key has seen.

    ``leaving`` are those that the last round counted and the next one will not; it ended ``last_finished``
    (epoch s).
    """

    particles: int
    new: int
    leaving: int
    micrographs: int
    last_round: int | None
    last_finished: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRound:
    """A round to compute: micrograph names in commit order, their optics groups (0: unknown), and the
    round to go on from.

    ``last`` is the newest done one, whatever its key; new classes are known by ``first_identity`` and up.
    """

    number: int
    names: list[str]
    groups: list[int]
    batches: list[int]
    particles: int
    previous: int | None
    last: int | None
    first_identity: int
    key: str
    epoch: int


class Rounds(Database):
    """What the store knows and writes of 2D classification."""

    def pending_particles(
        self,
        ctf_max_resolution: float,
        key: str,
        passing: Collection[str] | None = None,
        max_particles: int | None = None,
    ) -> Pending:
        """What a round under ``key`` (`stages.classify_key`) could use now, of ``passing`` micrographs."""
        kept, refused = self._batches(ctf_max_resolution, passing)
        kept = _newest(kept, max_particles)
        last = self._last_round(key)
        seen = set() if last is None else set(json.loads(last["record"]))
        return Pending(
            particles=sum(row["particles"] for row in kept),
            new=sum(row["particles"] for row in kept if row["id"] not in seen),
            leaving=sum(row["particles"] for row in refused if row["id"] in seen),
            micrographs=len(kept),
            last_round=None if last is None else last["number"],
            last_finished=None if last is None else last["finished"],
        )

    def begin_round(
        self,
        *,
        ctf_max_resolution: float,
        key: str,
        seed: int,
        revision: int,
        max_particles: int | None = None,
        passing: Collection[str] | None = None,
    ) -> ClaimedRound:
        """Record the batches, in commit order, that the next round consumes (the newest, if too many)."""
        with self.transaction():
            rows = _newest(self._batches(ctf_max_resolution, passing)[0], max_particles)[::-1]
            previous = self._last_round(key)
            number = 1 + int(self._value("SELECT COALESCE(MAX(number), 0) FROM round"))
            claimed = ClaimedRound(
                number=number, names=[row["name"] for row in rows],
                groups=[int(row["optics_group"] or 0) for row in rows], batches=[row["id"] for row in rows],
                particles=sum(row["particles"] for row in rows),
                previous=None if previous is None else previous["number"],
                last=self._value("SELECT MAX(number) FROM round WHERE state = 'done'"),
                first_identity=1 + int(self._value("SELECT COALESCE(MAX(identity), -1) FROM class")),
                key=key, epoch=self.epoch,
            )  # fmt: skip
            self._run(
                "INSERT INTO round(number, state, particles, started, seed, record, key, revision, epoch)"
                " VALUES (?, 'running', ?, ?, ?, ?, ?, ?, ?)",
                number, claimed.particles, time.time(), seed, to_json(claimed.batches), key, revision,
                self.epoch,
            )  # fmt: skip
        return claimed

    def commit_round(
        self,
        number: int,
        classes: Sequence[Mapping[str, Any]],
        *,
        particles: int,
        resolution: float | None,
        path: str,
        **told: Any,
    ) -> None:
        """A round's classes (number, identity, count, share, resolution, score), its state and the event.

        ``told`` may hold new (particles), churn and annealed (classes were found anew).
        """
        with self.transaction():
            changed = self._run(
                "UPDATE round SET state = 'done', particles = ?, classes = ?, resolution = ?, path = ?,"
                " new = ?, churn = ?, annealed = ?, finished = ?"
                " WHERE number = ? AND state = 'running' AND epoch = ?",
                particles, len(classes), resolution, path, *map(told.get, ("new", "churn", "annealed")),
                time.time(), number, self.epoch,
            ).rowcount  # fmt: skip
            if not changed:
                raise ValueError(f"round {number} is not running: its result came too late")
            self._run_many(
                "INSERT INTO class(round, number, identity, count, share, resolution, score)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (number, c["number"], c.get("identity"), c["count"], c["share"], c.get("resolution"),
                     c.get("score"))
                    for c in classes
                ],
            )  # fmt: skip
            best = f", best {resolution:.1f} Å" if resolution else ""
            self.log(
                "round_done", f"Round {number}: {particles:,} particles, {len(classes)} classes{best}.",
                track="classify",
            )  # fmt: skip

    def fail_round(self, number: int, reason: str) -> None:
        """A round came to nothing; its particles count as unseen again."""
        with self.transaction():
            self._run(
                "UPDATE round SET state = 'failed', reason = ?, finished = ? WHERE number = ?"
                " AND state = 'running'",
                reason, time.time(), number,
            )  # fmt: skip
            self.log("round_failed", f"Round {number}: {reason}", track="classify", level="error")

    def failed_rounds(self) -> int:
        """How many of the newest rounds failed in a row."""
        states = [row["state"] for row in self._rows("SELECT state FROM round ORDER BY number DESC LIMIT 10")]
        return next((i for i, state in enumerate(states) if state != "failed"), len(states))

    def mark_classes(self, identities: Collection[int], accepted: bool | None) -> None:
        """Accept or reject classes, known by their identity, for good; None takes the mark off."""
        with self.transaction():
            known = {row["identity"] for row in self._rows("SELECT DISTINCT identity FROM class")}
            if unknown := sorted(set(identities) - known):
                raise ValueError(f"there is no class of identity {unknown[0]} in this session")
            rows = [(identity,) for identity in identities]
            self._run_many("DELETE FROM class_mark WHERE identity = ?", rows)
            if accepted is not None:
                self._run_many(f"INSERT INTO class_mark VALUES (?, {int(accepted)})", rows)

    def clear_classes(self) -> int:
        """Drop all rounds; particles stay. The files are removed afterwards. Returns how many rounds."""
        with self.transaction():
            self._run("DELETE FROM class")
            self._run("DELETE FROM class_mark")
            dropped = self._run("DELETE FROM round").rowcount
            self.log("cleared", f"Cleared {dropped} rounds of 2D classification.", track="classify")
        return dropped

    def check_place(self, movie: str, y: float, x: float) -> float:
        """The pixel size (Å) of a micrograph on which (y, x) px lies."""
        row = self._row(
            "SELECT height, width, pixel_size FROM micrograph g JOIN movie m ON m.id = g.movie_id"
            " WHERE m.name = ?",
            movie,
        )
        if row is None:
            raise ValueError(f"no micrograph {movie!r} in this session (yet)")
        if not (0 <= y < row["height"] and 0 <= x < row["width"]):
            raise ValueError(
                f"y {y:g}, x {x:g} px lies outside {movie}, which is {row['height']} × {row['width']} px"
            )
        return float(row["pixel_size"])

    def count_particles(self, movie: str, particles: int) -> None:
        """The picks of a micrograph after people changed them; rounds see them from then on."""
        with self.transaction():
            where = "WHERE movie_id = (SELECT id FROM movie WHERE name = ?)"
            self._run(f"UPDATE micrograph SET particles = ? {where}", particles, movie)
            self._run(f"UPDATE batch SET particles = ? {where}", particles, movie)
            self._run(
                "INSERT INTO batch(movie_id, particles, revision, key) SELECT t.movie_id, ?, t.revision,"
                " COALESCE(t.key_picking, '') FROM task t JOIN movie m ON m.id = t.movie_id WHERE m.name = ?"
                " ON CONFLICT(movie_id) DO NOTHING",
                particles, movie,
            )  # fmt: skip

    def _batches(
        self, ctf_max_resolution: float, passing: Collection[str] | None
    ) -> tuple[list[Row], list[Row]]:
        """Batches of micrographs that are up to date, newest first: those that count, and the others."""
        kept: list[Row] = []
        refused: list[Row] = []
        for row in self._rows(_BATCHES, ctf_max_resolution):
            passes = row["usable"] and (passing is None or row["name"] in passing)
            (kept if passes else refused).append(row)
        return kept, refused

    def _last_round(self, key: str) -> Row | None:
        """The newest done round, if it was computed under ``key``: others are no start to go on from."""
        row = self._row("SELECT * FROM round WHERE state = 'done' ORDER BY number DESC LIMIT 1")
        return row if row is not None and row["key"] == key else None


def _newest(rows: list[Row], max_particles: int | None) -> list[Row]:
    if max_particles is None:
        return rows
    taken: list[Row] = []
    total = 0
    for row in rows:
        if taken and total >= max_particles:
            break
        taken.append(row)
        total += row["particles"]
    return taken
