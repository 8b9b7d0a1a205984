"""What the runner does when it is told: start, stop, restart, clear, cancel, classify, try out, jobs."""

import asyncio
from typing import TYPE_CHECKING, Any

from nextpyp_nb.engine.task import Task
from nextpyp_nb.session import commands as written
from nextpyp_nb.session.inbox import Ack, Command
from nextpyp_nb.session.session import Session
from nextpyp_nb.session.stages import WORDS
from nextpyp_nb.tracks.export_classes import write_templates
from nextpyp_nb.tracks.jobs import Jobs

if TYPE_CHECKING:
    from nextpyp_nb.tracks.runner import Runner

TITLES = {"transfer": "File transfer", "preprocess": "Pre-processing", "classify": "2D classification"}


class Commands:
    """Carries out commands on a runner and answers each."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self.jobs = Jobs(runner)

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
        """Whether exports or reports are being written, or settings tried out."""
        return self.jobs.busy() or self._runner.tryouts.busy()

    def take(self, task: Task, outcome: Any) -> bool:
        """Take what the engine says of a job or a try-out; False when the task is none."""
        return self.jobs.take(task, outcome) or self._runner.tryouts.take(task, outcome)

    async def _start(self, command: Command) -> str:
        names = self._named(command)
        redone = await asyncio.to_thread(self._runner.apply_settings)
        await self._runner.take_up_resources()
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
        await self._runner.take_up_resources()
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
        self.jobs.drop_all()
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
        return await self.jobs.export(command.arguments)

    async def _report(self, command: Command) -> str:
        return await self.jobs.report(command.arguments)

    async def _cancel_export(self, command: Command) -> str:
        return await self.jobs.cancel(int(command.arguments["export"]))

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
