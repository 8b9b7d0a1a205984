"""The gain check: on the first movies of a session by itself, or on any files; it never changes a setting."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.formats.arrays import read_arrays, write_arrays
from nextpyp_nb.formats.files import published
from nextpyp_nb.formats.frames import holds_events, read_frames
from nextpyp_nb.formats.gain import gain_shape, read_gain, says_packed
from nextpyp_nb.formats.pictures import write_jpeg
from nextpyp_nb.formats.tiff import unpack_halves
from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.counts import total_counts
from nextpyp_nb.kernels.gain_check import (
    CORRECTED,
    FITS,
    OTHER,
    UNCLEAR,
    GainCheck,
    GainFit,
    check_gain,
    gain_picture,
)  # fmt: skip
from nextpyp_nb.session.gain_check import as_set, gain_folder, read_gain_check
from nextpyp_nb.settings import Settings

ENOUGH, MOST = 5, 20


def gain_operation(chosen: str, reference: Path, events: bool) -> str:
    """What "auto" means: a .gain multiplies electrons, other references of an EER hold the response."""
    if chosen != "auto":
        return chosen
    return "divide" if events and reference.suffix.lower() != ".gain" else "multiply"


def watch_gain(frames: Any, folder: Path, name: str, settings: Settings, *, events: bool) -> None:
    """Add one movie's raw frames to the check of the session's first movies, until that is certain.

    The check is made after the first movie, and again once there are enough unless the reference surely fits;
    drawn where people should look.
    """
    reference = Path(settings.gain.reference)
    last = read_gain_check(folder)
    if last is not None and last["set"] != as_set(settings):
        last = None
    if not settings.gain.reference or not reference.is_file() or (last and last["final"]):
        return
    sums = gain_folder(folder) / "sums"
    write_arrays(sums / f"{name}.npz", total=_small(to_numpy(total_counts(frames))))
    paths = sorted(sums.glob("*.npz"))[:MOST]
    if last is not None and last["verdict"] != UNCLEAR and len(paths) < ENOUGH:
        return
    operation = gain_operation(settings.gain.operation, reference, events)
    halves, movies = _halves(_read_sums(paths))
    if not movies:
        return
    check, gain = _checked(halves, movies, settings, operation)
    final = check.sure or movies >= (MOST if check.verdict == UNCLEAR else ENOUGH)
    if check.verdict not in (FITS, UNCLEAR):
        picture = gain_picture(sum(halves), gain, chosen=check.chosen, best=check.best)
        write_jpeg(gain_folder(folder) / "check.jpg", picture)
    record = describe(check, operation) | {"set": as_set(settings), "final": final}
    with published(gain_folder(folder) / "check.json") as part:
        part.write_text(json.dumps(record, indent=1))
    if final:
        for path in paths:
            path.unlink(missing_ok=True)


def _read_sums(paths: Sequence[Path]) -> Iterator[NDArray[Any]]:
    """The sums that are still there: another worker may just have ended the check."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            yield read_arrays(path)["total"]


def _halves(sums: Iterable[NDArray[Any]]) -> tuple[list[NDArray[np.float32]], int]:
    """Sums over every other movie of the first one's size, and the number of movies.

    Twenty large sums at once would take more memory than all else.
    """
    halves: list[NDArray[np.float32]] = []
    count = 0
    for total in sums:
        if halves and total.shape != halves[0].shape:
            continue
        if count < 2:
            halves.append(total.astype(np.float32))
        else:
            halves[count % 2] += total
        count += 1
    return halves, count


def check_files(paths: Sequence[Path], settings: Settings) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """The check on movies given as files, and its picture."""
    reference = Path(settings.gain.reference)
    if not settings.gain.reference or not reference.is_file():
        raise FileNotFoundError(f"no gain reference at {str(reference)!r}; give the right file")
    if not paths:
        raise FileNotFoundError("no movie to check the gain reference with")
    operation = gain_operation(settings.gain.operation, reference, holds_events(paths[0]))
    halves, movies = _halves(_total(path, reference) for path in paths)
    check, gain = _checked(halves, movies, settings, operation)
    picture = gain_picture(sum(halves), gain, chosen=check.chosen, best=check.best)
    return describe(check, operation) | {"set": as_set(settings)}, picture


def _total(path: Path, reference: Path) -> NDArray[np.float32]:
    frames = read_frames(path)
    if frames.dtype == np.uint8 and says_packed(gain_shape(reference), frames.shape[1:]):
        frames = unpack_halves(frames)
    return np.asarray(total_counts(frames))


def _small(total: NDArray[Any]) -> NDArray[Any]:
    """Whole counts in 16 bits where they fit."""
    if not (total.min() >= 0 and total.max() <= 65535):
        return total
    small = total.astype(np.uint16)
    return small if (small == total).all() else total


def _checked(
    halves: list[Any], movies: int, settings: Settings, operation: str
) -> tuple[GainCheck, NDArray[np.float32]]:
    """The check, and the reference as stored."""
    gain = read_gain(Path(settings.gain.reference), shape=halves[0].shape)
    check = check_gain(
        halves, gain, movies=movies, rotation=settings.gain.rotation,
        flip_horizontal=settings.gain.flip_horizontal, flip_vertical=settings.gain.flip_vertical,
        operation=operation,
    )  # fmt: skip
    return check, gain


def describe(check: GainCheck, operation: str) -> dict[str, Any]:
    """The check as plain numbers, with a sentence and the settings that it proposes."""
    proposal = {
        f"gain.{name}": getattr(check.best, name)
        for name in ("rotation", "flip_horizontal", "flip_vertical", "operation")
    }
    if check.best.operation == operation:
        del proposal["gain.operation"]
    return {
        "verdict": check.verdict,
        "text": _sentence(check),
        "proposal": proposal if check.verdict == OTHER else {},
        "movies": check.movies,
        "counts": check.counts,
        "margin": check.margin if np.isfinite(check.margin) else None,
        "fixed": check.fixed if np.isfinite(check.fixed) else None,
        "fits": [asdict(fit) for fit in check.fits],
    }


def _sentence(check: GainCheck) -> str:
    movies = "the first movie" if check.movies == 1 else f"the first {check.movies} movies"
    best, chosen = check.best, check.chosen
    found = f"correlation {best.score:.2f}"
    if check.verdict == FITS:
        return f"The gain reference fits {movies} as it is set ({found})."
    if check.verdict == OTHER:
        instead = "impossible" if chosen is None else f"{round(chosen.score, 2) + 0.0:.2f}"
        return (
            f"The gain reference fits {movies} better with {in_words(best)} ({found}; as set {instead}). "
            "Nothing was changed: set it and restart."
        )
    if check.verdict == CORRECTED:
        return f"There is no pattern of the gain reference in {movies}: they look corrected already."
    if check.verdict == UNCLEAR:
        return f"Whether the gain reference fits cannot be told from {movies} yet."
    return (
        f"In no orientation does the gain reference fit {movies} (best {in_words(best)}, {found}): "
        "it may be another camera's, or out of date."
    )


def in_words(fit: GainFit) -> str:
    """An orientation and operation as the settings name them."""
    flips = [
        text for on, text in ((fit.flip_horizontal, "left-right"), (fit.flip_vertical, "upside-down")) if on
    ]
    flipped = f"flip {' and '.join(flips)}" if flips else "no flip"
    return f"rotation {fit.rotation}, {flipped}, {fit.operation}"
