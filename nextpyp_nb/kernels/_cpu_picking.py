"""The hot loop of picking: which of thousands of maxima stand far enough apart."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.records import FloatArray


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def winners(y: FloatArray, x: FloatArray, reach: FloatArray, best_first: NDArray[np.intp]) -> Any:
    """Which of the places (n,) stay, bool (n,): of two nearer than both ``reach`` the better.

    ``y`` ascends; ``best_first`` numbers the places in the order of their scores.
    """
    alive = np.ones(len(y), np.bool_)
    farthest = 2.0 * reach.max()
    for here in best_first:
        if not alive[here]:
            continue
        # Better ones that are near have lost already.
        for step in (-1, 1):
            there = here + step
            while 0 <= there < len(y) and abs(y[there] - y[here]) <= farthest:
                apart = (y[there] - y[here]) ** 2 + (x[there] - x[here]) ** 2
                if apart <= (reach[there] + reach[here]) ** 2:
                    alive[there] = False
                there += step
    return alive
