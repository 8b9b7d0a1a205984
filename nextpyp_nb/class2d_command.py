"""2D classification of any RELION particle STAR from the command line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def add_class2d(command: argparse.ArgumentParser) -> None:
    """The arguments of ``nextpyp-nb class2d``."""
    command.add_argument("particles", type=Path, metavar="PARTICLES.star")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--classes", type=int, required=True, metavar="K")
    command.add_argument("--diameter", type=float, metavar="Å", help="of the mask (default: 0.75 boxes)")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(command=_in_own_process)


def _in_own_process(options: argparse.Namespace) -> int:
    """Matrix products this small lose CPU time to threads that wait; their number is set at start-up."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", __spec__.name, str(options.particles), "--out", str(options.out)]
    command += ["--classes", str(options.classes), "--seed", str(options.seed)]
    if options.diameter is not None:
        command += ["--diameter", str(options.diameter)]
    return subprocess.run(command, env=os.environ | limits, check=False).returncode


def main() -> int:
    """What the process of its own does."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from nextpyp_nb.tracks.class2d_offline import classify_star

    parser = argparse.ArgumentParser()
    add_class2d(parser)
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        try:
            told = classify_star(
                options.particles, options.out, classes=options.classes, diameter=options.diameter,
                seed=options.seed,
                progress=lambda done, total, text: bar.update(
                    task, completed=done, total=total, description=text
                ),
            )  # fmt: skip
        except (ValueError, OSError) as error:
            bar.stop()
            sys.stderr.write(f"nextpyp-nb: {error}\n")
            return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
