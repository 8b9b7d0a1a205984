"""Pre-processing: claim the newest movies, let workers process them, commit what comes back."""

import errno
import time
from pathlib import Path
from typing import Any

from nextpyp_nb.engine.task import Done, Failed, Killed, Progress, Task
from nextpyp_nb.session.gain_check import FITS, UNCLEAR, read_gain_check
from nextpyp_nb.session.journal import note
from nextpyp_nb.session.tasks import ClaimedTask
from nextpyp_nb.tracks.engines import Workers
from nextpyp_nb.tracks.sizing import Sizing
from nextpyp_nb.tracks.track import Live, Track, explain

FUNCTION = "nextpyp_nb.tracks.process_movie:process_movie"
WORDS = {"motion": "aligning", "ctf": "fitting the CTF of", "picking": "picking"}


class PreprocessTrack(Track):
    """Keeps the engine's slots filled; each result is one transaction."""

    name = "preprocess"

    def __init__(self, live: Live, workers: Workers) -> None:
        super().__init__(live)
        self.function = FUNCTION
        self.use(workers)
        self._running: dict[str, ClaimedTask] = {}
        self._stage: dict[str, str] = {}
        self._count = 0
        self._away: Path | None = None
        self._gain_check = read_gain_check(live.folder)
        self._since = time.time()
        self.sizing = Sizing(live)
        self._idle_since: float | None = None

    def use(self, workers: Workers) -> None:
        """Give movies to these from now on."""
        self.engine: Any = workers.engine
        self._device, self._threads = workers.device, workers.threads

    def start(self) -> None:
        """Want work from now on; earlier failures no longer pause the track."""
        self._since = time.time()
        self.sizing.refresh()
        super().start()

    async def step(self) -> float:
        """Fill the free slots."""
        if self.live.settings.transfer.only:
            return 2.0
        if self._away is not None and not self._away.exists():
            raise FileNotFoundError(f"{self._away} is out of reach; its movies wait until it is back")
        self._away = None
        store = self.live.store
        if reason := store.trouble(self._since):
            self.pause(f"paused: {reason}; mend the cause, then press Start")
            return 1.0
        self._look_at_sizes()
        free = self.engine.slots() - len(self._running)
        for task in store.claim_tasks(free, "", self.live.revision, self.live.settings) if free > 0 else ():
            await self._submit(task)
        retry = store.next_retry()
        return min(2.0, max(0.1, retry)) if retry is not None and free > 0 else 2.0

    def _look_at_sizes(self) -> None:
        if not self._drained():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        self.sizing.step(list(self._running.values()), self._idle_since)

    async def _submit(self, task: ClaimedTask) -> None:
        self._count += 1
        number = f"movie-{self._count}"
        payload = {
            "folder": str(self.live.folder),
            "name": task.name,
            "path": task.path,
            "settings": self.live.settings.model_dump(),
            "first_stage": task.first_stage,
            "ctf_key": task.keys["ctf"],
            "keys": task.keys,
            "measure_size": self.sizing.wanted(),
            "threads": self._threads,
            "device": self._device,
        }
        self._running[number] = task
        timeout = self.live.settings.resources.walltime
        await self.engine.submit(
            Task(id=number, function=self.function, payload=payload, timeout=timeout, epoch=task.epoch)
        )

    def take(self, task: Task, outcome: Done | Failed | Killed | Progress) -> None:
        """Take what the engine says of one of our tasks."""
        if isinstance(outcome, Progress):
            self._stage[task.id] = outcome.report.get("stage", "")
            return
        claimed = self._running.get(task.id)
        if claimed is None:
            return
        if isinstance(outcome, Done):
            curve = outcome.result.pop("size_curve", None)
            with self.live.store.transaction():
                self.live.store.commit_micrograph(claimed, outcome.result)
                self.sizing.take(claimed, curve)
            note(self.live.folder, "micrograph", {
                "name": claimed.name, "keys": claimed.keys, "revision": claimed.revision,
                "record": outcome.result,
            })  # fmt: skip
            self.live.logs[self.name].info("done", extra={"movie": claimed.name})
            self.live.wake("classify")
        else:
            self._take_failure(claimed, outcome)
        self._tell_gain_check()
        self._running.pop(task.id, None)
        self._stage.pop(task.id, None)
        self._wake.set()

    def _tell_gain_check(self) -> None:
        """Say what the first movies tell of the gain reference, once, and again when it changes."""
        check = read_gain_check(self.live.folder)
        if check is None or check == self._gain_check:
            return
        last, self._gain_check = self._gain_check, check
        if last is None or (last["verdict"], last["proposal"]) != (check["verdict"], check["proposal"]):
            level = "info" if check["verdict"] in (FITS, UNCLEAR) else "warning"
            self.log(level, "gain_check", check["text"])

    def _take_failure(self, claimed: ClaimedTask, outcome: Failed | Killed) -> None:
        kind = outcome.kind if isinstance(outcome, Failed) else "killed"
        trace = outcome.traceback if isinstance(outcome, Failed) else ""
        if f"[Errno {errno.ENOSPC}]" in trace:
            # Not the movie's fault: it waits until there is room.
            self.full, self.trouble = True, explain(OSError(errno.ENOSPC, "", str(self.live.folder)))
            self.live.store.release_tasks([claimed])
            return
        folder = Path(claimed.path).resolve().parent
        if not folder.exists():
            # Nor is an unmounted disk: a link leads nowhere until it is back.
            self._away = folder
            self.live.store.release_tasks([claimed])
            return
        state = self.live.store.task_failed(claimed, kind, outcome.reason, trace)
        text = f"{outcome.reason} ({state})\n{trace}".strip()
        self.live.logs[self.name].error(text, extra={"movie": claimed.name})

    async def drop_all(self) -> None:
        """Cancel what is in flight and give it back, as if it had not been claimed."""
        claimed = list(self._running.values())
        self._running.clear()
        self._stage.clear()
        await self.engine.cancel(None)
        self.live.store.release_tasks(claimed)

    def busy(self) -> bool:
        """Whether movies are with the workers."""
        return bool(self._running)

    def idle(self) -> bool:
        """Whether no movie waits or runs, and the size of particles is as known as it will be."""
        return self._drained() and not (self.wanted and self.sizing.pending())

    def _drained(self) -> bool:
        counts = self.live.store.task_counts()
        return not self._running and not counts.get("ready") and not counts.get("running")

    def message(self) -> str:
        """Which movies are in which stage."""
        if self.live.settings.transfer.only:
            return "transfer only is set: movies wait"
        parts = [
            f"{WORDS.get(self._stage.get(number, ''), 'reading')} {task.name}"
            for number, task in list(self._running.items())[:2]
        ]
        now = ", ".join(parts) or self.engine.message() or "waiting for movies"
        also = self.engine.message() if parts else ""
        return "; ".join(filter(None, (now, also, self.sizing.message())))
