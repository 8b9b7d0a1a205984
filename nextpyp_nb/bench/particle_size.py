"""The particle radius from the first micrographs, where none is given: against the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.cost import measured
from nextpyp_nb.bench.picking import PickingSet, draw, sized
from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.kernels.particle_size import likely_radius, size_curve
from nextpyp_nb.simulate.scene import Label

FIRST: tuple[Label, ...] = ("good", "carbon_edge", "ice_contamination", "good", "good")
SHOWN = ("set", "seed", "radius", "estimate", "ratio", "least", "most", "cpu_s")
SETS: dict[str, PickingSet] = {
    "80 Å": sized(80.0),
    "150 Å": sized(150.0),
    "300 Å": sized(300.0),
    "as S1: 128 and 180 Å": PickingSet(),
    "150 Å, crowded": sized(150.0, spacing=0.7),
    "150 Å, sparse": sized(150.0, spacing=2.0),
    "300 Å, sparse": sized(300.0, spacing=2.0),
}


def bench_sizes(*, seeds: Sequence[int], out: Path | None) -> int:
    """Estimate the radius (Å) of each set from five micrographs, one with carbon and one with ice.

    ``least`` and ``most`` are the estimates from one of them at a time. A table, and JSON to ``out``.
    """
    rows: list[dict[str, Any]] = []
    for name, wanted in SETS.items():
        for seed in seeds:
            curves, seconds = [], 0.0
            for index, kind in enumerate(FIRST):
                exposure, image = draw(wanted, seed, index, kind)
                with measured() as cost:
                    curves.append(size_curve(image, pixel_size=exposure.column.pixel_size, ctf=exposure.ctf))
                seconds += cost["cpu_s"] / len(FIRST)
            alone = [radius for curve in curves if (radius := likely_radius([curve]))]
            row = {"set": name, "seed": seed, "radius": wanted.radius, "cpu_s": seconds}
            if (found := likely_radius(curves)) is not None:
                row |= {"estimate": found, "ratio": found / wanted.radius}
                row |= {"least": min(alone), "most": max(alone)}
            rows.append(row)
            write_json(out, rows)
    show(rows, SHOWN)
    return 0
