"""The hot loops of motion correction on the CPU: add up counts, bin frames, sample frames and sum them.

Loops over x index the arrays themselves, in steps of known length: a view of a row costs numba two atomic
operations, a division more than the pixels of a step.
"""

from typing import Any

import numba
import numpy as np

from nextpyp_nb.records import FloatArray

GRID = 32
RAMP = np.arange(GRID, dtype=np.float32) / np.float32(GRID)
BAND, TOGETHER = 16, 4


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def add_counts(total: FloatArray, raw: FloatArray) -> None:
    """Add one frame of any type to a float32 sum of the same size."""
    ny, nx = total.shape
    for y in range(ny):
        for x in range(nx):
            total[y, x] += np.float32(raw[y, x])


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def far_from_mean(image: FloatArray, size: int, limit: float) -> Any:
    """Mark the pixels further than ``limit`` from the mean of size × size px around them; edges mirror."""
    ny, nx = image.shape
    half = size // 2
    far = np.zeros((ny, nx), np.bool_)
    columns, mean = np.zeros(nx + 2 * half, np.float32), np.empty(nx, np.float32)
    middle = columns[half : half + nx]
    scale, most = np.float32(1 / size**2), np.float32(limit)
    for y in range(-half, half):
        middle += image[_mirror(y, ny)]
    for y in range(ny):
        new = image[_mirror(y + half, ny)]
        for x in range(nx):
            middle[x] += new[x]
        for i in range(half):
            columns[i], columns[half + nx + i] = middle[_mirror(i - half, nx)], middle[_mirror(nx + i, nx)]
        mean[:] = 0
        for k in range(size):
            some = columns[k : k + nx]
            for x in range(nx):
                mean[x] += some[x]
        old = image[_mirror(y - half, ny)]
        for x in range(nx):
            far[y, x] = np.abs(image[y, x] - mean[x] * scale) > most
            middle[x] -= old[x]
    return far


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def outliers(root: FloatArray, step: int, limit: float, contrast: float) -> Any:
    """As ``_outliers`` of gain.py says; only pixels off the local mean are compared with their window."""
    ny, nx = root.shape
    reach, times = 2 * step, np.sqrt(contrast)
    bad = far_from_mean(root, 5 * step, 0.5 * limit)
    for y in range(ny):
        for x in range(nx):
            if bad[y, x]:
                top, left = max(min(y, ny - 1 - reach), reach), max(min(x, nx - 1 - reach), reach)
                value, below, above = root[y, x], 0, 0
                low, high = min(value - limit, value / times), max(value + limit, value * times)
                for row in range(top - reach, top + reach + 1, step):
                    for column in range(left - reach, left + reach + 1, step):
                        near = root[min(row, ny - 1), min(column, nx - 1)]
                        below += near < low
                        above += near > high
                # More than half of the window is that far off where its median is.
                bad[y, x] = below > 12 or above > 12
    return bad


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def bin_frames(raw: FloatArray, factor: FloatArray, size: int, small: FloatArray) -> None:
    """Means of size × size pixels of raw counts (f, y, x) times their factor; what is 0 there is not counted.

    Row by row over all frames, so that the factor is read once.
    """
    frames, ny, nx = small.shape
    line, share = np.empty(nx * size, np.float32), np.float32(1 / size**2)
    for row in range(ny):
        for f in range(frames):
            line[:] = 0
            for y in range(row * size, (row + 1) * size):
                for x in range(len(line)):
                    value = np.float32(raw[f, y, x]) * factor[y, x]
                    line[x] += value if factor[y, x] != 0 else np.float32(0)
            if size == 2:  # the usual step, which a compiler that knows it takes in half the time
                for x in range(nx):
                    small[f, row, x] = share * (line[2 * x] + line[2 * x + 1])
            else:
                for x in range(nx):
                    total = np.float32(0)
                    for k in range(size):
                        total += line[x * size + k]
                    small[f, row, x] = share * total


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def take_off(frames: FloatArray, still: FloatArray, mask: FloatArray) -> None:
    """Take off frames (f, y, x) what stands still and multiply with a mask, both (y, x)."""
    count, ny, nx = frames.shape
    for f in range(count):
        for y in range(ny):
            for x in range(nx):
                frames[f, y, x] = (frames[f, y, x] - still[y, x]) * mask[y, x]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_filtered(total: Any, spectrum: Any, curve: FloatArray, ky: FloatArray, kx: FloatArray) -> None:
    """Add a spectrum (y, x) times a curve of its frequency to a sum; ``ky``, ``kx`` are in its samples."""
    for y in range(len(ky)):
        for x in range(len(kx)):
            sample = int(np.sqrt(ky[y] ** 2 + kx[x] ** 2) + np.float32(0.5))
            total[y, x] += curve[sample] * spectrum[y, x]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def add_moved(
    sums: FloatArray,
    raw: FloatArray,
    factor: FloatArray,
    holes: tuple[FloatArray, FloatArray, FloatArray],
    weights: FloatArray,
    down: FloatArray,
    across: FloatArray,
    table: FloatArray,
    fresh: bool,
) -> None:
    """Add weights[r, f] times raw frame f times ``factor``, sampled at a varying shift, to sums[r].

    ``raw`` is (f, y, x) of any type, ``sums`` (r, y, x); edges mirror. ``holes`` are the flat places that are
    filled, where those of each row begin (y + 1,), and the places (f, hole) whose values they take.
    ``down`` and ``across`` (f, row, column) are the y and x shifts in px at every GRID-th px, the first
    at the columns sampled and the second at those written; ``table`` (2 n + 1, 7) holds the taps of 0 to 2 px
    in steps of 1 / n. Between grid points the taps are interpolated, not the shifts. ``fresh`` sums hold
    nothing yet. Band by band over all frames, so that what is read and summed stays in the cache.
    """
    frames, ny = raw.shape[:2]
    steps = down.shape[2] - 1
    margin = int(np.abs(across).max()) + 6
    line = np.zeros(steps * GRID + 2 * margin, np.float32)
    spread = 0
    for f in range(frames):
        spread = max(spread, int(down[f].max() - down[f].min()) + 2)
    source = np.zeros((BAND + spread + 8, steps, GRID), np.float32)
    flat = source.reshape(len(source), steps * GRID)
    moved = np.zeros((TOGETHER, BAND, steps, GRID), np.float32)
    rows = moved.reshape(TOGETHER, BAND, steps * GRID)
    for top in range(0, ny, BAND):
        end = min(top + BAND, ny)
        nodes = slice(top // GRID, (end - 1) // GRID + 2)
        for first in range(0, frames, TOGETHER):
            some = np.zeros((len(weights), TOGETHER), np.float32)
            for f in range(first, min(first + TOGETHER, frames)):
                some[:, f - first] = weights[:, f]
                # Rounding may take an interpolated shift just beyond the grid's.
                begin = top + int(np.floor(down[f, nodes].min() - 1e-3)) - 2
                last = end + int(np.floor(down[f, nodes].max() + 1e-3)) + 5
                for y in range(begin, last):
                    _correct_row(flat, y - begin, raw, f, _mirror(y, ny), factor, holes)
                _sample(
                    moved[f - first],
                    source,
                    (begin, top, end),
                    (down[f], across[f]),
                    line,
                    raw.shape[2],
                    table,
                )
            for y in range(top, end):
                for r in range(len(weights)):
                    _add_rows(sums, r, y, rows, y - top, some[r], fresh and first == 0)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _sample(
    moved: FloatArray,
    source: FloatArray,
    where: tuple[int, int, int],
    shifts: tuple[FloatArray, FloatArray],
    line: FloatArray,
    nx: int,
    table: FloatArray,
) -> None:
    """Fill rows of one frame: its row where ``source`` begins, the first and the last but one to fill."""
    begin, top, end = where
    down, across = shifts
    steps = moved.shape[1]
    margin = (len(line) - steps * GRID) // 2
    inner = line[margin : margin + steps * GRID].reshape(steps, GRID)
    here, most = np.empty(steps + 1, np.float32), len(table) - 1
    taps = np.empty((3, steps), np.int32)
    for y in range(top, end):
        row, part = y // GRID, np.float32((y % GRID) / GRID)
        _find_taps(taps, here, down[row], down[row + 1], part, most)
        _pull_down(inner, source, y - begin, taps, table)
        for i in range(margin):
            line[margin - 1 - i] = line[margin + _mirror(-1 - i, nx)]
            line[margin + nx + i] = line[margin + _mirror(nx + i, nx)]
        _find_taps(taps, here, across[row], across[row + 1], part, most)
        _pull_across(moved[y - top], line, margin, taps, table)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _correct_row(
    out: FloatArray,
    place: int,
    raw: FloatArray,
    f: int,
    y: int,
    factor: FloatArray,
    holes: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    """Write a row of a frame, gain applied and holes filled."""
    places, begins, donors = holes
    nx = raw.shape[2]
    for x in range(nx):
        out[place, x] = np.float32(raw[f, y, x]) * factor[y, x]
    for hole in range(begins[y], begins[y + 1]):
        row, column = divmod(donors[f, hole], nx)
        out[place, places[hole] - y * nx] = np.float32(raw[f, row, column]) * factor[row, column]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_down(line: FloatArray, source: FloatArray, y: int, taps: Any, table: FloatArray) -> None:
    """Fill a line (step, GRID) from the rows around y + shift, ``taps`` as ``_find_taps`` finds them."""
    flat, width, whole = source.ravel(), source.shape[1] * GRID, len(table) // 2
    down = np.uintp(width)
    for c in range(len(line)):
        i, j = taps[1, c], taps[2, c]
        left, right = _row(table, np.uintp(i)), _row(table, np.uintp(j))
        first = np.uintp((y + taps[0, c] - 2) * width + GRID * c)
        # The last tap counts only where shifts pass a whole px.
        if i <= whole and j <= whole:
            for x in range(GRID):
                line[c, x] = _between(flat, first + np.uintp(x), down, left[:6], right[:6], RAMP[x])
        else:
            for x in range(GRID):
                line[c, x] = _between(flat, first + np.uintp(x), down, left, right, RAMP[x])


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _pull_across(shifted: FloatArray, line: FloatArray, margin: int, taps: Any, table: FloatArray) -> None:
    """Fill (step, GRID) from the pixels around x + shift of a line that has a margin on both sides."""
    whole = len(table) // 2
    for c in range(len(shifted)):
        i, j = taps[1, c], taps[2, c]
        left, right = _row(table, np.uintp(i)), _row(table, np.uintp(j))
        first = np.uintp(margin + GRID * c + taps[0, c] - 2)
        if i <= whole and j <= whole:
            for x in range(GRID):
                shifted[c, x] = _between(line, first + np.uintp(x), np.uintp(1), left[:6], right[:6], RAMP[x])
        else:
            for x in range(GRID):
                shifted[c, x] = _between(line, first + np.uintp(x), np.uintp(1), left, right, RAMP[x])


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _find_taps(
    taps: Any, here: FloatArray, above: FloatArray, below: FloatArray, part: Any, most: int
) -> None:
    """For each step the whole px below the shifts at its ends, and the table's rows of taps there: (3, step).

    The shifts, ``here`` afterwards, lie ``part`` of the way between those ``above`` and ``below``.
    """
    unit = np.float32(most // 2)
    for c in range(len(here)):
        here[c] = (1 - part) * above[c] + part * below[c]
    for c in range(len(here) - 1):
        start = np.floor(min(here[c], here[c + 1]))
        taps[0, c] = np.int32(start)
        taps[1, c] = min(np.int32((here[c] - start) * unit + np.float32(0.5)), np.int32(most))
        taps[2, c] = min(np.int32((here[c + 1] - start) * unit + np.float32(0.5)), np.int32(most))


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _row(table: FloatArray, i: Any) -> tuple[float, ...]:
    return table[i, 0], table[i, 1], table[i, 2], table[i, 3], table[i, 4], table[i, 5], table[i, 6]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _between(
    flat: FloatArray, first: Any, step: Any, left: tuple[float, ...], right: tuple[float, ...], part: float
) -> Any:
    """What two sets of taps make of as many pixels ``step`` apart, in between linear.

    Places are unsigned: numba looks whether others are to be counted from the end.
    """
    one, two = np.float32(0), np.float32(0)
    for k in range(len(left)):
        pixel = flat[first + np.uintp(k) * step]
        one += left[k] * pixel
        two += right[k] * pixel
    return one + part * (two - one)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[misc]
def _add_rows(
    sums: FloatArray, r: int, y: int, rows: FloatArray, place: int, weights: FloatArray, fresh: bool
) -> None:
    """Add the same row of four frames to a row of a sum, or begin it with them."""
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    for x in range(sums.shape[2]):
        before = np.float32(0) if fresh else sums[r, y, x]
        sums[r, y, x] = before + (
            wa * rows[0, place, x] + wb * rows[1, place, x] + wc * rows[2, place, x] + wd * rows[3, place, x]
        )


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _mirror(i: int, n: int) -> int:
    """Index of a pixel after reflection at the edges, the edge pixel repeated."""
    while i < 0 or i >= n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i
