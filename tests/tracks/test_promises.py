"""T1 to T9 as properties: whatever camera, disk, people and kills do, in whatever order.

T10 (a moved movie is the only copy) is in tests/session/test_session.py.
"""

import asyncio
import errno
import shutil
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nextpyp_nb.bench.faults.pretend import pretend_session, small_movie
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks import copying
from nextpyp_nb.tracks.copying import PART, digest_of
from nextpyp_nb.tracks.finding import Offline
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.track import Live
from nextpyp_nb.tracks.transfer import TransferTrack

SPOTS = [f"{folder}/m{n}.tiff" for folder in ("g1", "g2") for n in range(3)]
STRANGE = {"m0.tiff": b"a file of someone else", ".theirs.part": b"a partial file of someone else"}
spots = st.sampled_from(SPOTS)
numbers = st.integers(1, 50)


class Transfer(RuleBasedStateMachine):
    """A camera folder with six places for movies, and a session that copies or moves them."""

    @initialize(operation=st.sampled_from(["copy", "move"]), strange=st.booleans())
    def begin(self, operation, strange):
        self.root = Path(tempfile.mkdtemp())
        self.camera, self.away = self.root / "camera", self.root / "away"
        self.camera.mkdir()
        session = pretend_session(self.root / "sessions", self.camera, transfer__operation=operation)
        self.folder, self.raw = session.folder, session.folder / "raw"
        session.close()
        self.strange = STRANGE if strange else {}
        for name, content in self.strange.items():
            (self.raw / name).write_bytes(content)
        self.store = Store(self.folder / "session.db")
        self.lease = acquire(self.store)
        self.now, self.logs, self.moving = 0.0, Logbook(self.folder), operation == "move"
        self.there: dict[str, bytes] = {}
        self.complete: set[bytes] = set()
        self.ids: set[int] = set()
        self.start()

    def start(self):
        """A runner begins, as after a kill."""
        self.store.release_running()
        revision, chosen = self.store.latest_settings()
        self.track = TransferTrack(Live(self.folder, self.store, self.logs, chosen, revision))
        self.track._watch = lambda location: None
        self.track._intake.clock = lambda: self.now
        self.track.wanted = True

    def place(self, spot):
        path = (self.camera if self.camera.exists() else self.away) / spot
        path.parent.mkdir(exist_ok=True)
        return path

    @rule(spot=spots, number=numbers)
    def the_camera_writes_a_movie(self, spot, number):
        self.there[spot] = small_movie(number)
        self.complete.add(self.there[spot])
        self.place(spot).write_bytes(self.there[spot])

    @rule(spot=spots, number=numbers)
    def the_camera_writes_a_part(self, spot, number):
        content = small_movie(number)
        self.there[spot] = content[: len(content) * 2 // 3]
        self.place(spot).write_bytes(self.there[spot])

    @rule(spot=spots)
    def someone_deletes_at_the_source(self, spot):
        self.there.pop(spot, None)
        self.place(spot).unlink(missing_ok=True)

    @rule()
    def the_source_goes_or_comes_back(self):
        if self.camera.exists():
            self.camera.rename(self.away)
        else:
            self.away.rename(self.camera)

    @rule()
    def the_runner_is_replaced(self):
        (self.raw / f".m1.tiff{PART}").write_bytes(b"left by a kill")
        self.start()

    @rule(seconds=st.sampled_from([1, 30, 100]), looks=st.integers(1, 3))
    def look(self, seconds, looks):
        for _ in range(looks):
            self.now += seconds
            asyncio.run(self.step())

    @rule(number=st.sampled_from([errno.ENOSPC, errno.EIO]))
    def look_while_the_disk_fails(self, number):
        def fail(handle):
            raise OSError(number, "the disk fails")

        with patch.object(copying.os, "fsync", fail):
            self.now += 30
            asyncio.run(self.step())

    @precondition(lambda self: self.moving)
    @rule()
    def a_day_passes(self):
        self.store._run("UPDATE movie SET transferred = transferred - 86400")
        self.look(100, 2)

    async def step(self):
        self.track.full, self.track._not_before = False, 0.0
        with nullcontext() if self.camera.exists() else suppress(Offline):
            await self.track.step()
        while self.track._tasks:
            await asyncio.gather(*list(self.track._tasks), return_exceptions=True)

    def copies(self):
        return [p for p in self.raw.iterdir() if p.suffix == ".tiff" and p.name not in self.strange]

    @invariant()
    def t1_t6_sources_are_as_they_were_or_safe_here(self):
        for spot, content in self.there.items():
            path = self.place(spot)
            if path.exists():
                assert path.read_bytes() == content
            else:
                assert self.moving
                assert any(copy.read_bytes() == content for copy in self.copies())

    @invariant()
    def t2_whatever_has_its_name_is_whole(self):
        assert all(copy.read_bytes() in self.complete for copy in self.copies())

    @invariant()
    def t3_rows_tell_the_truth(self):
        for row in self.store.movies("done"):
            path = Path(row["path"])
            assert path.stat().st_size == row["size"]
            assert digest_of(path) == row["hash"]

    @invariant()
    def t4_t8_what_is_not_ours_is_not_touched(self):
        for name, content in self.strange.items():
            assert (self.raw / name).read_bytes() == content

    @invariant()
    def t5_t7_each_source_has_one_row_for_ever(self):
        rows = self.store.movies()
        ids = {row["id"] for row in rows}
        assert ids >= self.ids
        self.ids = ids
        assert len({row["source"] for row in rows}) == len({row["name"] for row in rows}) == len(rows)
        assert len(self.copies()) <= len(rows) + 1

    def teardown(self):
        """T9: once everything is in peace, whole movies get through beside those that never will."""
        if not hasattr(self, "track"):
            return
        if not self.camera.exists():
            self.away.rename(self.camera)
        self.store.retry_transfer()
        for _ in range(6):
            self.look(30, 1)
        states = {row["source"]: row["state"] for row in self.store.movies()}
        for spot, content in self.there.items():
            whole = content in self.complete
            state = states[str(self.camera / spot)]
            assert state in (("done", "conflict") if whole else ("settling", "stuck", "done")), (spot, state)
        self.lease.release()
        self.store.close()
        self.logs.close()
        shutil.rmtree(self.root)


Transfer.TestCase.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTransfer = Transfer.TestCase
