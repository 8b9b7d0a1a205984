"""Whether a page's kernel keeps answering: its event loop, watched from a cell of the page's notebook."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

EVERY, LEAST = 0.01, 0.02  # s

_watching: set[asyncio.Task[None]] = set()


def watch(path: str) -> None:
    """Note in ``path`` when this ran in which process, and each turn of the loop longer than `LEAST` s.

    ``cpu`` is what the turn itself took; ``wall`` also holds what others on the machine took from it.
    """
    Path(path).write_text(json.dumps({"began": time.time(), "process": os.getpid()}) + "\n")
    _watching.add(asyncio.get_running_loop().create_task(_beat(Path(path))))


def turns(path: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """What `watch` wrote: when it began, and the long turns."""
    first, *lines = (json.loads(line) for line in path.read_text().splitlines())
    return first, lines


async def _beat(path: Path) -> None:
    with path.open("a", buffering=1) as out:
        wall, cpu = time.time(), time.thread_time()
        while True:
            await asyncio.sleep(EVERY)
            now, used = time.time(), time.thread_time()
            if now - wall - EVERY > LEAST:
                line = {"at": now, "wall": now - wall - EVERY, "cpu": used - cpu}
                out.write(json.dumps({name: round(value, 4) for name, value in line.items()}) + "\n")
            wall, cpu = now, used
