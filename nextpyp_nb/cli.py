"""The command line: what a button does can be typed here."""

import argparse
import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextpyp_nb import __version__
from nextpyp_nb.bench.commands import add_benchmarks
from nextpyp_nb.class2d_command import add_class2d
from nextpyp_nb.gain_commands import add_gain_check, add_gain_set
from nextpyp_nb.hub_commands import add_hub_groups
from nextpyp_nb.metadata_commands import add_metadata
from nextpyp_nb.session import (
    Receipt,
    copy_session,
    create_session,
    list_sessions,
    open_session,
)
from nextpyp_nb.session.groups import known_group
from nextpyp_nb.session.observation import observe
from nextpyp_nb.settings import Settings, read_site
from nextpyp_nb.site_commands import add_batch, add_report, add_serve
from nextpyp_nb.trash_commands import add_delete, add_trash

TRACKS = ("transfer", "preprocess", "classify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is one sentence on stderr and a non-zero exit."""
    parser = _parser()
    options, strays = parser.parse_known_args(arguments)
    if strays:
        more = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        parser.error(f"did not expect {strays[0]}{more}; a pattern such as 'DIR/*.tiff' needs its quotes")
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError, KeyError, sqlite3.Error) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        sys.stderr.write(f"nextpyp-nb: {text}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nextpyp-nb", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    rooted = argparse.ArgumentParser(add_help=False)
    rooted.add_argument(
        "--root", type=Path, help="where sessions lie (default: the site's, ~/nextpyp-sessions)"
    )
    named = argparse.ArgumentParser(add_help=False, parents=[rooted])
    named.add_argument("name", metavar="NAME", help="the session")
    _add_new(add("new", parents=[named], help="make a session"))
    run = add("run", parents=[named], help="run a session in the foreground")
    run.add_argument("--until-idle", action="store_true", help="end when everything there is through")
    run.set_defaults(command=_run)
    for command, text in (
        ("start", "start the tracks, detached"),
        ("stop", "finish what is in flight, then stop"),
        ("restart", "apply the saved settings, retry what failed"),
        ("clear", "drop a track's results and all that follow from them"),
    ):
        tracked = add(command, parents=[named], help=text)
        tracked.add_argument("--track", choices=TRACKS, help="one track only")
        tracked.set_defaults(command=_command, action=command)
    cancel = add("cancel", parents=[named], help="stop everything now")
    cancel.set_defaults(command=_command, action="cancel", track=None)
    status = add("status", parents=[named], help="what a session is doing")
    status.add_argument("--json", action="store_true")
    status.set_defaults(command=_status)
    add("list", parents=[rooted], help="all sessions").set_defaults(command=_list)
    _add_export(add("export", parents=[named], help="write STAR files for RELION"))
    add_report(add("report", parents=[named], help="write an HTML report"))
    add_serve(add("serve", parents=[rooted], help="the page, for people without a notebook"))
    add_batch(add("batch", parents=[rooted], help="run many sessions from a table"))
    add_hub_groups(add("hub-groups", help="as a service of JupyterHub: write down its groups"))
    settings = add("set", parents=[named], help="change settings; restart applies them")
    settings.add_argument("values", nargs="+", metavar="NAME=value")
    settings.set_defaults(command=_set)
    add_metadata(add("metadata", help="what the microscope noted, as settings"))
    add_gain_check(add("gain-check", parents=[rooted], help="does the gain reference fit the movies?"))
    add_gain_set(add("gain-set", parents=[rooted], help="take a gain orientation in another program's words"))
    copy = add("copy", parents=[named], help="a new session with the same settings")
    copy.add_argument("new_name", metavar="NEW")
    copy.set_defaults(command=_copy)
    add_delete(add("delete", parents=[named], help="delete a session and its files"))
    add_trash(add("trash", parents=[rooted], help="deleted sessions that can be restored"))
    rebuild = add("rebuild", parents=[named], help="make a lost database anew from journal and files")
    rebuild.set_defaults(command=_rebuild)
    add("settings", help="every setting with unit, default and nextPYP's name").set_defaults(
        command=_settings
    )
    add("doctor", help="what this machine has, and what is missing").set_defaults(command=_doctor)
    _add_demo(add("demo", parents=[rooted], help="a simulated microscope with its live page"))
    add_class2d(add("class2d", help="2D classification of any RELION particle STAR"))
    add_benchmarks(add("bench", help="accuracy and cost on simulated data with known truth"))
    hidden = add("serve-session")
    hidden.add_argument("folder", type=Path)
    hidden.add_argument("--idle", action="store_true")
    hidden.set_defaults(command=_serve)
    return parser


def _rebuild(options: argparse.Namespace) -> int:
    from nextpyp_nb.session.journal import rebuild

    _say(rebuild(open_session(options.name, root=options.root).folder))
    return 0


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("--data", required=True, metavar="'DIR/*.tiff'", help="folder and pattern of the movies")
    new.add_argument("--pixel", type=str, metavar="Å", help="pixel size (required)")
    new.add_argument("--voltage", type=str, metavar="kV", help="acceleration voltage (required)")
    new.add_argument("--gain", metavar="FILE", help="gain reference")
    new.add_argument("--group", help="group whose members may see and steer the session")
    new.add_argument("--set", action="append", default=[], metavar="NAME=value", help="any other setting")
    new.set_defaults(command=_new)


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("--out", required=True, type=Path, metavar="DIR")
    export.add_argument("--filter", metavar="F", help="such as 'fit_resolution<=6 & particles>=20'")
    export.add_argument("--particles", action="store_true", help="fail when there are no particles to export")
    export.add_argument("--accepted", action="store_true", help="only particles of accepted classes")
    export.add_argument("--stack", action="store_true", help="also cut the particles out")
    export.add_argument("--float16", action="store_true", help="half precision (RELION 4 and later)")
    export.set_defaults(command=_export)


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--movies", type=int, help="how many (default 200; 12 when headless)")
    demo.add_argument("--interval", type=float, default=6.0, metavar="S", help="seconds between two movies")
    demo.add_argument(
        "--headless", action="store_true", help="no page; ends with a summary against the truth"
    )
    demo.add_argument("--no-browser", action="store_true", help="serve the page but open no browser")
    demo.add_argument("--port", type=int, default=8866)
    demo.add_argument("--seed", type=int, default=1)
    demo.set_defaults(command=_demo)


def _values(pairs: Sequence[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"got {pair!r}, expected NAME=value such as detect_rad=75")
        values[name.strip()] = value
    return values


def _new(options: argparse.Namespace) -> None:
    values: dict[str, Any] = {"raw_data.location": _absolute(options.data)}
    named = (("microscope.pixel_size", options.pixel), ("microscope.voltage", options.voltage))
    values |= {name: value for name, value in named if value is not None}
    if options.gain:
        values["gain.reference"] = str(Path(options.gain).expanduser().absolute())
    settings = Settings.from_flat(values | _values(options.set))
    settings.check()
    session = create_session(options.name, settings=settings, root=options.root, group=options.group)
    _say(f"Session {session.name} is at {session.folder}")
    if options.group and not known_group(options.group, read_site()):
        _say(f"There is no group {options.group} on this machine: only you can see and steer the session.")
    for path in filter(None, (settings.gain.reference, settings.gain.defects)):
        if not Path(path).is_file():
            _say(f"There is no file {path} yet; movies fail until it is there.")
    for folder in _watched(settings):
        if not folder.is_dir():
            _say(f"There is no folder {folder} yet; the session waits for it to appear.")


def _watched(settings: Settings) -> list[Path]:
    from nextpyp_nb.settings.raw_data import is_remote, places
    from nextpyp_nb.tracks.finding import watched_folder

    return [watched_folder(p) for p in places(settings.raw_data.location) if not is_remote(p)]


def _absolute(location: str) -> str:
    from nextpyp_nb.settings.raw_data import is_remote, places

    whole = (p if is_remote(p) else str(Path(p).expanduser().absolute()) for p in places(location))
    return "; ".join(whole)


def _run(options: argparse.Namespace) -> int:
    from nextpyp_nb.terminal import Progress
    from nextpyp_nb.tracks.runner import run_session

    session = open_session(options.name, root=options.root)
    progress = Progress(Console())
    return asyncio.run(run_session(session.folder, until_idle=options.until_idle, progress=progress))


def _serve(options: argparse.Namespace) -> int:
    from nextpyp_nb.tracks.runner import run_session

    return asyncio.run(run_session(options.folder, detached=True, resume=not options.idle))


def _command(options: argparse.Namespace) -> None:
    session = open_session(options.name, root=options.root)
    if options.action == "cancel":
        receipt = session.cancel()
    elif options.action == "clear":
        receipt = session.clear(options.track or "transfer")
    else:
        receipt = getattr(session, options.action)(options.track)
    _answer(receipt)


def _set(options: argparse.Namespace) -> None:
    session = open_session(options.name, root=options.root)
    _answer(session.save_settings(session.settings.updated(_values(options.values))))


def _answer(receipt: Receipt) -> None:
    ack = receipt.wait(30)
    if not ack.ok:
        raise RuntimeError(ack.message)
    _say(ack.message)


def _status(options: argparse.Namespace) -> None:
    session = open_session(options.name, root=options.root)
    if options.json:
        told = asdict(observe(session))
        _say(json.dumps(told.pop("status") | told, indent=1, default=str))
        return
    status = session.status()
    _say(f"{status.name}: runner {status.runner}" + (f" on {status.host}" if status.host else ""))
    for track in status.tracks.values():
        counts = ", ".join(f"{count:,} {name}" for name, count in track.counts.items() if count)
        _say(f"  {track.name:<11} {track.state:<9} {counts or 'nothing yet'}   {track.message}")


def _list(options: argparse.Namespace) -> None:
    _table(
        ("name", "group", "owner", "status", "micrographs", "created"),
        (
            (found.name, found.group, found.owner, found.runner, found.micrographs, found.created)
            for found in list_sessions(options.root)
        ),
    )


def _export(options: argparse.Namespace) -> int:
    from nextpyp_nb.tracks.export import export_plan, export_session

    session = open_session(options.name, root=options.root)
    plan = export_plan(
        session, options.out, filter=options.filter, stack=options.stack, float16=options.float16,
        accepted=options.accepted,
    )  # fmt: skip
    console = Console()
    with console.status("exporting") as status:
        done = export_session(plan, lambda report: status.update(report["stage"]))
    _say(f"{done['micrographs']:,} micrographs and {done['particles']:,} particles in {done['path']}")
    if plan["left_out"]:
        _say(f"left out, no CTF fit: {', '.join(plan['left_out'])}")
    if (options.particles or options.stack) and not done["particles"]:
        raise ValueError(
            "there are no particles: look at the picks, the method and the particle radius (detect_rad)"
        )
    return 0


def _copy(options: argparse.Namespace) -> None:
    session = copy_session(options.name, options.new_name, root=options.root)
    _say(f"Session {session.name} is at {session.folder}")


def _settings(options: argparse.Namespace) -> None:
    _table(
        ("name", "nextPYP", "default", "unit", "what"),
        ((item.key, item.alias, item.default, item.unit, item.explanation) for item in Settings.items()),
    )


def _doctor(options: argparse.Namespace) -> int:
    from nextpyp_nb.doctor import checks

    results = checks(read_site())
    missing = {True: "–", False: "!!"}
    _table(
        ("", "what", "found", "what to do"),
        (("ok" if c.ok else missing[c.optional], c.what, c.found, c.advice) for c in results),
    )
    return 0 if all(check.ok or check.optional for check in results) else 1


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: folded on a terminal, one line each in a pipe; None is empty."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console = Console()
    (console if console.is_terminal else Console(width=1000)).print(table)


def _demo(options: argparse.Namespace) -> int:
    from nextpyp_nb.demo import demo

    return demo(
        movies=options.movies or (12 if options.headless else 200),
        interval=options.interval,
        headless=options.headless,
        browser=not (options.headless or options.no_browser),
        root=options.root,
        seed=options.seed,
        port=options.port,
    )


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")
