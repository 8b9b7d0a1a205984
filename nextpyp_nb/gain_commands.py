"""The arguments of ``nextpyp-nb gain-check`` and ``gain-set``."""

import argparse
import glob
import sys
from pathlib import Path
from typing import Any

from nextpyp_nb.session import open_session
from nextpyp_nb.settings import Settings


def add_gain_check(check: argparse.ArgumentParser) -> None:
    """How the reference lies against a session's first movies, or against files."""
    check.add_argument("name", metavar="NAME", nargs="?", help="the session; or give --data and --gain")
    check.add_argument("--data", metavar="'DIR/*.tiff'", help="movies")
    check.add_argument("--gain", metavar="FILE", help="gain reference, instead of the session's")
    check.add_argument("--movies", type=int, default=5, metavar="N", help="how many of the first (default 5)")
    check.add_argument("--set", action="append", default=[], metavar="NAME=value", help="as it is set")
    check.add_argument("--picture", type=Path, metavar="FILE.jpg", help="frames raw, as set, as proposed")
    check.set_defaults(command=_check)


def add_gain_set(convention: argparse.ArgumentParser) -> None:
    """An orientation in another program's words."""
    convention.add_argument("name", metavar="NAME", nargs="?", help="the session; without, only show")
    convention.add_argument("--convention", required=True, choices=("relion", "motioncor", "nextpyp"))
    convention.add_argument("--rotation", type=int, default=0, metavar="0-3", help="quarter turns")
    convention.add_argument(
        "--flip", type=int, default=0, metavar="0-2", help="relion, motioncor: 1 upside-down, 2 left-right"
    )
    convention.add_argument("--invert", action="store_true", help="motioncor: -InvGain 1")
    convention.add_argument("--fliph", action="store_true", help="nextpyp: gain_fliph")
    convention.add_argument("--flipv", action="store_true", help="nextpyp: gain_flipv")
    convention.add_argument(
        "--through-motioncor", action="store_true", help="nextpyp: its movies went through MotionCor"
    )
    convention.set_defaults(command=_convention)


def _check(options: argparse.Namespace) -> int:
    from nextpyp_nb.formats.pictures import write_jpeg
    from nextpyp_nb.tracks.gain_stage import check_files

    values = dict(pair.split("=", 1) for pair in options.set if "=" in pair)
    if options.gain:
        values["gain.reference"] = str(Path(options.gain).expanduser().absolute())
    session = open_session(options.name, root=options.root) if options.name else None
    settings = session.settings.updated(values) if session else Settings.from_flat(values)
    paths = _movies(session, options.data)[: max(1, options.movies)]
    found, picture = check_files(paths, settings)
    if options.picture:
        write_jpeg(options.picture, picture)
    _say(f"{found['verdict']}: {found['text']}")
    for fit in found["fits"][:4]:
        flips = f"left-right {int(fit['flip_horizontal'])}, upside-down {int(fit['flip_vertical'])}"
        _say(
            f"  rotation {fit['rotation']}, {flips}, {fit['operation']:<8}  correlation {fit['score']:+.3f}, "
            f"contrast {fit['slope']:+.3f} ± {fit['error']:.3f}"
        )
    if found["proposal"]:
        words = " ".join(f"{name}={value}" for name, value in found["proposal"].items())
        _say(f"To use it: nextpyp-nb set {options.name or 'NAME'} {words}")
    return 0 if found["verdict"] == "fits" else 2


def _movies(session: Any, data: str | None) -> list[Path]:
    if data:
        found = sorted(glob.glob(str(Path(data).expanduser())))
    elif session is not None:
        found = session.movies.sort_values("id")["path"].dropna()  # a movie on its way has none
    else:
        raise ValueError("give the name of a session, or --data and --gain")
    paths = [Path(path) for path in found if Path(path).is_file()]
    if not paths:
        raise FileNotFoundError(f"no movie at {data}" if data else "the session has no movie yet")
    return paths


def _convention(options: argparse.Namespace) -> None:
    from nextpyp_nb.formats.gain_convention import from_motioncor, from_nextpyp, from_relion

    ours = options.fliph or options.flipv or options.through_motioncor
    if ours if options.convention != "nextpyp" else options.flip:
        raise ValueError(
            f"the options do not belong to the convention {options.convention}: relion and motioncor take "
            "--rotation and --flip, nextpyp --rotation, --fliph and --flipv"
        )
    if options.invert and options.convention != "motioncor":
        raise ValueError("--invert is MotionCor's -InvGain: give it with --convention motioncor")
    if options.convention == "nextpyp":
        orientation = from_nextpyp(
            options.rotation, options.fliph, options.flipv, motioncor=options.through_motioncor
        )
    else:
        translate = from_relion if options.convention == "relion" else from_motioncor
        orientation = translate(options.rotation, options.flip)
    values = orientation.settings()
    if options.convention == "motioncor":
        values["gain.operation"] = "divide" if options.invert else "multiply"
    _say(" ".join(f"{name}={value}" for name, value in values.items()))
    if options.name:
        session = open_session(options.name, root=options.root)
        ack = session.save_settings(session.settings.updated(values)).wait(30)
        if not ack.ok:
            raise RuntimeError(ack.message)
        _say(ack.message)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
