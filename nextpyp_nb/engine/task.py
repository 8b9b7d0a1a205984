"""Work as plain data: what is to be called with what, and what came of it."""

import importlib
import traceback as tracebacks
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

PACKAGE = "nextpyp_nb."
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Call ``function`` ("nextpyp_nb.module:callable") as ``callable(payload, report) -> dict``.

    ``payload`` is plain JSON; ``timeout`` in s ends the worker; ``epoch`` is the runner's.
    """

    id: str
    function: str
    payload: dict[str, Any]
    timeout: float = 3600.0
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The task returned ``result``."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The task raised; ``kind`` is transient (try again later) or deterministic."""

    kind: str
    reason: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """The worker died of the task, or was ended because it took too long."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a running task says of itself."""

    report: dict[str, Any]


Outcome = Done | Failed | Killed | Progress


def outcome_from(message: dict[str, Any]) -> Outcome:
    """The outcome that a worker wrote as plain JSON: its kind and its content."""
    content = message["content"]
    match message["kind"]:
        case "progress":
            return Progress(report=content)
        case "done":
            return Done(result=content["result"])
        case "killed":
            return Killed(**content)
        case _:
            return Failed(**content)


class Engine(Protocol):
    """Where tasks run. Each submitted task ends in exactly one Done, Failed or Killed, unless cancelled."""

    def slots(self) -> int:
        """How many tasks it takes at a time; may change, and be none for a while."""
        ...

    def message(self) -> str:
        """A sentence for people when not all is as it should be, else empty."""
        ...

    async def submit(self, task: Task) -> None:
        """Queue a task; one in flight in each slot, the rest wait in order."""
        ...

    def events(self) -> AsyncIterator[tuple[Task, Outcome]]:
        """What becomes of the tasks, for one listener; ends when the engine is closed."""
        ...

    async def cancel(self, task_id: str | None = None) -> None:
        """End a task (all of them) without an outcome; unknown and finished ones are no matter."""
        ...

    def close(self) -> None:
        """End everything; no process is left. May be called from any thread, and twice."""
        ...


def resolve(function: str) -> Callable[[dict[str, Any], Report], dict[str, Any]]:
    """The callable that a task names; only our own package's."""
    module, colon, name = function.partition(":")
    if not colon or not module.startswith(PACKAGE) or not name.isidentifier() or name.startswith("_"):
        raise ValueError(f'got function {function!r}, expected "nextpyp_nb.module:callable"')
    found: Callable[[dict[str, Any], Report], dict[str, Any]] = getattr(importlib.import_module(module), name)
    return found


def perform(task_function: str, payload: dict[str, Any], report: Report) -> Done | Failed:
    """Call it, and tell what came of it."""
    try:
        return Done(result=resolve(task_function)(payload, report))
    except Exception as error:
        return Failed(
            kind="transient" if is_transient(error) else "deterministic",
            reason=said(error),
            traceback="".join(tracebacks.format_exception(error)),
        )


def is_transient(error: BaseException) -> bool:
    """Whether trying again later may help: disks, networks and memory come back; bad files do not."""
    return isinstance(error, OSError | MemoryError) and not isinstance(error, PermissionError)


def said(error: BaseException) -> str:
    """An error in a line: its words, with its kind where the words alone say little."""
    text = str(error).strip()
    if isinstance(error, ValueError | OSError | RuntimeError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
