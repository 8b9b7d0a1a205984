"""What streaming 2D classification remembers of every particle, a few tens of bytes each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nextpyp_nb.records import FloatArray

NO_CLASS = -1
# Looked at so often, a particle has its pose to half a px.
SETTLED = 5
# One row a particle. ``batch`` is its place among the names of batches, ``block`` the particles read with
# it, ``visits`` since the last annealing, ``visited`` the last update that looked at it; ``counted`` says
# that the sums hold it just so.
ROW = np.dtype(
    [
        ("id", "i8"), ("batch", "i4"), ("group", "i4"), ("half", "i1"), ("block", "i4"), ("number", "i4"),
        ("rotation", "f4"), ("shift", "f4", (2,)), ("probability", "f4"), ("likelihood", "f4"),
        ("visits", "i4"), ("visited", "i4"), ("counted", "?"),
    ]
)  # fmt: skip


class ParticleTable:
    """Rows of all particles in the order of their arrival, and the names of the batches that brought them."""

    def __init__(self, rows: Any = None, batches: Sequence[str] = ()) -> None:
        self.rows = np.zeros(0, ROW) if rows is None else np.array(rows, ROW)
        self.batches = list(batches)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, batch: str, ids: Any, groups: Any) -> bool:
        """Append the particles of ``batch``; False if that batch is there already."""
        if batch in self.batches:
            return False
        ids = np.asarray(ids, np.int64).reshape(-1)
        if len(np.unique(ids)) < len(ids) or np.isin(ids, self.rows["id"]).any():
            raise ValueError(f"batch {batch!r} brings particles that are there already: remove those first")
        fresh = np.zeros(len(ids), ROW)
        fresh["id"], fresh["batch"] = ids, len(self.batches)
        fresh["group"] = 0 if groups is None else groups
        fresh["half"] = (np.arange(len(ids)) + len(self.rows)) % 2
        fresh["block"] = fresh["number"] = NO_CLASS
        self.batches.append(batch)
        self.rows = np.concatenate([self.rows, fresh])
        return True

    def cut_blocks(self, size: int) -> None:
        """Put particles that are in no block yet into blocks of ``size``, in order of arrival."""
        waiting = np.flatnonzero(self.rows["block"] == NO_CLASS)
        first = int(self.rows["block"].max(initial=-1)) + 1
        self.rows["block"][waiting] = first + np.arange(len(waiting)) // size

    def members(self, block: int) -> Any:
        """Rows of the particles that are read as ``block``."""
        return np.flatnonzero(self.rows["block"] == block)

    def drop(self, at: Any) -> None:
        """Delete rows ``at``; a batch that loses its last particle may come again."""
        touched = np.unique(self.rows["batch"][at])
        self.rows = np.delete(self.rows, at)
        gone = np.setdiff1d(touched, self.rows["batch"])
        kept = np.setdiff1d(np.arange(len(self.batches)), gone)
        self.rows["batch"] = np.searchsorted(kept, self.rows["batch"])
        self.batches = [self.batches[k] for k in kept]

    def due(self, update: int, share: int, budget: int, window: int) -> tuple[int, Any] | None:
        """Blocks to look at next: those seen least often and longest ago, and how often they were.

        ``share`` particles at most, and within ``budget`` unless they are new; none seen often enough twice
        in one ``update``. Of those not seen often enough the first ``window`` come before all others, so
        that what fits the memory is read once.
        """
        numbers, first, size = np.unique(self.rows["block"], return_index=True, return_counts=True)
        level, visited = np.minimum(self.rows["visits"][first], SETTLED), self.rows["visited"][first]
        waiting = level < (SETTLED if budget > 0 else 1)
        if waiting.any():
            ahead = np.cumsum(size * waiting) - size
            waiting &= ahead <= max(0, window - int(size.max()))
        elif budget > 0:
            waiting = visited < update
        if not waiting.any():
            return None
        lowest = int(level[waiting].min())
        chosen = np.flatnonzero(waiting & (level == lowest))
        chosen = chosen[np.argsort(visited[chosen], kind="stable")]
        before = np.cumsum(size[chosen]) - size[chosen]
        return lowest, numbers[chosen[before < (min(share, budget) if lowest else share)]]

    def pose(self, at: Any) -> tuple[Any, FloatArray, FloatArray]:
        """Class, rotation and shift of rows ``at``."""
        rows = self.rows[at]
        return rows["number"].astype(np.intp), rows["rotation"], rows["shift"]

    def to_arrays(self) -> dict[str, Any]:
        """Rows and names of batches."""
        return {"rows": self.rows, "batches": np.array(self.batches, np.str_)}
