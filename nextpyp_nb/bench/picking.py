"""Picking against the truth: micrographs without motion, for this package and for RELION's LoG."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import convolve1d
from scipy.spatial import KDTree

from nextpyp_nb import __version__
from nextpyp_nb.bench.cost import measured, run_measured
from nextpyp_nb.bench.report import need_program, show, write_json
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.picks import read_picks
from nextpyp_nb.kernels.picking import pick_particles
from nextpyp_nb.records import FloatArray
from nextpyp_nb.simulate.exposure import NOMINAL_DIAMETER, Column, Exposure, compose
from nextpyp_nb.simulate.motion import Motion
from nextpyp_nb.simulate.scene import Label
from nextpyp_nb.simulate.score import EDGE, MATCH_RADIUS, match_picks
from nextpyp_nb.simulate.specimen import Protein

SHOWN = (
    "set", "kind", "program", "micrographs", "precision", "recall", "f1", "worst_seed_f1",
    "false_most", "centring_A", "best_cut_f1", "cpu_s",
)  # fmt: skip
KINDS: tuple[Label, ...] = ("good", "carbon_edge", "ice_contamination", "empty")
OURS, RELION = f"nextpyp_nb {__version__}", "RELION LoG"
CUTS = 60


@dataclass(frozen=True, kw_only=True)
class SizedColumn(Column):
    """A microscope whose proteins are blown up or shrunk, at equal density, to one ``diameter`` (Å)."""

    diameter: float | None = None

    @cached_property
    def proteins(self) -> dict[str, tuple[Protein, float]]:
        """Species and their shares."""
        known = super().proteins
        if self.diameter is None:
            return known
        return {name: (_resized(what, self.diameter), share) for name, (what, share) in known.items()}


def _resized(what: Protein, diameter: float) -> Protein:
    """A protein of another size and the same density; ``diameter`` is nominal, as in the truth."""
    scale = diameter / NOMINAL_DIAMETER.get(what.name, what.diameter)
    return replace(
        what, xyz=what.xyz * np.float32(scale), mass=what.mass * scale**3, diameter=what.diameter * scale
    )


@dataclass(frozen=True, kw_only=True)
class PickingSet:
    """What is drawn: kinds of micrographs, changes to the microscope, and the diameters (Å) that are told."""

    radius: float = 75.0
    diameters: tuple[float, float] = (128.0, 180.0)
    kinds: tuple[Label, ...] = ("good", "ice_contamination", "empty")
    column: dict[str, Any] = field(default_factory=dict)


def sized(diameter: float, **column: Any) -> PickingSet:
    """Proteins of one diameter (Å); fields of large ones have coarser pixels."""
    pixel = 1.3 * max(1.0, diameter / 180.0)
    return PickingSet(
        radius=0.5 * diameter,
        diameters=(0.75 * diameter, diameter),
        column={"diameter": diameter, "pixel_size": pixel} | column,
    )


FAMILIES: dict[str, dict[str, PickingSet]] = {
    "s1": {"s1": PickingSet(kinds=("good", *KINDS))},
    "crowded": {"crowded": PickingSet(column={"spacing": 0.7})},
    "contrasts": {
        f"{defocus / 1e4:g} µm": PickingSet(column={"defocus": (0.9 * defocus, 1.1 * defocus)})
        for defocus in (6_000.0, 12_000.0, 24_000.0)
    },
    "diameters": {f"{diameter} Å": sized(float(diameter)) for diameter in (80, 120, 200, 300)},
}


def bench_picking(*, sets: Sequence[str], seeds: Sequence[int], against: str | None, out: Path | None) -> int:
    """Pick the micrographs of the chosen families of sets; a table, and JSON to ``out``."""
    if against:
        need_program("relion_autopick", how="apt-get install relion")
    if unknown := set(sets) - set(FAMILIES):
        raise ValueError(f"no set {', '.join(sorted(unknown))}; expected some of {', '.join(FAMILIES)}")
    rows: list[dict[str, Any]] = []
    picked: list[dict[str, Any]] = []
    for family in sets or FAMILIES:
        for name, wanted in FAMILIES[family].items():
            for seed in seeds:
                picked.extend(_measure(name, wanted, seed, against))
            rows.extend(summaries([row for row in picked if row["set"] == name]))
            # A long benchmark that is interrupted keeps what it has.
            _write(out, rows, picked)
    show(rows, SHOWN)
    return 0


def draw(wanted: PickingSet, seed: int, index: int, kind: Label) -> tuple[Exposure, FloatArray]:
    """A motionless exposure and its micrograph (y, x) in counted electrons a pixel."""
    column = SizedColumn(
        **{"frames": 4, "dose_per_frame": 8.0, "spacing": 0.95, "seed": seed} | wanted.column
    )
    still = Motion(
        shifts=np.zeros((column.frames, 2)), local=np.zeros((2, 5)), profile=np.zeros(column.frames)
    )
    exposure = replace(compose(column, index, kind), motion=still)
    image = np.sum(list(exposure.intensities()), axis=0)
    for axis in (0, 1):
        # The intensities come as coefficients of cubic splines.
        image = convolve1d(image, np.array([1.0, 4.0, 1.0]) / 6, axis=axis, mode="wrap")
    top, left = exposure.offset
    image = image[top : top + column.height, left : left + column.width]
    noise = np.random.default_rng([seed, index + 1, 4])
    return exposure, noise.poisson(np.maximum(image, 0)).astype(np.float32)


def _measure(name: str, wanted: PickingSet, seed: int, against: str | None) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="nextpyp-bench-") as temporary:
        folder, drawn = Path(temporary), []
        for index, kind in enumerate(wanted.kinds):
            exposure, image = draw(wanted, seed, index, kind)
            drawn.append((index, kind, exposure))
            pixel = exposure.column.pixel_size
            known = {"set": name, "seed": seed, "kind": kind, "program": OURS}
            if not index:
                pick_particles(image, pixel_size=pixel, radius=wanted.radius, ctf=exposure.ctf)
            with measured() as cost:
                picks = pick_particles(image, pixel_size=pixel, radius=wanted.radius, ctf=exposure.ctf)
            yield known | judged(exposure.truth(""), picks.centres, picks.scores) | {"cpu_s": cost["cpu_s"]}
            if against:
                write_mrc(folder / f"m{index}.mrc", image, pixel_size=pixel)
        if against:
            seconds = _relion(folder, wanted, drawn[0][2].column.pixel_size)
            for index, kind, exposure in drawn:
                star = folder / "out" / f"m{index}_log.star"
                centres, scores = (
                    read_picks(star, f"m{index}") if star.exists() else (np.zeros((0, 2)), np.zeros(0))
                )
                known = {"set": name, "seed": seed, "kind": kind, "program": RELION}
                yield known | judged(exposure.truth(""), centres, scores) | {"cpu_s": seconds / len(drawn)}


def _relion(folder: Path, wanted: PickingSet, pixel: float) -> float:
    """CPU-seconds of RELION's LoG picker over all micrographs of a folder."""
    smallest, largest = wanted.diameters
    command = [
        "relion_autopick", "--i", "*.mrc", "--odir", "out/", "--pickname", "log", "--LoG",
        "--LoG_diam_min", f"{smallest:g}", "--LoG_diam_max", f"{largest:g}", "--angpix", f"{pixel:g}",
    ]  # fmt: skip
    return run_measured(command, cwd=folder)["cpu_s"]


def judged(truth: dict[str, Any], centres: FloatArray, scores: FloatArray) -> dict[str, Any]:
    """Counts of one micrograph, errors of centring (Å) and the counts at every higher cut."""
    hits, false, missed = match_picks(truth, centres)
    levels = np.unique(np.quantile(scores, np.linspace(0, 1, CUTS))) if len(scores) else np.zeros(0)
    cuts = [(float(level), *match_picks(truth, centres[scores >= level])) for level in levels]
    return {
        "hits": hits, "false": false, "missed": missed, "cuts": cuts, "errors_A": _centring(truth, centres)
    }  # fmt: skip


def _centring(truth: dict[str, Any], centres: FloatArray) -> list[float]:
    """Distances (Å) from the particles clear of the edge to their nearest pick, where it matches."""
    size, edge = np.array([truth["ny"], truth["nx"]]), EDGE / truth["apix"]
    particles = np.array([[p["y"], p["x"]] for p in truth["particles"]]).reshape(-1, 2)
    particles = particles[((particles > edge) & (particles < size - edge)).all(axis=1)]
    if not len(particles) or not len(centres):
        return []
    away = KDTree(centres).query(particles)[0] * truth["apix"]
    return [float(d) for d in away[away < MATCH_RADIUS]]


def summaries(picked: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row over all micrographs of a set, and one for each kind; each program on its own."""
    for program in dict.fromkeys(row["program"] for row in picked):
        some = [row for row in picked if row["program"] == program]
        kinds = dict.fromkeys(row["kind"] for row in some)
        yield _pooled("all", some)
        for kind in kinds:
            yield _pooled(kind, [row for row in some if row["kind"] == kind])


def _pooled(kind: str, some: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seeds = {row["seed"] for row in some}
    errors = [error for row in some for error in row["errors_A"]]
    pooled = {
        "set": some[0]["set"], "kind": kind, "program": some[0]["program"], "micrographs": len(some),
        "false_most": max(row["false"] for row in some), "cpu_s": float(np.mean([r["cpu_s"] for r in some])),
    }  # fmt: skip
    if not any(row["hits"] + row["missed"] for row in some):
        return pooled
    precision, recall, f1 = _rates([(r["hits"], r["false"], r["missed"]) for r in some])
    by_seed = [
        _rates([(r["hits"], r["false"], r["missed"]) for r in some if r["seed"] == seed])[2] for seed in seeds
    ]
    return pooled | {
        "precision": precision, "recall": recall, "f1": f1, "worst_seed_f1": min(by_seed),
        "centring_A": float(np.median(errors)) if errors else None, "best_cut_f1": _best_cut(some),
    }  # fmt: skip


def _best_cut(some: Sequence[dict[str, Any]]) -> float:
    """F1 at the one score, common to all micrographs, that the truth likes best."""
    levels = sorted({cut[0] for row in some for cut in row["cuts"]})
    best = 0.0
    for level in levels:
        counts = []
        for row in some:
            kept = [cut for cut in row["cuts"] if cut[0] >= level]
            counts.append(kept[0][1:] if kept else (0, 0, row["hits"] + row["missed"]))
        best = max(best, _rates(counts)[2])
    return best


def _rates(counts: Sequence[tuple[int, int, int]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of hits, false and missed picks."""
    hits, false, missed = (int(n) for n in np.sum(counts, axis=0))
    return (
        hits / max(1, hits + false),
        hits / max(1, hits + missed),
        2 * hits / max(1, 2 * hits + false + missed),
    )


def _write(out: Path | None, rows: Sequence[dict[str, Any]], picked: Sequence[dict[str, Any]]) -> None:
    bare = [{key: value for key, value in row.items() if key != "cuts"} for row in picked]
    write_json(out, rows, micrographs=bare)
