"""What is wrong with a micrograph, as a mark and in words."""

from typing import Any

import numpy as np
import pandas as pd

from nextpyp_nb.session.quality_limits import QUALITY
from nextpyp_nb.views.markup import number


def states(table: pd.DataFrame, alarms: pd.DataFrame) -> np.ndarray:
    """failed, excluded, alarm or nothing for each micrograph; the first that is true."""
    marks = np.full(len(table), "", object)
    marks[alarms.to_numpy(bool).any(axis=1)] = "alarm"
    marks[table["excluded"].to_numpy(bool)] = "excluded"
    failed = table["ctf_failed"].notna().to_numpy() if "ctf_failed" in table else np.zeros(len(table), bool)
    if "state" in table:
        failed = failed | table["state"].isin(("failed", "quarantined")).to_numpy()
    marks[failed] = "failed"
    return marks


def alarm_words(entry: dict[str, Any], alarms: pd.Series) -> list[str]:
    """The figures of a micrograph that are out of limits, such as "Early drift 35.0 Å, limit 30"."""
    words = []
    for figure in QUALITY:
        if alarms.get(figure.name, False):
            value = entry.get(figure.name)
            shown = "" if value is None else " " + number(value, 2 if abs(value) < 10 else 0, figure.unit)
            limit = "unusual here" if figure.limit is None else f"limit {figure.limit:g}"
            words.append(f"{figure.label}{shown}, {limit}")
    return words
