"""The same movies on every engine (F12), and other workers while a session runs."""

import asyncio

import pytest

from nextpyp_nb.bench.faults import NotRun
from nextpyp_nb.bench.faults.machines import engines
from nextpyp_nb.engine.slots import Slots
from nextpyp_nb.session import create_session
from nextpyp_nb.session.lease import acquire
from nextpyp_nb.session.store import Store
from nextpyp_nb.tracks.runner import Runner


def test_this_process_slots_dask_and_slurm_make_the_same_of_a_movie(tmp_path):
    try:
        figures = engines(tmp_path, movies=1)
    except NotRun as reason:
        pytest.skip(str(reason))
    assert figures["problems"] == []
    assert figures["rows and files"] > 30


def test_other_workers_are_taken_up_by_a_restart(tmp_path, settings, microscope):
    movie = str(min(microscope.gain_path.parent.rglob("*.tiff")))
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
