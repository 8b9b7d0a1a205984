"""Jobs of SLURM as Dask workers: as many as are wanted, whatever ends them.

The scheduler is the runner's own, with keys made for this run. dask-jobqueue writes and submits the jobs; it
does not replace one that was cancelled or ran out of time, so every few seconds what is wanted is compared
with what SLURM and the scheduler know.
"""

import asyncio
import contextlib
import secrets
import shlex
import sys
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

import dask
from dask_jobqueue.slurm import SLURMJob
from distributed import Scheduler, Security

from nextpyp_nb.engine.agent import ENDS

ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
)  # fmt: skip
# Seconds that a running job may be without a worker: at first, and once it had one.
BEGINS, AWAY = 120.0, 30.0
# Workers that lose their scheduler end by themselves.
DEATH_TIMEOUT = 60
# Shell lines of each job: quiet workers without pages of their own.
PROLOGUE = (
    "export DASK_DISTRIBUTED__LOGGING__DISTRIBUTED=warning",
    "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What to ask SLURM for; ``memory`` in GB and ``hours`` of each job, ``folder`` seen by all nodes."""

    name: str
    jobs: int
    threads: int
    memory: float
    hours: float
    folder: Path
    gpus: int = 0
    partition: str = ""
    arguments: tuple[str, ...] = ()
    interface: str | None = None
    prologue: tuple[str, ...] = ()
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class _State:
    """What SLURM says of a job."""

    number: str
    state: str
    reason: str


@dataclass(slots=True)
class _Held:
    """A job of ours: whether its worker was ever seen, and since when it is missing."""

    job: SLURMJob
    began: bool = False
    missing: float | None = None


class Slurm:
    """A pool of ``plan.jobs`` jobs, looked after every ``interval`` s."""

    def __init__(self, plan: JobPlan, *, interval: float = 5.0) -> None:
        self._plan, self._interval = plan, interval
        # Jobs go by names of their own: SLURM gives a number twice when its controller was killed.
        self._name = f"{plan.name}-{secrets.token_hex(4)}"
        self._held: dict[str, _Held] = {}
        self._count, self._in_vain, self._not_before = 0, 0, 0.0
        self._said = ""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[str, Security | None]]:
        """A scheduler here, and jobs that find it; all jobs are cancelled at the end."""
        keys = _keys(self._plan.folder / "keys")
        with dask.config.set({"distributed.scheduler.http.routes": []}):
            scheduler = Scheduler(
                protocol="tls://", interface=self._plan.interface, port=0, security=keys, dashboard=False,
                dashboard_address="127.0.0.1:0",
            )  # fmt: skip
        async with scheduler:
            # Of an earlier runner of this session, which was killed.
            await self._end_others(await self._states())
            tending = asyncio.create_task(self._tend(scheduler, keys))
            try:
                yield scheduler.address, keys
            finally:
                tending.cancel()
                await asyncio.gather(tending, return_exceptions=True)
                with contextlib.suppress(OSError):
                    await self._end_others(await self._states())

    def message(self) -> str:
        """What the jobs wait for, or nothing when all of them work."""
        return self._said

    async def _tend(self, scheduler: Scheduler, keys: Security) -> None:
        while True:
            try:
                states = await self._states()
                present = {state.name for state in scheduler.workers.values()}
                for name, held in list(self._held.items()):
                    await self._look(name, held, states.get(name), name in present)
                self._say(states)
                await self._end_others(states, self._held)
                while len(self._held) < self._plan.jobs and time.monotonic() >= self._not_before:
                    await self._start(scheduler.address, keys)
            except (OSError, RuntimeError, ValueError) as error:
                # Jobs that run go on without SLURM's word; nothing is started or ended until it is back.
                self._said = f"SLURM says: {_line(error)}"
                self._not_before = time.monotonic() + self._interval
            await asyncio.sleep(self._interval)

    async def _look(self, name: str, held: _Held, known: _State | None, present: bool) -> None:
        """Forget a job that ended; end one that runs in vain."""
        held.began = held.began or present
        if present:
            held.missing, self._in_vain = None, 0
        elif known is None:
            del self._held[name]
            if not held.began:
                self._in_vain += 1
                self._not_before = time.monotonic() + min(300.0, 5 * 2.0**self._in_vain)
        elif known.state == "RUNNING":
            held.missing = held.missing or time.monotonic()
            if time.monotonic() - held.missing > (AWAY if held.began else BEGINS):
                del self._held[name]
                await _call("scancel", known.number)

    async def _start(self, address: str, keys: Security) -> None:
        plan = self._plan
        self._count += 1
        name = f"{self._name}-{self._count}"
        minutes = max(1, round(plan.hours * 60))
        gpus = (
            [f"--gres=gpu:{plan.gpus}"] if plan.gpus > 0 and "gres=" not in " ".join(plan.arguments) else []
        )
        # Newer SLURMs tell the end themselves, whatever more was asked of sbatch.
        ends = f"export {ENDS}=${{SLURM_JOB_END_TIME:-$(($(date +%s) + {60 * minutes}))}}"
        job = SLURMJob(
            scheduler=address, name=name, job_name=name, queue=plan.partition or None,
            cores=plan.threads, processes=1, memory=f"{plan.memory} GiB",
            walltime=f"{minutes // 60:02d}:{minutes % 60:02d}:00", nanny=False,
            death_timeout=DEATH_TIMEOUT, local_directory="${TMPDIR:-/tmp}", security=keys,
            log_directory=str(plan.folder / "logs"), python=f"exec {shlex.quote(plan.python)}",
            job_extra_directives=["--no-requeue", *gpus, *plan.arguments],
            job_script_prologue=[*PROLOGUE, ends, *plan.prologue],
            worker_extra_args=["--no-dashboard", "--preload", "nextpyp_nb.engine.agent"],
            interface=plan.interface, protocol="tls://",
        )  # fmt: skip
        try:
            await job.start()
        except (OSError, RuntimeError, ValueError):
            self._in_vain += 1
            raise
        self._held[name] = _Held(job)

    async def _end_others(self, states: dict[str, _State], held: Collection[str] = ()) -> None:
        """End jobs of this session but those that are held."""
        others = [known.number for name, known in states.items() if name not in held]
        if others:
            await _call("scancel", *others)

    async def _states(self) -> dict[str, _State]:
        """The jobs of this session that have not ended, by name."""
        told = await _call("squeue", "--noheader", "--me", "--format=%j|%i|%T|%r")
        rows = (line.split("|", 3) for line in told.splitlines() if line.startswith(f"{self._plan.name}-"))
        return {name: _State(number, state, why) for name, number, state, why in rows if state not in ENDED}

    def _say(self, states: dict[str, _State]) -> None:
        waiting = [known.reason for known in states.values() if known.state == "PENDING"]
        parts = []
        if waiting:
            parts.append(f"{len(waiting)} of {self._plan.jobs} SLURM jobs wait ({waiting[0]})")
        if self._in_vain:
            parts.append(
                f"{self._in_vain} jobs ended before their worker began: see {self._plan.folder / 'logs'}"
            )
        self._said = "; ".join(parts)


def _keys(folder: Path) -> Security:
    """Keys of a new certificate, in files that only we can read; scheduler and workers trust no other."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Security.temporary()
    files = {}
    for name in ("ca_file", "worker_cert", "worker_key"):
        path = folder / f"{name}.pem"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(getattr(made, f"tls_{name}"))
        files[name] = str(path)
    pairs = {
        f"tls_{role}_{what}": files[f"worker_{what}"]
        for role in ("scheduler", "worker", "client")
        for what in ("cert", "key")
    }
    return Security(tls_ca_file=files["ca_file"], require_encryption=True, **pairs)


async def _call(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    except TimeoutError:
        process.kill()
        raise OSError(f"{command[0]} did not answer in 30 s") from None
    if process.returncode:
        raise OSError(err.decode(errors="replace").strip() or f"{command[0]} ended with {process.returncode}")
    return out.decode(errors="replace")


def _line(error: BaseException) -> str:
    """What a program said; dask-jobqueue puts it last, after the command."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
