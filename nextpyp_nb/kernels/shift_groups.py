"""Groups of beam shifts: movies taken through the same tilt of the beam share an optics group."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

# How much farther apart groups must lie than the members of one group.
CLEAR_GAP = 3.0
# Shifts that repeat exactly have no scatter: this part of the whole spread stands for it.
LEAST_SCATTER = 1e-3


def shift_groups(shifts: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Label each shift (n, 2) with its group, from 0 in order of appearance; and the groups' reach.

    Single linkage, cut in the finest clear gap: a distance ``CLEAR_GAP`` times the one below it, with at
    least two members a group on average. Without such a gap all are one group of endless reach. A shift
    nearer than ``reach`` (in the shifts' unit) to a member belongs to its group.
    """
    shifts = np.asarray(shifts, np.float64)
    if len(shifts) < 2:
        return np.zeros(len(shifts), np.int64), float("inf")
    tree = linkage(shifts, "single")
    heights = np.maximum(tree[:, 2], LEAST_SCATTER * max(float(np.ptp(shifts, axis=0).max()), 1e-300))
    first = max(1, (len(shifts) + 1) // 2)
    steps = heights[first:] / heights[first - 1 : -1]
    clear = np.flatnonzero(steps >= CLEAR_GAP)
    if not len(clear):
        return np.zeros(len(shifts), np.int64), float("inf")
    below = first - 1 + int(clear[0])
    reach = float(np.sqrt(heights[below] * heights[below + 1]))
    labels = fcluster(tree, reach, "distance")
    order = {int(label): n for n, label in enumerate(dict.fromkeys(labels.tolist()))}
    return np.array([order[int(label)] for label in labels], np.int64), reach
