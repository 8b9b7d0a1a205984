"""F15: kernels that are interrupted, restarted and killed, and several pages at once, over one runner."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from nextpyp_nb.bench.faults.pretend import pretend_session, small_movie, write_movies
from nextpyp_nb.session import Session

# What a page does when it comes back: everything that the panels draw, read anew.
LOOK = """
import json, time
from nextpyp_nb.session import open_session
begin = time.process_time()
session = open_session({name!r}, root={root!r})
status, revision = session.status(), session.revision
session.settings, session.micrographs, session.failed(), session.classes, session.rounds, session.exports
session.events(), session.traffic(), session.filters, session.alarms
print(json.dumps({{"pid": status.pid, "runner": status.runner, "revision": revision,
  "movies": status.tracks["transfer"].counts["done"], "CPU s": time.process_time() - begin}}))
session.close()
"""
START = """
from nextpyp_nb.session import open_session
print(open_session({name!r}, root={root!r}).start().wait(60).ok)
"""
WITHIN = 2.0


class _Kernel:
    """A kernel as a notebook or a page has it."""

    def __init__(self) -> None:
        self._manager = KernelManager(kernel_name="python3", transport="ipc")
        self._manager.start_kernel()
        self._connect()

    def _connect(self) -> None:
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=120)

    def run(self, code: str) -> str:
        """What ``code`` prints."""
        said: list[str] = []

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")

        self._client.execute_interactive(code, timeout=120, output_hook=take, store_history=False)
        return "".join(said)

    def interrupt(self) -> None:
        """As the stop button does it, in the middle of work."""
        asked = self._client.execute("import time; print('asleep', flush=True); time.sleep(60)")
        while self._client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
            pass
        self._manager.interrupt_kernel()
        while self._client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != asked:
            pass

    def restart(self) -> None:
        """Restart it; variables are lost."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._connect()

    def kill(self) -> None:
        """Kill it as a page's kernel is that was reloaded, and begin a new one."""
        self.end()
        self.__init__()  # type: ignore[misc]

    def end(self) -> None:
        """End it for good."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def reloads(root: Path, *, times: int, pages: int) -> dict[str, Any]:
    """Start a session from a kernel, then interrupt, restart and kill the kernel ``times`` times in turn.

    A movie comes each time; whoever looks next must find it with the same runner. At last
    ``pages`` look at once.
    """
    write_movies(root / "camera", 2)
    session = pretend_session(
        root / "sessions", root / "camera", transfer__operation="link", transfer__only=True
    )
    where = {"name": session.name, "root": str(root / "sessions")}
    seen: list[dict[str, Any]] = []
    with ExitStack() as stack:
        stack.callback(_end, session)
        kernel = _Kernel()
        stack.callback(kernel.end)
        if "True" not in kernel.run(START.format(**where)):
            return {"problems": ["the kernel could not start the session"]}
        acts: tuple[Callable[[], None], ...] = (kernel.interrupt, kernel.kill, kernel.restart)
        for number in range(times):
            (root / "camera" / "grid0" / f"new_{number}.tiff").write_bytes(small_movie(100 + number))
            acts[number % len(acts)]()
            _until(session, 3 + number)
            seen.append(json.loads(kernel.run(LOOK.format(**where))) | {"expected": 3 + number})
        others = [_Kernel() for _ in range(pages)]
        for other in others:
            stack.callback(other.end)
        for other in others:
            other.run(START.format(**where))
        at_once = [json.loads(other.run(LOOK.format(**where))) for other in others]
        problems = _problems([*seen, *({"expected": 2 + times} | one for one in at_once)])
    slowest = max(one["CPU s"] for one in (*seen, *at_once))
    return {
        "interrupts, kills, restarts": times, "pages at once": pages,
        "runners": len({one["pid"] for one in (*seen, *at_once)}), "slowest look, CPU s": round(slowest, 2),
        "problems": problems,
    }  # fmt: skip


def _problems(looks: list[dict[str, Any]]) -> list[str]:
    problems = []
    if len({one["pid"] for one in looks}) != 1 or {one["runner"] for one in looks} != {"running"}:
        problems.append(f"several runners, or none: {sorted({str(one['pid']) for one in looks})}")
    problems += [
        f"{one['movies']} movies seen, expected {one['expected']}"
        for one in looks
        if one["movies"] != one["expected"]
    ]
    if len({one["revision"] for one in looks}) != 1:
        problems.append("the pages differ in their settings")
    slow = [one["CPU s"] for one in looks if one["CPU s"] > WITHIN]
    return problems + [f"a look took {seconds:.1f} CPU s, expected at most {WITHIN}" for seconds in slow]


def _until(session: Session, movies: int) -> None:
    end = time.monotonic() + 60
    while session.status().tracks["transfer"].counts["done"] < movies and time.monotonic() < end:
        time.sleep(0.05)


def _end(session: Session) -> None:
    session.stop().wait(30)
    end = time.monotonic() + 30
    while session.status().runner == "running" and time.monotonic() < end:
        time.sleep(0.2)
    session.close()
