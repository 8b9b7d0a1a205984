"""A session of many made-up micrographs, to try the pages on: rows and thumbnails, no movies."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from nextpyp_nb.session import Session, create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings

# Any file name may come from a microscope's disk; on a page it must stay text.
HOSTILE = "<img src=x onerror='window.hacked=1'>&\"<script>window.hacked=1<%2Fscript>"
FIRST_SHOT = datetime(2026, 3, 1, 8, tzinfo=UTC)
PICTURES = 48


def synthetic_session(root: Path, micrographs: int, *, name: str = "many", seed: int = 1) -> Session:
    """Create a session under ``root`` with so many rows; one name is hostile, a few have no fit."""
    settings = Settings.from_flat(
        {
            "raw_data.location": str(root / "movies" / "*.tiff"),
            "microscope.pixel_size": 0.83,
            "microscope.voltage": 300,
            "microscope.dose": 50,
            "picking.radius": 65,
        }
    )
    session = create_session(name, settings=settings, root=root)
    add_micrographs(session, micrographs, seed=seed)
    return session


def add_micrographs(session: Session, count: int, *, first: int = 0, seed: int = 1, **figures: Any) -> None:
    """Add micrographs ``first`` to ``first + count`` as the runner does, all with these ``figures``."""
    with Store(session.folder / "session.db") as store, acquire(store):
        revision, settings = store.latest_settings()
        names = [_name(i) for i in range(first, first + count)]
        with store.transaction():
            ids = store.add_movies(
                [
                    {"name": name, "source": f"/camera/{i}.tiff", "size": 10}
                    for i, name in enumerate(names, first)
                ]
            )
            for i, movie in enumerate(ids, first):
                store.movie_done(
                    movie, path=f"raw/{movie}.tiff", size=10, hash=str(i), operation="link",
                    acquisition={"time": (FIRST_SHOT + timedelta(seconds=11 * i)).isoformat(),
                                 "defocus": _target(i)},
                )  # fmt: skip
            for task in store.claim_tasks(count, "made up", revision, settings):
                store.commit_micrograph(task, _record(first + task.movie_id - ids[0], seed) | figures)
    _link_pictures(session.folder / "previews", names, first)


def _name(i: int) -> str:
    if i == 1:
        return HOSTILE
    return f"FoilHole_{31290 + i // 5}_Data_312{i % 5:02d}_{40 + i}_20260301_{80000 + i:06d}"


def _target(i: int) -> float:
    return 8000.0 + 2000.0 * (i % 7)


def _record(i: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, i])
    drift = 0.25 * np.sin(i / 600)
    defocus = _target(i) + 1500 * np.sin(i / 900) + rng.normal(0, 350)
    astigmatism, motion = abs(rng.normal(180, 90)), rng.gamma(6, 1.6)
    record = {
        "n_frames": 40, "height": 4092, "width": 5760, "pixel_size": 0.83, "dose_per_frame": 1.25,
        "defocus_u": defocus + astigmatism / 2, "defocus_v": defocus - astigmatism / 2,
        "defocus_angle": rng.normal(70, 25) % 180, "fit_resolution": 3.3 + rng.gamma(2.0, 0.22) + drift,
        "ctf_score": 0.22 + rng.normal(0, 0.03), "defocus_error": 12.0, "ctf_failed": None,
        "total_motion": motion, "early_motion": motion * rng.uniform(0.3, 0.6),
        "late_motion": motion * 0.2, "ice_ring": 0.5 * rng.gamma(9, 0.12) + 0.3 * drift,
        "particles": int(rng.normal(185 - 300 * drift**2, 32)), "junk_fraction": rng.beta(1, 40),
    }  # fmt: skip
    if i % 997 == 5:
        unknown = ("defocus_u", "defocus_v", "defocus_angle", "fit_resolution", "ctf_score", "defocus_error")
        record |= dict.fromkeys(unknown) | {"ctf_failed": "best fit 0.02, below 0.05", "particles": 0}
    return record


def _link_pictures(folder: Path, names: list[str], first: int) -> None:
    rng = np.random.default_rng(0)
    for i, name in enumerate(names, first):
        shared = folder / f"picture_{i % PICTURES}.jpg"
        if not shared.exists():
            picture = np.clip(rng.normal(128, 40, (182, 256)), 0, 255)
            picture[20:60, 20 : 20 + 4 * (i % PICTURES)] = 230
            shared.write_bytes(imagecodecs.jpeg_encode(picture.astype(np.uint8), 80))
        for kind in ("thumb", "preview"):
            os.link(shared, folder / (f"{name}_thumb.jpg" if kind == "thumb" else f"{name}.jpg"))
