"""F19: settings change while movies come in, and back again: what is computed, and how often."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from nextpyp_nb.bench.faults.pretend import HurriedRunner, pretend_session, run, write_movies
from nextpyp_nb.bench.faults.work import COMPUTED
from nextpyp_nb.session import Session

# From the beginning to another CTF, back, and to that other one again.
OTHER = {"ctf.max_resolution": 4.5}


class _Staged(HurriedRunner):
    """With the three stages, each pretended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.preprocess.function = "nextpyp_nb.bench.faults.work:staged"


def changes(root: Path, *, movies: int) -> dict[str, Any]:
    """Change a setting of the CTF when half of ``movies`` are through, then back, then forth again."""
    write_movies(root / "camera", movies)
    calm, wild = (
        pretend_session(root / name, root / "camera", transfer__operation="link") for name in ("calm", "wild")
    )
    calm.save_settings(calm.settings.updated(OTHER)).wait(5)
    run(calm, kind=_Staged)
    counts: list[Counter[str]] = []
    first = wild.settings

    def act() -> None:
        _until(lambda: len(wild.micrographs) >= movies // 2)
        for settings in (first.updated(OTHER), first, first.updated(OTHER)):
            wild.save_settings(settings).wait(10)
            wild.restart("preprocess").wait(10)
            _until(lambda: len(wild.micrographs) == movies and not _open(wild))
            counts.append(_computed(wild))

    acting = threading.Thread(target=act)
    acting.start()
    run(wild, still_coming=acting.is_alive, kind=_Staged)
    acting.join()
    by_stage = Counter(line.split()[0] for line in counts[-1].elements())
    twice = [line for line, times in counts[-1].items() if times > 1]
    problems = [f"computed {counts[-1][line]} times: {line}" for line in twice]
    if by_stage["motion"] != movies:
        problems.append(f"motion of {movies} movies was computed {by_stage['motion']} times")
    if counts[2] != counts[1]:
        problems.append(f"the way back computed {(counts[2] - counts[1]).total()} stages")
    if _rows(wild) != _rows(calm):
        problems.append("the results differ from those of a session with these settings from the beginning")
    figures = {"movies": movies, "motion": by_stage["motion"], "CTF": by_stage["ctf"]}
    figures |= {"picks": by_stage["picking"], "computed twice": len(twice)}
    figures |= {"computed on the last way": (counts[2] - counts[1]).total(), "problems": problems}
    for session in (calm, wild):
        session.close()
    return figures


def _computed(session: Session) -> Counter[str]:
    return Counter((session.folder / COMPUTED).read_text().splitlines())


def _open(session: Session) -> int:
    counts = session.status().tracks["preprocess"].counts
    return counts["waiting"] + counts["running"]


def _rows(session: Session) -> list[tuple[Any, ...]]:
    """Numbers and files of each micrograph."""
    return [
        (row.name, row.n_frames, row.defocus_u, row.particles, session.file("ctf", row.name).read_text())
        for row in session.micrographs.sort_values("name").itertuples()
    ]


def _until(true: Any) -> None:
    end = time.monotonic() + 600
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
