"""A streaming classification as named arrays: all that it needs to go on, bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.class2d_average import HalfSums
from nextpyp_nb.kernels.class2d_setup import Class2dSetup
from nextpyp_nb.kernels.class2d_table import ParticleTable

if TYPE_CHECKING:
    from nextpyp_nb.kernels.class2d_stream import Classification

SUMS = ("signal", "weight", "power", "count")
KEPT = ("references", "noise", "identity", "parked", "updates", "annealed_at", "next_identity")


def saved_arrays(engine: "Classification") -> dict[str, Any]:
    """Host arrays of everything but the images."""
    noise = [to_numpy(each) for each in engine.group_noise.values()]
    return (
        {f"setup_{name}": np.asarray(value) for name, value in asdict(engine.setup).items()}
        | {f"sum_{name}": to_numpy(getattr(engine.sums, name)) for name in SUMS}
        | {name: to_numpy(getattr(engine, name)) for name in KEPT}
        | engine.table.to_arrays()
        | {
            "groups": np.array(list(engine.group_noise), np.int64),
            "group_noise": np.array(noise, np.float32).reshape(-1, engine.grid.rings),
        }
    )


def saved_setup(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What the saved classification was made for; ValueError if ``arrays`` are of none."""
    names = [f.name for f in fields(Class2dSetup)]
    wanted = [*(f"sum_{n}" for n in SUMS), *(f"setup_{n}" for n in names), *KEPT]
    missing = [n for n in [*wanted, "rows", "batches", "groups", "group_noise"] if n not in arrays]
    if missing:
        raise ValueError(f"no saved 2D classification: {', '.join(missing)} missing; classify anew")
    return {name: np.asarray(arrays[f"setup_{name}"]).item() for name in names}


def put_back(engine: "Classification", arrays: Mapping[str, Any]) -> None:
    """Make a new ``engine`` of the same setup what the saved one was."""
    xp = engine.xp
    signal, weight, power, count = (np.array(arrays[f"sum_{name}"]) for name in SUMS)
    engine.sums = HalfSums(xp.asarray(signal), xp.asarray(weight), xp.asarray(power), count)
    for name in KEPT:
        value = np.array(arrays[name])
        on_device = name in ("references", "noise")
        setattr(engine, name, xp.asarray(value) if on_device else value if value.ndim else value.item())
    engine.table = ParticleTable(arrays["rows"], arrays["batches"].tolist())
    groups = np.asarray(arrays["groups"]).tolist()
    engine.group_noise = dict(zip(groups, xp.asarray(arrays["group_noise"]), strict=True))
