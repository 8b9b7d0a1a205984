"""A whole session from one cell: what `templates/session.ipynb` runs."""

from pathlib import Path
from typing import Any

from IPython.display import Markdown, display

from nextpyp_nb.session import create_session, open_session
from nextpyp_nb.session.session import Session
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.export import export_plan, export_session
from nextpyp_nb.tracks.report import report_plan, write_report
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
) -> tuple[Session, list[str]]:
    """Make the session ``name`` (or go on with it, with these settings), run it until all is through.

    ``given`` are data, pixel, voltage and gain. What went wrong comes beside the session, for `finish`.
    """
    place = None if root is None else Path(root)
    flat = {FLAT[key]: value for key, value in given.items() if value not in (None, "")} | settings
    try:
        session = open_session(name, root=place)
        saved = session.save_settings(session.settings.updated(flat)).wait(30)
        if not saved.ok:
            raise RuntimeError(saved.message)
    except FileNotFoundError:
        chosen = Settings.from_flat(flat)
        chosen.check()
        session = create_session(name, settings=chosen, root=place, group=group)
    before = max((event.id for event in session.events(limit=1)), default=0)
    code = await run_session(session.folder, until_idle=True, progress=CellProgress(), signals=False)
    return session, _troubles(session, before) if code else []


def finish(
    session: Session, troubles: list[str], *, export: str, filter: str | None, stack: bool, report: str = ""
) -> None:  # fmt: skip
    """Export and report when asked to what there is, then raise with the list when something went wrong."""
    if export:
        try:
            plan = export_plan(session, Path(export), filter=filter, stack=stack)
            done = export_session(plan, lambda step: None)
        except (ValueError, OSError) as error:
            troubles = [*troubles, f"export: {error}"]
        else:
            text = f"{done['micrographs']:,} micrographs, {done['particles']:,} particles: `{done['path']}`"
            display(Markdown(text))
    if report:
        try:
            written = write_report(report_plan(session.folder, Path(report)), lambda step: None)
        except (RuntimeError, OSError) as error:
            troubles = [*troubles, f"report: {error}"]
        else:
            display(Markdown(f"report: `{written['path']}`"))
    if troubles:
        raise RuntimeError("\n  ".join(["not everything went well:", *troubles]))


def _troubles(session: Session, before: int) -> list[str]:
    """Failed movies, and what stopped a track after the event numbered ``before``."""
    events = session.events(before, limit=10_000, newest_first=False)
    stopped = [f"{e.track}: {e.text}" for e in events if e.level == "error" and e.movie is None]
    movies = [f"{row.movie}: {row.reason}" for row in session.failed().itertuples()]
    return list(dict.fromkeys(stopped)) + movies
