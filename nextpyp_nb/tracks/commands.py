"""What the runner does when it is told: start, stop, restart, clear, cancel, classify, try out, export."""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextpyp_nb.engine.task import Done, Failed, Progress, Task
from nextpyp_nb.session import commands as written
from nextpyp_nb.session.inbox import Ack, Command
from nextpyp_nb.session.session import Session
from nextpyp_nb.session.stages import WORDS
from nextpyp_nb.tracks.export import export_plan, write_templates

if TYPE_CHECKING:
    from nextpyp_nb.tracks.runner import Runner

TITLES = {"transfer": "File transfer", "preprocess": "Pre-processing", "classify": "2D classification"}
OPTIONS = ("particles", "stack", "float16", "accepted")
EXPORT = "nextpyp_nb.tracks.export:export_session"


class Commands:
    """Carries out commands on a runner and answers each."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._exports: dict[str, int] = {}

    async def obey(self, command: Command) -> None:
        """Carry out ``command``; what it cannot do is its answer, never the end of the runner."""
        store = self._runner.store
        if written.apply(store, command) is not None:
            for track in self._runner.tracks:
                self._runner.live.wake(track)
            return
        try:
            answer = Ack(ok=True, message=await getattr(self, f"_{command.name}")(command))
        except (ValueError, KeyError, TypeError, OSError) as error:
            answer = Ack(ok=False, message=str(error.args[0] if error.args else error))
        store.acknowledge(command.uuid, answer.ok, answer.message)
        level = "info" if answer.ok else "warning"
        store.log(f"command_{command.name}", f"{command.actor}: {answer.message}", level=level)

    def busy(self) -> bool:
        """Whether exports are being written, or settings tried out."""
        return bool(self._exports) or self._runner.tryouts.busy()

    def take(self, task: Task, outcome: Any) -> bool:
        """Take what the engine says of an export or a try-out; False when the task is none."""
        number = self._exports.get(task.id)
        if number is None:
            return self._runner.tryouts.take(task, outcome)
        store = self._runner.store
        if isinstance(outcome, Progress):
            store.set_export(number, "running", outcome.report.get("stage", ""))
            return True
        del self._exports[task.id]
        if isinstance(outcome, Done):
            done = outcome.result
            text = f"{done['micrographs']:,} micrographs, {done['particles']:,} particles"
            store.set_export(number, "done", text, done["path"])
            store.log("export_done", f"export to {done['path']}: {text}")
        else:
            reason = outcome.reason if isinstance(outcome, Failed) else f"the worker ended: {outcome.reason}"
            store.set_export(number, "failed", reason)
            store.log("export_failed", reason, level="error")
        return True

    async def _start(self, command: Command) -> str:
        names = self._named(command)
        redone = await asyncio.to_thread(self._runner.apply_settings)
        for name in names:
            self._runner.tracks[name].start()
        return f"{_listed(names)} started{_redoing(redone)}"

    async def _stop(self, command: Command) -> str:
        names = self._named(command)
        for name in names:
            self._runner.tracks[name].stop()
        busy = [name for name in names if self._runner.tracks[name].busy()]
        return f"{_listed(names)} stopped" + ("; what is in flight is finished first" if busy else "")

    async def _restart(self, command: Command) -> str:
        names = self._named(command)
        redone = await asyncio.to_thread(self._runner.apply_settings)
        if "transfer" in names:
            redone["retried"] += self._runner.store.retry_transfer()
        for name in names:
            self._runner.tracks[name].start()
        return f"{_listed(names)} restarted{_redoing(redone)}"

    async def _clear(self, command: Command) -> str:
        (name,) = self._named(command, default="transfer")
        runner = self._runner
        downstream = {"transfer": ("preprocess", "classify"), "preprocess": ("classify",)}.get(name, ())
        if name != "classify":
            await runner.preprocess.drop_all()
            runner.tryouts.dropped("cancelled: the results were cleared")
        await runner.classify.drop_all()
        answer = written.clear(runner.store, runner.folder, name)
        if name == "transfer":
            runner.transfer.apply_settings()
        for track in (name, *downstream):
            runner.live.wake(track)
        return answer

    async def _cancel(self, command: Command) -> str:
        runner = self._runner
        await runner.cancel_all()
        for task_id, number in list(self._exports.items()):
            runner.store.set_export(number, "cancelled", "cancelled")
            del self._exports[task_id]
        return "everything is stopped; results so far stay"

    async def _update_classes(self, command: Command) -> str:
        track = self._runner.classify
        answer = track.ask()
        if not track.wanted:
            track.start()
        return answer

    async def _use_templates(self, command: Command) -> str:
        runner, chosen = self._runner, set(command.arguments["identities"])
        path = runner.folder / "templates" / f"{command.uuid}.mrcs"
        count = await asyncio.to_thread(write_templates, Session(runner.folder), chosen, path)
        wanted = {"picking.method": "template", "picking.templates": str(path)}
        settings = runner.store.latest_settings()[1].updated(wanted | {"picking.template_pixel_size": None})
        number = runner.store.save_revision(settings, command.actor)
        return f"Revision {number} picks by {count} class averages; Restart of pre-processing applies it."

    async def _try_out(self, command: Command) -> str:
        return await self._runner.tryouts.begin(command)

    async def _export(self, command: Command) -> str:
        chosen, runner = command.arguments, self._runner
        options = {key: bool(value) for key, value in (chosen.get("options") or {}).items() if key in OPTIONS}
        wanted, expression = chosen.get("out"), chosen.get("filter")
        number = runner.store.add_export(expression or "all", wanted or "", expression, options)
        out = Path(wanted or runner.folder / "exports" / f"{number:04d}")
        try:
            plan = export_plan(Session(runner.folder), out, filter=expression, **options)
        except (ValueError, KeyError) as error:
            runner.store.set_export(number, "failed", str(error))
            raise
        runner.store.set_export(number, "running", "", str(out))
        task = Task(
            id=f"export-{number}",
            function=EXPORT,
            payload=plan,
            timeout=24 * 3600.0,
            epoch=runner.lease.epoch,
        )
        self._exports[task.id] = number
        await runner.rounds.submit(task)
        return f"exporting {len(plan['micrographs']):,} micrographs to {out}"

    async def _cancel_export(self, command: Command) -> str:
        number = int(command.arguments["export"])
        task_id = f"export-{number}"
        if self._exports.pop(task_id, None) is None:
            raise ValueError(f"export {number} is not running")
        with contextlib.suppress(KeyError):
            await self._runner.rounds.cancel(task_id)
        self._runner.store.set_export(number, "cancelled", "cancelled")
        return f"export {number} is cancelled"

    def _named(self, command: Command, default: str | None = None) -> list[str]:
        track = command.arguments.get("track") or default
        if track is None:
            return list(self._runner.tracks)
        if track not in self._runner.tracks:
            raise ValueError(f"got track {track!r}, expected one of {', '.join(self._runner.tracks)}")
        return [track]


def _listed(names: list[str]) -> str:
    titles = [TITLES[name] for name in names]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _redoing(counts: dict[str, int]) -> str:
    parts = [f"{WORDS[stage]} of {n:,}" for stage, n in counts.items() if stage in WORDS and n]
    again = f"; redoes {', '.join(parts)} micrographs" if parts else ""
    return again + (f"; tries {counts['retried']:,} again" if counts.get("retried") else "")
