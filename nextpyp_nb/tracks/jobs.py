"""Exports and reports: jobs beside the tracks, each a row with its state, and a log."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextpyp_nb.engine.task import Done, Failed, Progress, Task
from nextpyp_nb.session.session import Session
from nextpyp_nb.tracks.export import export_plan
from nextpyp_nb.tracks.report import report_plan

if TYPE_CHECKING:
    from nextpyp_nb.tracks.runner import Runner

OPTIONS = ("particles", "stack", "float16", "accepted")
FUNCTIONS = {
    "export": "nextpyp_nb.tracks.export:export_session",
    "report": "nextpyp_nb.tracks.report:write_report",
}
TIMEOUT = 24 * 3600.0


class Jobs:
    """The exports and reports of a runner; they wait for a round of 2D classification in work."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._numbers: dict[str, int] = {}
        self._said = (0, "", 0.0)

    def busy(self) -> bool:
        """Whether one is wanted or in work."""
        return bool(self._numbers)

    async def export(self, chosen: dict[str, Any]) -> str:
        """Write STAR files of what is ``chosen``: out, filter, options."""
        options = {key: bool(value) for key, value in (chosen.get("options") or {}).items() if key in OPTIONS}
        expression, folder = chosen.get("filter"), self._runner.folder

        def plan(out: Path) -> dict[str, Any]:
            return export_plan(Session(folder), out, filter=expression, **options)

        number, plan_made = self._noted("export", plan, chosen.get("out"), expression, options)
        await self._submit(number, "export", plan_made)
        return f"exporting {len(plan_made['micrographs']):,} micrographs to {plan_made['out']}"

    async def report(self, chosen: dict[str, Any]) -> str:
        """Write a report of the session as HTML."""
        folder = self._runner.folder
        number, plan = self._noted("report", lambda out: report_plan(folder, out), chosen.get("out"))
        await self._submit(number, "report", plan)
        return f"writing a report to {plan['out']}"

    async def final_report(self) -> bool:
        """At the end of a session: write a report, when that is asked for and there is news; says whether."""
        store = self._runner.store
        if not self._runner.live.settings.resources.report or not store.news_since_report():
            return False
        await self.report({})
        return True

    async def cancel(self, number: int) -> str:
        """End one."""
        task_id = _task_id(number)
        if self._numbers.pop(task_id, None) is None:
            raise ValueError(f"job {number} is not running")
        with contextlib.suppress(KeyError):
            await self._runner.rounds.cancel(task_id)
        self._finish(number, "cancelled", "cancelled")
        return f"job {number} is cancelled"

    def drop_all(self) -> None:
        """All were ended with the workers."""
        for number in self._numbers.values():
            self._finish(number, "cancelled", "cancelled")
        self._numbers.clear()

    def take(self, task: Task, outcome: Any) -> bool:
        """Take what the engine says of a job; False when the task is none of ours."""
        number = self._numbers.get(task.id)
        if number is None:
            return False
        if isinstance(outcome, Progress):
            self._advance(number, outcome.report)
            return True
        del self._numbers[task.id]
        store = self._runner.store
        if isinstance(outcome, Done):
            self._finish(number, "done", outcome.result["text"], outcome.result["path"])
            store.log("export_done", f"{outcome.result['path']}: {outcome.result['text']}")
        else:
            reason = outcome.reason if isinstance(outcome, Failed) else f"the worker ended: {outcome.reason}"
            self._log(number, getattr(outcome, "traceback", ""))
            self._finish(number, "failed", reason)
            store.log("export_failed", reason, level="error")
        return True

    def _noted(
        self, kind: str, plan: Any, wanted: str | None, expression: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[int, dict[str, Any]]:  # fmt: skip
        """The number of a new job, and its plan; a plan that cannot be is a job that failed."""
        store = self._runner.store
        number = store.add_export(expression or "all", wanted or "", expression, options or {}, kind=kind)
        out = Path(wanted or self._runner.folder / f"{kind}s" / f"{number:04d}")
        try:
            made: dict[str, Any] = plan(out)
        except (ValueError, KeyError, OSError) as error:
            self._finish(number, "failed", str(error))
            raise
        store.set_export(number, "waiting", "waits for its turn", str(out))
        return number, made

    async def _submit(self, number: int, kind: str, plan: dict[str, Any]) -> None:
        task = Task(
            id=_task_id(number), function=FUNCTIONS[kind], payload=plan, timeout=TIMEOUT,
            epoch=self._runner.lease.epoch,
        )  # fmt: skip
        self._numbers[task.id] = number
        self._log(number, f"{kind} to {plan['out']}")
        await self._runner.rounds.submit(task)

    def _advance(self, number: int, report: dict[str, Any]) -> None:
        """Log each step; the row is written once a second, for every panel reads again after it."""
        text, now = report.get("stage", ""), time.monotonic()
        if self._said[:2] != (number, text):
            self._log(number, text)
        if self._said[0] != number or now - self._said[2] >= 1.0:
            progress = report.get("done"), report.get("total")
            self._runner.store.set_export(number, "running", text, progress=progress)
            self._said = (number, text, now)

    def _finish(self, number: int, state: str, text: str, path: str | None = None) -> None:
        self._runner.store.set_export(number, state, text, path)
        self._log(number, f"{state}: {text}")

    def _log(self, number: int, text: str) -> None:
        if text:
            self._runner.logs[job_log(number)].info(text)


def job_log(number: int) -> str:
    """The name of a job's log."""
    return f"job_{number:04d}"


def _task_id(number: int) -> str:
    return f"job-{number}"
