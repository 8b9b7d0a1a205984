"""The arguments of ``nextpyp-nb bench``: one line of benchmarks each, imported when they run."""

import argparse
from pathlib import Path


def add_benchmarks(bench: argparse.ArgumentParser) -> None:
    """Add one sub-command for each benchmark."""
    add = bench.add_subparsers(required=True, metavar="WHAT").add_parser
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--against", choices=("relion",), help="measure this program too")
    common.add_argument("--json", type=Path, metavar="FILE")
    _add_session(add("session", parents=[common], help="whole sessions over simulated movies"))
    _add_motion(add("motion", parents=[common], help="motion correction against the truth"))
    _add_ctf(add("ctf", help="CTF estimation on simulated Thon rings"))
    _add_picking(add("picking", parents=[common], help="particle picking against the truth"))
    _add_class2d(add("class2d", parents=[common], help="2D classification of stacks with known views"))
    _add_files(add("files", help="damaged files of every format: each is read or refused"))
    _add_device(add("device", help="the kernels on a GPU beside its limits and the CPU"))
    _add_faults(add("faults", help="kills, failing disks, races, broken writers: what holds"))
    _add_live(add("live", help="a collection with all three tracks at once: yielding, memory, first classes"))
    _add_rates(add("rates", help="copying against dd, and whether a session keeps up with a microscope"))
    _add_scaling(add("scaling", help="movies an hour on 1, 2, 4, 16 workers of a Dask scheduler here"))
    _add_pages(add("pages", help="the pages in a browser with thousands of micrographs"))


def _add_live(live: argparse.ArgumentParser) -> None:
    live.add_argument("--movies", type=int, default=300)
    live.add_argument("--side", type=int, default=640, metavar="PX", help="of the movies")
    live.add_argument("--frames", type=int, default=8)
    live.add_argument(
        "--every",
        type=int,
        default=250,
        metavar="N",
        help="particles of the first round, and more for each next",
    )
    live.add_argument("--seed", type=int, default=1)
    live.add_argument("--json", type=Path, metavar="FILE")
    live.set_defaults(command=_live)


def _live(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.live import bench_live

    return bench_live(
        movies=options.movies, side=options.side, frames=options.frames, every=options.every,
        seed=options.seed, out=options.json,
    )  # fmt: skip


def _add_rates(rates: argparse.ArgumentParser) -> None:
    rates.add_argument("--movies", type=int, default=1000)
    rates.add_argument("--per-minute", type=float, default=10.0)
    rates.add_argument(
        "--cost", type=float, default=0.45, metavar="S", help="of a movie's kernels, pretended"
    )
    rates.add_argument("--scale", type=float, default=12.0, help="how much faster time runs")
    rates.add_argument("--megabytes", type=int, default=300, help="of the movie that is copied")
    rates.add_argument("--json", type=Path, metavar="FILE")
    rates.set_defaults(command=_rates)


def _rates(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.rates import bench_rates

    return bench_rates(
        movies=options.movies, per_minute=options.per_minute, cost=options.cost, scale=options.scale,
        megabytes=options.megabytes, out=options.json,
    )  # fmt: skip


def _add_pages(pages: argparse.ArgumentParser) -> None:
    pages.add_argument("--micrographs", type=int, default=10_000)
    pages.add_argument(
        "--updates", type=int, default=1000, help="new micrographs over which memory is watched"
    )
    pages.add_argument("--json", type=Path, metavar="FILE")
    pages.set_defaults(command=_pages)


def _pages(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.pages import bench_pages

    return bench_pages(micrographs=options.micrographs, updates=options.updates, out=options.json)


def _add_faults(faults: argparse.ArgumentParser) -> None:
    faults.add_argument("--full", action="store_true", help="at full size: hours")
    faults.add_argument("--only", nargs="+", default=[], metavar="F1", help="default: all")
    faults.add_argument("--out", type=Path, metavar="FILE", help="write the table there")
    faults.add_argument("--mutants", type=Path, metavar="FILE", help="what tests/mutants.py found")
    faults.set_defaults(command=_faults)


def _faults(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.faults.matrix import bench_faults

    return bench_faults(full=options.full, only=options.only, out=options.out, mutants=options.mutants)


def _add_session(session: argparse.ArgumentParser) -> None:
    session.add_argument("--movies", type=int, default=8, help="of each seed (every eighth is spoilt)")
    session.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    session.set_defaults(command=_session)


def _session(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.session import bench_sessions

    return bench_sessions(
        movies=options.movies, seeds=options.seeds, against=options.against, out=options.json
    )


def _add_motion(motion: argparse.ArgumentParser) -> None:
    laws = ("settling", "exponential", "jerk", "walk")
    motion.add_argument("--sets", nargs="+", default=[], metavar="SET", help="default: all")
    motion.add_argument("--law", nargs="+", choices=laws, default=[], help="only sets that move like this")
    motion.add_argument("--seeds", type=int, nargs="+", default=[], help="default: 5 for s1, else 1")
    motion.set_defaults(command=_motion)


def _motion(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.motion import bench_motion

    return bench_motion(
        sets=options.sets, laws=options.law, seeds=options.seeds, against=options.against, out=options.json
    )


def _add_ctf(ctf: argparse.ArgumentParser) -> None:
    ctf.add_argument("--spectra", type=int, default=2000)
    ctf.add_argument("--side", type=int, default=2048, metavar="PX", help="of the micrographs")
    ctf.add_argument("--seed", type=int, default=1)
    ctf.add_argument("--json", type=Path, metavar="FILE")
    ctf.set_defaults(command=_ctf)


def _ctf(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.ctf import bench_ctf

    return bench_ctf(spectra=options.spectra, side=options.side, seed=options.seed, out=options.json)


def _add_picking(picking: argparse.ArgumentParser) -> None:
    families = ("s1", "crowded", "contrasts", "diameters")
    picking.add_argument("--sets", nargs="+", choices=families, default=[], help="default: all")
    picking.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    picking.add_argument(
        "--bias", type=int, metavar="N", help="instead: pick N micrographs of pure noise by templates"
    )
    picking.add_argument("--radius", action="store_true", help="instead: estimate the particle radius")
    picking.set_defaults(command=_picking)


def _picking(options: argparse.Namespace) -> int:
    if options.bias:
        from nextpyp_nb.bench.template_bias import bench_bias

        return bench_bias(micrographs=options.bias, seed=options.seeds[0], out=options.json)
    if options.radius:
        from nextpyp_nb.bench.particle_size import bench_sizes

        return bench_sizes(seeds=options.seeds, out=options.json)
    from nextpyp_nb.bench.picking import bench_picking

    return bench_picking(sets=options.sets, seeds=options.seeds, against=options.against, out=options.json)


def _add_class2d(class2d: argparse.ArgumentParser) -> None:
    class2d.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000], metavar="N")
    class2d.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    class2d.add_argument("--snr", type=float, nargs="+", default=[0.1])
    class2d.add_argument("--classes", type=int, default=20)
    class2d.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="DIR", help="stacks with truth.json and refs.mrcs"
    )
    class2d.add_argument("--arrivals", type=int, default=1, metavar="N", help="measure N arrivals too")
    class2d.add_argument("--only-arrivals", action="store_true", help="measure nothing at once")
    class2d.add_argument("--iterations", type=int, default=25, help="of the other program")
    class2d.set_defaults(command=_class2d)


def _class2d(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.class2d import bench_class2d

    return bench_class2d(
        sizes=options.sizes, seeds=options.seeds, snrs=options.snr, classes=options.classes,
        stacks=options.data, arrivals=options.arrivals, whole=not options.only_arrivals,
        against=options.against, iterations=options.iterations, out=options.json,
    )  # fmt: skip


def _add_files(files: argparse.ArgumentParser) -> None:
    files.add_argument("--count", type=int, default=10_000, metavar="N", help="of damaged files")
    files.add_argument("--seed", type=int, default=1)
    files.add_argument("--json", type=Path, metavar="FILE")
    files.set_defaults(command=_files)


def _files(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.files import bench_files

    return bench_files(count=options.count, seed=options.seed, out=options.json)


def _add_device(device: argparse.ArgumentParser) -> None:
    device.add_argument("--device", type=int, default=0, metavar="N", help="CUDA device")
    device.add_argument("--threads", type=int, default=8, help="that read the movie")
    device.add_argument("--particles", type=int, default=20_000)
    device.add_argument("--json", type=Path, metavar="FILE")
    device.set_defaults(command=_device)


def _device(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.device import bench_device

    return bench_device(
        device=options.device, threads=options.threads, particles=options.particles, out=options.json
    )


def _add_scaling(scaling: argparse.ArgumentParser) -> None:
    scaling.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 16])
    scaling.add_argument("--cost", type=float, default=0.45, metavar="S", help="of a movie, pretended")
    scaling.add_argument("--movies", type=int, default=40, help="for each worker")
    scaling.add_argument("--json", type=Path, metavar="FILE")
    scaling.set_defaults(command=_scaling)


def _scaling(options: argparse.Namespace) -> int:
    from nextpyp_nb.bench.scaling import bench_scaling

    return bench_scaling(
        workers=options.workers, cost=options.cost, movies=options.movies, out=options.json
    )  # fmt: skip
