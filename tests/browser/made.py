"""A session with all that pages show, made up: rows, pictures, picks, classes; no runner, no movies."""

import json

import numpy as np

from nextpyp_nb.bench.synthetic import add_micrographs, synthetic_session
from nextpyp_nb.formats.mrc import write_mrc
from nextpyp_nb.formats.pictures import write_jpeg
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.stages import classify_key
from nextpyp_nb.session.store import Store

MICROGRAPHS = 260
WITH_FILES = 12
CLASSES, SIDE = 10, 48
BLURRED = {"fit_resolution": 9.5}
# Distances from the corner, px, so far apart that none is taken for another.
PLACES = np.stack(np.meshgrid(np.arange(5) * 700 + 600, np.arange(7) * 700 + 600, indexing="ij"), -1).reshape(
    -1, 2
)
MDOC = "PixelSpacing = {pixel}\nVoltage = 300\n[FrameSet = 0]\nExposureDose = {dose}\nNumSubFrames = 40\n"


def made_session(root, name="grid"):
    """The session ``name`` under ``root``, with two rounds of classes, two failed movies and an alert."""
    session = synthetic_session(root, MICROGRAPHS - 12, name=name)
    add_micrographs(session, 12, first=MICROGRAPHS - 12, **BLURRED)
    with Store(session.folder / "session.db") as store, acquire(store):
        for movie in store.add_movies(
            [{"name": f"broken_{n}", "source": f"/camera/broken_{n}.tiff", "size": 1} for n in (1, 2)]
        ):
            store.movie_failed(movie, "truncated: 37 of 40 frames readable")
        for number in (1, 2):
            _round(store, session, number)
        store.movie_acquisitions({}, {n: 1 + n % 3 for n in session.micrographs["id"]})
    for micrograph in session.micrographs["name"].iloc[-WITH_FILES:]:
        _files(session, micrograph)
    movies = root / "movies"
    movies.mkdir(exist_ok=True)
    for n in range(3):
        (movies / f"m{n}.tiff").write_bytes(b"")
        (movies / f"m{n}.tiff.mdoc").write_text(MDOC.format(pixel=0.9, dose=50))
    (movies / "other.mrc").write_bytes(b"")
    return session


def _files(session, name):
    """Picks, curves and motion of a micrograph, as a worker writes them."""
    turn = np.linspace(0, 4, 40)
    frequency = np.linspace(0.02, 0.3, 80)
    rings = np.cos(np.pi * 300 * 1.2 * frequency**2) ** 2
    arrays = {
        "picks": {
            "centres": PLACES.astype(float), "scores": np.linspace(5, 12, len(PLACES)), "radius": 65.0,
            "pixel_size": 0.83, "threshold": 4.0,
        },
        "ctf": {
            "frequency": frequency, "radial_average": rings, "fit": rings, "quality": 1 - frequency,
            "spectrum": np.tile(np.linspace(0, 255, 128), (128, 1)).astype(np.uint8),
        },
        "trajectory": {
            "shifts": np.stack([np.sin(turn), turn], -1).astype("f4"), "pixel_size": 0.83,
            "local": 0.01 * np.ones((2, 6, 3)),
        },
        "particles": {
            "images": np.random.default_rng(0).normal(size=(len(PLACES), SIDE, SIDE)).astype("f4"),
            "number": np.arange(len(PLACES)),
        },
    }  # fmt: skip
    for kind, content in arrays.items():
        path = session.file(kind, name)
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **content)


def _round(store, session, number):
    """A finished round, whose classes hold fewer and fewer particles."""
    begun = store.begin_round(ctf_max_resolution=10.0, key=classify_key(session.settings), seed=1, revision=1)
    names = session.micrographs["name"].to_numpy()[-WITH_FILES:]
    counts = np.linspace(80, 8, CLASSES).astype(int)
    rows = [
        {"number": n + 1, "identity": n, "count": int(count), "share": float(count / counts.sum()),
         "resolution": 8.0 + n, "score": 1 - n / CLASSES}
        for n, count in enumerate(counts)
    ]  # fmt: skip
    store.commit_round(begun.number, rows, particles=int(counts.sum()), resolution=8.0, path="p", churn=0.1)
    folder = session.file("classes", number).parent
    folder.mkdir(parents=True)
    pick = np.tile(np.arange(len(PLACES)), WITH_FILES)
    np.savez(
        session.file("assignments", number), names=names.astype(str),
        micrograph=np.repeat(np.arange(WITH_FILES), len(PLACES)), pick=pick, centres=PLACES[pick],
        class_number=1 + np.arange(len(pick)) % CLASSES,
    )  # fmt: skip
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    stack = np.stack([np.hypot(x, y * (1 + n / 10)) < SIDE / 3 for n in range(CLASSES)]).astype("f4")
    write_mrc(session.file("classes", number), stack, pixel_size=3.0, stack=True)
    sheet = (255 * np.concatenate(list(stack), axis=1)).astype(np.uint8)
    write_jpeg(session.file("classes_picture", number), sheet)
    write_jpeg(session.file("classes_sheet", number), sheet)
    layout = {"tile": SIDE, "columns": CLASSES, "pixel_size": 3.0, "count": CLASSES}
    session.file("classes_layout", number).write_text(json.dumps(layout))
