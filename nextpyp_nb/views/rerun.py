"""What Restart would do, in a sentence with its price."""

import pandas as pd

from nextpyp_nb.session.particle_size import with_estimate
from nextpyp_nb.session.stages import STAGES, confirmation, what_reruns
from nextpyp_nb.settings import Settings
from nextpyp_nb.views.markup import duration
from nextpyp_nb.views.state import Snapshot


def rerun_sentence(
    old: Settings, new: Settings, snapshot: Snapshot, micrographs: pd.DataFrame | None = None
) -> str:
    """Such as "redo CTF and picks of 713 micrographs, about 6 min of one worker".

    Of all ``micrographs`` when None; an empty radius stands for the estimated one before and after.
    """
    micrographs = snapshot.micrographs if micrographs is None else micrographs
    old, new = (with_estimate(settings, snapshot.size_estimate) for settings in (old, new))
    again = what_reruns(old, new)
    seconds = sum(_seconds(micrographs, stage) for stage in STAGES if again[stage])
    price = f", about {duration(seconds)} of one worker" if seconds >= 1 else ""
    return confirmation(old, new, len(micrographs), len(snapshot.rounds)) + price


def _seconds(micrographs: pd.DataFrame, stage: str) -> float:
    column = f"seconds_{stage}"
    if column not in micrographs:
        return 0.0
    return float(pd.to_numeric(micrographs[column], errors="coerce").sum())
