"""A session on disk, and a store that holds its lease."""

import pytest

from nextpyp_nb.session import create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.settings import Settings

SETTINGS = {
    "raw_data.location": "/camera/*.tiff",
    "microscope.pixel_size": 1.06,
    "microscope.voltage": 300,
    "picking.radius": 75,
}


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    path = tmp_path / "site.toml"
    path.write_text("")
    monkeypatch.setenv("NEXTPYP_NB_SITE", str(path))
    return path


@pytest.fixture
def settings():
    return Settings.from_flat(SETTINGS)


@pytest.fixture
def session(tmp_path, settings):
    made = create_session("apof", settings=settings, root=tmp_path / "sessions")
    yield made
    made.close()


@pytest.fixture
def store(session):
    with Store(session.folder / "session.db") as store:
        lease = acquire(store)
        yield store
        lease.release()


@pytest.fixture
def arrive(store):
    """Movies that are transferred already; returns their ids."""

    def arrive(count, first=0, hash="content"):
        ids = store.add_movies(
            [
                {"name": f"m{i:03d}", "source": f"/camera/m{i:03d}.tiff", "size": 10}
                for i in range(first, first + count)
            ]
        )
        for movie in ids:
            store.movie_done(
                movie, path=f"raw/{movie}.tiff", size=10, hash=f"{hash}-{movie}", operation="copy"
            )
        return ids

    return arrive


RECORD = {
    "n_frames": 40, "pixel_size": 1.06, "defocus_u": 12000.0, "defocus_v": 11500.0, "fit_resolution": 4.2,
    "ctf_score": 0.9, "particles": 100, "total_motion": 12.5, "my_metric": 3.5,
}  # fmt: skip


@pytest.fixture
def process(store, settings):
    """Claim and commit everything that is ready; returns the tasks in the order of claiming."""

    def process(settings=settings, revision=1, **changes):
        done = []
        while tasks := store.claim_tasks(1, "w", revision, settings):
            store.commit_micrograph(tasks[0], RECORD | changes)
            done += tasks
        return done

    return process
