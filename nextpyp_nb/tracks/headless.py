"""A whole session from one cell: what `templates/session.ipynb` runs."""

from pathlib import Path
from typing import Any

from IPython.display import Markdown, display

from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.session import Session
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.export import export_plan, export_session
from nextpyp_nb.tracks.runner import run_session

FLAT = {
    "data": "raw_data.location", "pixel": "microscope.pixel_size", "voltage": "microscope.voltage",
    "gain": "gain.reference",
}  # fmt: skip


class CellProgress:
    """A `SessionStatus` as one table in the cell's output, replaced in place."""

    def __enter__(self) -> "CellProgress":
        self._shown = display(Markdown("starting"), display_id=True)
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last table."""

    def show(self, status: Any) -> None:
        """Draw ``status``."""
        lines = ["| track | counts | now |", "|---|---|---|"]
        for track in status.tracks.values():
            counts = ", ".join(f"{count:,} {name}" for name, count in track.counts.items() if count)
            lines.append(f"| {track.name} | {counts or '–'} | {track.message.replace('|', '/')} |")
        self._shown.update(Markdown("\n".join(lines)))


async def run_headless(
    name: str, *, root: str | None, settings: dict[str, Any], group: str | None = None, **given: Any
) -> Session:
    """Make the session ``name`` (or go on with it), run it until everything there is through.

    ``given`` are data, pixel, voltage and gain; movies that failed are told by `finish`.
    """
    place = None if root is None else Path(root)
    flat = {FLAT[key]: value for key, value in given.items() if value not in (None, "")} | settings
    try:
        session = open_session(name, root=place)
    except FileNotFoundError:
        chosen = Settings.from_flat(flat)
        chosen.check()
        session = create_session(name, settings=chosen, root=place, group=group)
    await run_session(session.folder, until_idle=True, progress=CellProgress(), signals=False)
    return session


def finish(session: Session, *, export: str, filter: str | None, stack: bool) -> None:
    """Export when asked to, then raise with the list when movies failed."""
    if export:
        plan = export_plan(session, Path(export), filter=filter, stack=stack)
        done = export_session(plan, lambda report: None)
        display(
            Markdown(
                f"{done['micrographs']:,} micrographs, {done['particles']:,} particles: `{done['path']}`"
            )
        )
    failed = session.failed()
    if len(failed):
        lines = "\n".join(f"  {row.movie}: {row.reason}" for row in failed.itertuples())
        raise RuntimeError(f"{len(failed)} movies failed:\n{lines}")
