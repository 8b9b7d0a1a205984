"""``python -m nextpyp_nb.simulate OUT --movies 12 --interval 6 --seed 1``: collect into a folder."""

import argparse
import asyncio
import sys
from pathlib import Path

from .microscope import Microscope
from .writers import WRITERS


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and let the microscope run."""
    parser = argparse.ArgumentParser(prog="python -m nextpyp_nb.simulate", description=main.__doc__)
    add = parser.add_argument
    add("out", type=Path, help="folder to collect into; the truth goes to OUT-truth")
    add("--movies", type=int, default=12, help="how many movies (%(default)s)")
    add("--interval", type=float, default=6.0, help="seconds between movies (%(default)s)")
    add("--seed", type=int, default=1, help="another seed, another specimen (%(default)s)")
    add("--height", type=int, default=1024, help="rows of a frame (%(default)s)")
    add("--width", type=int, default=1024, help="columns of a frame (%(default)s)")
    add("--frames", type=int, default=16, help="frames of a movie (%(default)s)")
    add("--dose", type=float, default=2.0, help="e⁻/Å² a frame (%(default)s)")
    add("--layout", choices=["epu", "flat"], default="epu", help="folder layout (%(default)s)")
    add("--writer", choices=sorted(WRITERS), default="appended", help="how files appear (%(default)s)")
    add("--xml", choices=["after", "first", "never"], default="after", help="metadata (%(default)s)")
    add("--write-seconds", type=float, default=1.0, help="time to write a movie (%(default)s)")
    options = parser.parse_args(arguments)
    microscope = Microscope(
        options.out,
        seed=options.seed,
        height=options.height,
        width=options.width,
        frames=options.frames,
        dose_per_frame=options.dose,
        layout=options.layout,
        writer=options.writer,
        xml=options.xml,
        write_seconds=options.write_seconds,
    )

    def report(number: int, path: Path) -> None:
        label = microscope.label(number - 1).replace("_", " ")
        sys.stdout.write(f"{number:4d}/{options.movies}  {label:18s} {path.name}\n")
        sys.stdout.flush()

    asyncio.run(microscope.run(options.movies, options.interval, report))


if __name__ == "__main__":
    main()
