"""What a GPU gives: time of each kernel beside what its bytes and operations take at least, and the CPU.

The floors are those of the card as measured here: bytes that must pass through its memory once over the rate
of a large copy, operations over the rate of a large float32 matrix product.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.formats.frames import read_exposure
from nextpyp_nb.formats.tiff import write_movie_tiff
from nextpyp_nb.kernels.backend import array_module, empty_for, gpu_count, to_device, to_numpy
from nextpyp_nb.kernels.class2d_search import LIKELY
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.ctf_fit import estimate_ctf
from nextpyp_nb.kernels.motion import correct_motion
from nextpyp_nb.kernels.picking import find_candidates
from nextpyp_nb.kernels.quality import micrograph_quality
from nextpyp_nb.records import Ctf

REPEATS = 5
MOVIES = {"4096 x 4096 x 40": (40, 4096, 4096), "5760 x 4092 x 50": (50, 4092, 5760)}
KNOWN = {"pixel_size": 1.0, "voltage": 300.0, "dose_per_frame": 1.0}
TAPS = 6
CTF = Ctf(
    defocus_u=16500.0, defocus_v=16000.0, defocus_angle=20.0, voltage=300.0, cs=2.7,
    amplitude_contrast=0.1, phase_shift=0.0, fit_resolution=4.0, score=0.3,
)  # fmt: skip
COLUMNS = ("what", "gpu_ms", "bytes_floor_ms", "operations_floor_ms", "cpu_ms", "agreement")


def bench_device(
    *, device: int = 0, threads: int = 8, particles: int = 20_000, out: Path | None = None
) -> int:
    """Measure motion, CTF, picking and 2D classification on CUDA device number ``device``."""
    if device >= gpu_count():
        raise RuntimeError(
            f"GPU {device} was asked for, {gpu_count()} are there: is nextpyp_nb[gpu] installed?"
        )
    xp = array_module(to_device(np.zeros(1, np.float32), device))
    card = xp.cuda.runtime.getDeviceProperties(device)["name"].decode()
    rates = _ceilings(xp)
    rows: list[dict[str, Any]] = []
    parts = (
        _motion(xp, rates, device, threads),
        _micrograph(xp, rates),
        _classes(xp, rates, device, particles),
    )
    for part in parts:
        for row in part:
            rows.append(row)
            show([row], COLUMNS)
    show(rows, COLUMNS)
    write_json(out, rows, card=card, threads=threads, **rates)
    return 0


def _timed(xp: Any, work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median wall ms of ``work`` with all it queued, after one run to warm up."""
    stream = xp.cuda.get_current_stream()
    times = []
    for _ in range(1 + repeats):
        stream.synchronize()
        begin = time.perf_counter()
        work()
        stream.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def _ceilings(xp: Any) -> dict[str, float]:
    """Rates of the card: copy in bytes/ms (read and written), float32 operations/ms."""
    size, side = 1 << 30, 8192
    source, target = xp.empty(size, np.uint8), xp.empty(size, np.uint8)
    matrix = xp.random.rand(side, side, dtype=np.float32)
    return {
        "bytes_per_ms": 2 * size / _timed(xp, lambda: xp.copyto(target, source)),
        "operations_per_ms": 2 * side**3 / _timed(xp, lambda: matrix @ matrix),
    }


def _row(
    what: str, gpu_ms: float, rates: dict[str, float], bytes_: float, operations: float
) -> dict[str, Any]:
    return {
        "what": what,
        "gpu_ms": gpu_ms,
        "bytes_floor_ms": bytes_ / rates["bytes_per_ms"],
        "operations_floor_ms": operations / rates["operations_per_ms"],
    }


def _movie(xp: Any, n: int, ny: int, nx: int) -> Any:
    """Counts uint8 (n, ny, nx) on the device, 1 e⁻/px/frame, of a texture that drifts by 12 px."""
    rng = np.random.default_rng(7)
    side, margin = 1024, 32
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    texture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * np.exp(-30 * k**2))
    texture = np.maximum(1 + 0.35 * texture / texture.std(), 0.05)
    texture = xp.asarray(np.tile(texture, (-(-(ny + margin) // side), -(-(nx + margin) // side))))
    frames = xp.empty((n, ny, nx), np.uint8)
    for number, shift in enumerate(np.round(12 * np.sqrt(np.arange(n) / n)).astype(int)):
        frames[number] = xp.random.poisson(texture[shift : shift + ny, margin - shift :][:, :nx])
    return frames


def _motion(xp: Any, rates: dict[str, float], device: int, threads: int) -> Iterator[dict[str, Any]]:
    for what, (n, ny, nx) in MOVIES.items():
        there = _movie(xp, n, ny, nx)
        here, gain = to_numpy(there), np.ones((ny, nx), np.float32)
        put_gain = xp.asarray(gain)
        pixels = n * ny * nx
        # Read for the alignment and again for the sums; two axes of taps, a product and a sum each.
        row = _row(
            f"motion {what}",
            _timed(xp, partial(correct_motion, there, gain=put_gain, **KNOWN)),
            rates, 2 * pixels + 8 * ny * nx, 4 * TAPS * pixels,
        )  # fmt: skip
        begin = time.perf_counter()
        host = correct_motion(here, gain=gain, **KNOWN)
        found = correct_motion(there, gain=put_gain, **KNOWN)
        apart = np.abs(found.motion.shifts - host.motion.shifts).max()
        alike = np.corrcoef(to_numpy(found.average).ravel(), host.average.ravel())[0, 1]
        yield row | {
            "cpu_ms": 1e3 * (time.perf_counter() - begin) - row["gpu_ms"],
            "agreement": f"{apart:.3f} px, correlation {alike:.6f}",
        }
        pinned = empty_for(device)(here.shape, here.dtype)
        pinned[...] = here
        yield _row(f"upload {what}", _timed(xp, partial(to_device, pinned, device)), rates, pixels, 0)
        if n == 40:
            yield _from_file(xp, rates, here, device, threads)


def _from_file(xp: Any, rates: dict[str, float], frames: Any, device: int, threads: int) -> dict[str, Any]:
    """From LZW TIFF in the page cache to the sums."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.tiff"
        write_movie_tiff(path, frames)

        def work() -> None:
            correct_motion(
                to_device(read_exposure(path, threads=threads, empty=empty_for(device)).frames, device),
                **KNOWN,
            )

        ms = _timed(xp, work, 3)
    return _row(f"LZW TIFF with {threads} threads, read and corrected", ms, rates, 2 * frames.nbytes, 0)


def _micrograph(xp: Any, rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One 4096² micrograph: CTF, picking, quality, preview."""
    side = 4096
    noise = xp.random.normal(size=(side, side)).astype(np.float32)
    rings = ctf_image(CTF, shape=(side, side), pixel_size=1.0, xp=xp)
    image = 20 + 0.3 * xp.fft.irfft2(xp.fft.rfft2(noise) * rings).astype(np.float32)
    image += xp.random.normal(size=(side, side)).astype(np.float32)
    here = to_numpy(image)
    optics = {"pixel_size": 1.0, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.1}
    transform = 5 * side**2 * math.log2(side**2)
    works: dict[str, tuple[Callable[[Any], Any], float]] = {
        "CTF": (lambda a: estimate_ctf(a, **optics).ctf.defocus, 4 * transform),
        "picking": (
            lambda a: len(find_candidates(a, pixel_size=1.0, radius=60.0, ctf=CTF).centres), 2 * transform
        ),
        "quality": (
            lambda a: micrograph_quality(a, pixel_size=1.0, motion=None, ctf=CTF, mean_dose=1.0), transform
        ),
    }  # fmt: skip
    for what, (work, operations) in works.items():
        row = _row(f"{what} 4096 x 4096", _timed(xp, partial(work, image)), rates, image.nbytes, operations)
        begin = time.perf_counter()
        host = work(here)
        row["cpu_ms"] = 1e3 * (time.perf_counter() - begin)
        if isinstance(host, (int, float)):
            row["agreement"] = f"{work(image):.6g} | {host:.6g}"
        yield row


def _classes(xp: Any, rates: dict[str, float], device: int, particles: int) -> Iterator[dict[str, Any]]:
    """Updates of 100 classes, boxes of 128 px: classes found, as many particles more, and a pass."""
    box, classes = 128, 100
    images, truth = _stack(xp, 2 * particles, box)
    engine = Classification(
        lambda ids: (images[ids], [CTF] * len(ids)),
        device=device, box=box, pixel_size=2.6, diameter=180.0, classes=classes, seed=1,
    )  # fmt: skip
    for first, last in ((0, particles), (particles, len(images))):
        for begin in range(first, last, 1000):
            engine.add(f"batch {begin}", np.arange(begin, min(begin + 1000, last)))
        begin = time.perf_counter()
        step = engine.update()
        ms = 1e3 * (time.perf_counter() - begin)
        what = f"2D update, {step.new} new and {step.replayed} old particles, {classes} classes"
        yield _class_row(engine, f"{what}{', classes found anew' if step.annealed else ''}", ms, rates, step)
    begin = time.perf_counter()
    step = engine.update(replay=particles)
    ms = 1e3 * (time.perf_counter() - begin)
    found = engine.result()
    groups = (truth[found.ids[found.class_number == k + 1]] for k in range(classes))
    pure = sum(np.bincount(group).max() for group in groups if len(group)) / len(found.ids)
    row = _class_row(engine, f"2D pass over {step.replayed} particles, {classes} classes", ms, rates, step)
    yield row | {"agreement": f"{1e3 * step.replayed / ms:,.0f} particles/s, purity {pure:.3f}"}


def _class_row(
    engine: Classification, what: str, ms: float, rates: dict[str, float], step: Any
) -> dict[str, Any]:
    """A closer look counts: products of harmonics with references, 13 times moved in the likeliest classes
    alone, for which the particle's own are laid out class by class; and their inverse transforms.
    """
    grid, looks = engine.grid, 3 * step.new + step.replayed
    columns = engine.setup.classes + 13 * LIKELY
    harmonics = grid.harmonics * grid.rings
    transform = 2.5 * grid.angles * math.log2(grid.angles) * columns
    moved = 16 * grid.angles * columns + 24 * LIKELY * harmonics
    return _row(what, ms, rates, looks * moved, looks * (8 * harmonics * columns + transform))


def _stack(xp: Any, n: int, box: int) -> tuple[Any, Any]:
    """Images float32 (n, box, box) of 40 views in all orientations, signal to noise 0.1, and their views."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:box, :box] - box // 2
    views = np.zeros((40, 12, 4))
    views[..., :2] = rng.normal(0, box / 9, (40, 12, 2))
    views[..., 2], views[..., 3] = rng.uniform(2, 5, (40, 12)), rng.uniform(0.5, 1.5, (40, 12))
    truth, images = rng.integers(0, 40, n), np.empty((n, box, box), np.float32)
    y, x, views, turn = (
        xp.asarray(y),
        xp.asarray(x),
        xp.asarray(views),
        xp.asarray(rng.uniform(0, 2 * np.pi, n)),
    )
    for first in range(0, n, 500):
        some = slice(first, first + 500)
        blobs, cos, sin = views[truth[some]], xp.cos(turn[some])[:, None], xp.sin(turn[some])[:, None]
        down = cos * blobs[..., 0] - sin * blobs[..., 1]
        across = sin * blobs[..., 0] + cos * blobs[..., 1]
        image = xp.zeros((len(blobs), box, box), np.float32)
        for k in range(blobs.shape[1]):
            far = (y - down[:, k, None, None]) ** 2 + (x - across[:, k, None, None]) ** 2
            image += blobs[:, k, 3, None, None] * xp.exp(-far / (2 * blobs[:, k, 2, None, None] ** 2))
        image *= math.sqrt(0.1) / image.std(axis=(1, 2), keepdims=True)
        image += xp.random.normal(size=image.shape).astype(np.float32)
        image -= image.mean(axis=(1, 2), keepdims=True)
        images[some] = to_numpy(image / image.std(axis=(1, 2), keepdims=True))
    return images, truth
