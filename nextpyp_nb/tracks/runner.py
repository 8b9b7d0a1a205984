"""The program of a session: one writer that runs the three tracks and obeys commands."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.engine.task import Engine, Task
from nextpyp_nb.session import inbox
from nextpyp_nb.session.groups import group_readable
from nextpyp_nb.session.journal import note
from nextpyp_nb.session.lease import Lease, acquire
from nextpyp_nb.session.session import Session, owned
from nextpyp_nb.session.store import Fenced, Store
from nextpyp_nb.session.tryouts import RUNNER_ENDED
from nextpyp_nb.settings import SettingsError, read_site
from nextpyp_nb.tracks.classify import ClassifyTrack
from nextpyp_nb.tracks.commands import Commands
from nextpyp_nb.tracks.engines import movie_workers, worker_plan
from nextpyp_nb.tracks.logbook import Logbook
from nextpyp_nb.tracks.preprocess import PreprocessTrack
from nextpyp_nb.tracks.self_check import SelfCheck
from nextpyp_nb.tracks.track import Live, Track, is_full
from nextpyp_nb.tracks.transfer import TransferTrack
from nextpyp_nb.tracks.tryouts import TryOuts
from nextpyp_nb.tracks.watch import Watch, last_look

LINGER = 3.0
# An option of glibc's mallopt, and bytes.
M_MMAP_THRESHOLD, LARGE = -3, 1 << 20


class Runner:
    """Holds the lease, the tracks and their engines for the life of one run.

    ``tick`` is how often it looks whether it may end, s.
    """

    tick = 0.5

    def __init__(self, folder: Path, store: Store, lease: Lease, *, until_idle: bool) -> None:
        self.store, self.lease, self.folder = store, lease, folder
        self.logs = Logbook(folder)
        revision, settings = store.applied_settings()
        self.live = Live(folder, store, self.logs, settings, revision, until_idle)
        workers = movie_workers(settings, folder, epoch=lease.epoch, site=read_site())
        self.movies, self._resources = workers.engine, settings.resources
        # Its matrix products are small: several threads would cost more CPU time and gain none.
        near = min(worker_plan(settings)[2], 1)
        self.rounds = Slots(1, threads=1, gpus=near, nice=10)
        self.transfer = TransferTrack(self.live)
        self.preprocess = PreprocessTrack(self.live, workers)
        self.classify = ClassifyTrack(self.live, self.rounds, near, len(os.sched_getaffinity(0)))
        self.tryouts = TryOuts(self.live, workers, epoch=lease.epoch)
        self.watch = Watch(self.live, read_site())
        self.self_check = SelfCheck(self.live)
        self.commands = Commands(self)
        self.error: BaseException | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._ended, self._serving = asyncio.Event(), False
        self._last_active = time.monotonic()

    @property
    def tracks(self) -> dict[str, Track]:
        """The tracks in the order of a movie's way."""
        return {track.name: track for track in (self.transfer, self.preprocess, self.classify)}

    def apply_settings(self) -> dict[str, int]:
        """Put the saved settings in force; what they touch becomes ready again."""
        self.store.latest_settings()[1].check()
        self.live.revision, self.live.settings = self.store.apply_settings()
        note(self.folder, "settings", {"settings": self.store.latest_settings()[1].model_dump()})
        self.transfer.apply_settings()
        return self.store.reset_stages(self.live.settings)

    async def take_up_resources(self) -> None:
        """Move to the workers that the settings in force ask for; what is in work begins anew there."""
        wanted = self.live.settings.resources
        if self._resources.same_workers(wanted):
            return
        await self.preprocess.drop_all()
        self.tryouts.dropped("cancelled: other workers were chosen")
        former, self._resources = self.movies, wanted
        workers = movie_workers(self.live.settings, self.folder, epoch=self.lease.epoch, site=read_site())
        self.movies = workers.engine
        self.preprocess.use(workers)
        self.tryouts.use(workers)
        if self._serving:
            self.spawn(self._listen(self.movies, self.preprocess))
        await asyncio.to_thread(former.close)

    def end(self) -> None:
        """Leave as soon as the loops notice."""
        self._ended.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a job beside the tracks; one that raises ends the runner with its error."""
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._job_done)

    async def run(self, *, detached: bool, finished: Callable[[], bool]) -> None:
        """Until told to end: detached, when nothing is wanted any more; else when ``finished``."""
        self._serving = True
        for work in (
            *(track.run() for track in self.tracks.values()),
            self._heartbeat(), self._obey(), self.tryouts.run(), self.watch.run(), self.self_check.run(),
            self._listen(self.movies, self.preprocess), self._listen(self.rounds, self.classify),
        ):  # fmt: skip
            self.spawn(work)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self.tick)
            over = self._unwanted() if detached else finished() and not self.commands.busy()
            if over and not await self.commands.jobs.final_report():
                break
        await self._close()
        if self.error is not None:
            raise self.error

    async def cancel_all(self) -> None:
        """Everything stops now; results so far stay."""
        for track in self.tracks.values():
            track.wanted, track.stopping = False, False
        await self.preprocess.drop_all()
        self.tryouts.dropped("cancelled")
        await self.classify.drop_all()

    def _unwanted(self) -> bool:
        active = any(t.wanted or t.busy() or t.trouble for t in self.tracks.values()) or self.commands.busy()
        if active or any((self.folder / "inbox").glob("*.json")):
            self._last_active = time.monotonic()
        return time.monotonic() - self._last_active > LINGER

    async def _heartbeat(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.lease.beat()
            await asyncio.sleep(1)

    async def _obey(self) -> None:
        site, session = read_site(), Session(self.folder)
        while True:
            for command in inbox.collect(
                self.store, self.folder, owner=session.owner, group=session.group, site=site
            ):
                await self.commands.obey(command)
            await asyncio.sleep(0.1)

    async def _listen(self, engine: Engine, track: Any) -> None:
        async for task, outcome in engine.events():
            while True:
                try:
                    self._take(track, task, outcome)
                    break
                except OSError as error:
                    if not is_full(error):
                        raise
                    # The result waits in memory until the disk takes it.
                    await asyncio.sleep(5)

    def _take(self, track: Any, task: Task, outcome: Any) -> None:
        if not self.commands.take(task, outcome):
            track.take(task, outcome)

    def _job_done(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.error = self.error or task.exception()
            self._ended.set()

    async def _close(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*list(self._jobs), return_exceptions=True)
        await self.transfer.finish()
        await asyncio.to_thread(self.movies.close)
        await asyncio.to_thread(self.rounds.close)
        if not isinstance(self.error, Fenced):
            await self.preprocess.drop_all()
            self.tryouts.dropped(RUNNER_ENDED)
            await self.classify.drop_all()
        self.logs.close()


async def run_session(
    folder: Path,
    *,
    detached: bool = False,
    resume: bool = True,
    until_idle: bool = False,
    still_coming: Callable[[], bool] = lambda: False,
    progress: Any = None,
    signals: bool = True,
    kind: type[Runner] = Runner,
) -> int:
    """Run a session in this process; returns 0, or 1 with a list on stderr when something failed.

    In the foreground all tracks start at once; detached, with ``resume``, those that were wanted go on. With
    ``until_idle`` the run ends when everything there is (and ``still_coming`` says no more comes) is through,
    with a last round of 2D classification.
    ``kind`` is a runner of another make, such as one that only pretends to compute.
    """
    owned(folder, "run")
    give_memory_back()
    with group_readable():
        return await _run_session(
            folder, detached=detached, resume=resume, until_idle=until_idle, still_coming=still_coming,
            progress=progress, signals=signals, kind=kind,
        )  # fmt: skip


async def _run_session(
    folder: Path, *, detached: bool, resume: bool, until_idle: bool, still_coming: Callable[[], bool],
    progress: Any, signals: bool, kind: type[Runner],
) -> int:  # fmt: skip
    store = Store(folder / "session.db")
    try:
        lease = acquire(store)
    except BaseException:
        store.close()
        raise
    session = Session(folder)
    try:
        with lease:
            store.release_running()
            runner = kind(folder, store, lease, until_idle=until_idle)
            if signals:
                _obey_signals(runner)
            if not detached:
                await _start_all(runner)
            elif resume:
                _resume(runner)
            ended = asyncio.Event()
            watcher = asyncio.create_task(_show(session, progress, ended)) if progress else None
            try:
                await runner.run(
                    detached=detached, finished=lambda: until_idle and _through(runner, still_coming)
                )
            finally:
                ended.set()
                if watcher:
                    await asyncio.gather(watcher, return_exceptions=True)
            troubles = [f"{t.name}: {t.trouble}" for t in runner.tracks.values() if t.trouble]
            if store.failed_rounds():
                troubles.append("classify: the last round of 2D classification failed; see logs/classify.log")
        last_look(session)
    finally:
        store.close()
    return 0 if detached else _verdict(session, troubles)


def give_memory_back() -> None:
    """Large blocks of memory go back to the system when they are freed.

    Else glibc raises the size from which they do to that of the largest one freed so far, and the heap of
    every thread that copied a movie keeps what it took for it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


async def _start_all(runner: Runner) -> None:
    runner.apply_settings()
    await runner.take_up_resources()
    for track in runner.tracks.values():
        track.start()


def _resume(runner: Runner) -> None:
    """Tracks that were wanted when the last runner died go on."""
    for name, track in runner.tracks.items():
        if runner.store.track(name)["wanted"] == "running":
            with contextlib.suppress(SettingsError):
                track.start()


def _through(runner: Runner, still_coming: Callable[[], bool]) -> bool:
    """Whether everything there is is through; a last round of 2D classification is asked for on the way."""
    if still_coming():
        # What came last is found by looks that begin when no more is announced.
        runner.transfer.look_again()
        return False
    transferred = runner.transfer.idle() or runner.transfer.hopeless()
    if not (transferred and runner.preprocess.idle()) or runner.classify.busy():
        return False
    if runner.classify.final_round_due() and not runner.classify.trouble:
        runner.classify.ask()
        return False
    return True


def _obey_signals(runner: Runner) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, runner.end)


async def _show(session: Session, progress: Any, ended: asyncio.Event) -> None:
    """Draw how the session stands each second, and how it ended."""
    with progress:
        while not ended.is_set():
            progress.show(await asyncio.to_thread(session.status))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1)
        progress.show(session.status())


def _verdict(session: Session, troubles: list[str]) -> int:
    failed = session.failed()
    for trouble in troubles:
        sys.stderr.write(f"{trouble}\n")
    if len(failed):
        sys.stderr.write(f"{len(failed)} failed:\n")
        for row in failed.itertuples():
            sys.stderr.write(f"  {row.movie}: {row.reason}\n")
    return 1 if len(failed) or troubles else 0
