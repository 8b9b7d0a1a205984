"""``python -m nextpyp_nb.bench.motion_job SETTINGS OUT THREADS MOVIE...``: motion of each movie."""

import json
import sys
from pathlib import Path

from nextpyp_nb.engine.loading import loading


def main(settings: str, out: str, threads: str, *movies: str) -> None:
    """Correct each movie as a worker of a session does, which loads what it needs with its first task."""
    with loading():
        _correct(settings, out, threads, *movies[:1])
    _correct(settings, out, threads, *movies[1:])


def _correct(settings: str, out: str, threads: str, *movies: str) -> None:
    import scipy.fft

    from nextpyp_nb.session.places import FOLDERS, Places
    from nextpyp_nb.settings import Settings
    from nextpyp_nb.tracks.motion_stage import correct_movie

    chosen = Settings.from_flat(json.loads(Path(settings).read_text()))
    folder = Path(out)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with scipy.fft.set_workers(int(threads)):
        for path in map(Path, movies):
            correct_movie(path, Places(folder, path.stem), chosen, {"threads": int(threads)})


if __name__ == "__main__":
    main(*sys.argv[1:])
