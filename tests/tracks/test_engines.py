"""The same movies on every engine: this process, slots, workers of a Dask scheduler, jobs of SLURM (F12)."""

import asyncio
import hashlib

import numba
import pytest

from nextpyp_nb.engine.inline import Inline
from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.session import create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.engines import Workers
from nextpyp_nb.tracks.runner import Runner, run_session
from tests import slurm
from tests.cluster import Cluster

# What depends on the clock, and what is packed with it.
TIMED = ("seconds_", "started", "finished", "found", "transferred", "latency")
FILES = ("micrographs/*", "previews/*", "motion/*", "ctf/*", "picks/*")


class InThisProcess(Runner):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.movies.close()
        self.movies = Inline()
        self.preprocess.use(Workers(self.movies, gpus=0, threads=1))


def results(root, settings, movie, kind=Runner, **resources):
    """Rows and file hashes of one movie in a session of its own."""
    named = {f"resources.{name}": value for name, value in resources.items()}
    fixed = {
        "raw_data.location": movie,
        "class2d.enable": False,
        "resources.workers": 1,
        "resources.threads": 1,
    }
    session = create_session("s", settings=settings.updated(fixed | named), root=root)
    assert asyncio.run(run_session(session.folder, until_idle=True, signals=False, kind=kind)) == 0
    rows = session.micrographs.set_index("name")
    rows = rows[[name for name in rows.columns if not name.startswith(TIMED)]]
    found = {f"{index} {name}": repr(row[name]) for index, row in rows.iterrows() for name in rows.columns}
    for path in (path for pattern in FILES for path in session.folder.glob(pattern)):
        found[str(path.relative_to(session.folder))] = hashlib.blake2b(path.read_bytes()).hexdigest()
    session.close()
    return found


@pytest.fixture(scope="module")
def movie(microscope):
    return str(min(microscope.gain_path.parent.rglob("*.tiff")))


@pytest.fixture(scope="module")
def expected(tmp_path_factory, settings, movie):
    """What slots of this machine make of the movie."""
    return results(tmp_path_factory.mktemp("slots"), settings, movie)


def test_inline_equals_slots(tmp_path, settings, movie, expected):
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert results(tmp_path, settings, movie, InThisProcess) == expected
    finally:
        numba.set_num_threads(threads)
    assert len(expected) > 30


def test_a_dask_scheduler_equals_slots(tmp_path, settings, movie, expected):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    cluster = Cluster(tmp_path)
    try:
        cluster.start_worker("a")
        assert results(tmp_path, settings, movie, engine="dask", address=cluster.address) == expected
    finally:
        cluster.close()


@pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())
def test_slurm_equals_slots(tmp_path, settings, movie, expected, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="the extra dask is not installed")
    (tmp_path / "slurm").mkdir()
    started = slurm.Slurm(tmp_path / "slurm")
    try:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        assert results(tmp_path, settings, movie, engine="slurm", memory=2.0, partition="other") == expected
        assert started.jobs() == []
    finally:
        started.close()


def test_other_workers_are_taken_up_by_a_restart(tmp_path, settings, movie):
    session = create_session("s", settings=settings.updated({"resources.workers": 1}), root=tmp_path)

    async def run(runner):
        first = runner.movies
        assert first.slots() == 1
        runner.apply_settings()
        await runner.take_up_resources()
        assert runner.movies is first
        more = session.settings.updated({"resources.workers": 2, "raw_data.location": movie})
        runner.store.save_revision(more, "me")
        runner.apply_settings()
        await runner.take_up_resources()
        assert runner.movies is runner.preprocess.engine
        assert (runner.movies.slots(), runner.movies is first) == (2, False)
        with pytest.raises(RuntimeError, match="closed"):
            await first.submit(None)
        await asyncio.to_thread(runner.movies.close)
        await asyncio.to_thread(runner.rounds.close)

    with Store(session.folder / "session.db") as store, acquire(store) as lease:
        runner = Runner(session.folder, store, lease, until_idle=True)
        assert isinstance(runner.movies, Slots)
        asyncio.run(run(runner))
        runner.logs.close()
    session.close()
