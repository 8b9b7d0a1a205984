"""How a benchmark shows its rows: a table on the terminal, JSON for the record."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nextpyp_nb.bench.cost import machine


def need_program(name: str, *, how: str) -> None:
    """Say before anything is measured that a peer program is missing."""
    if shutil.which(name) is None:
        raise RuntimeError(f"{name} is not on PATH: install it ({how}) or leave --against out")


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """A table of ``columns`` over ``rows``; what a row does not hold is empty."""
    table = Table(*(name.replace("_", " ") for name in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def write_json(path: Path | None, rows: Sequence[dict[str, Any]], **facts: Any) -> None:
    """The rows, the machine and ``facts`` as JSON; nothing without a path."""
    if path:
        path.write_text(json.dumps({"machine": machine(), **facts, "rows": list(rows)}, indent=1) + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
