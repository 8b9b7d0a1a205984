"""Clusters for the tests that need the extra `dask`."""

import pytest

from nextpyp_nb.bench.faults.cluster import Cluster


@pytest.fixture
def cluster(tmp_path):
    """A cluster of this test's own."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    """Two workers that no test disturbs."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.start_worker("a")
    made.start_worker("b")
    yield made
    made.close()


@pytest.fixture
def make_dask(shared_cluster, tmp_path):
    """Engines on that cluster, one runner after the other."""
    from nextpyp_nb.engine.dask import Dask, Existing

    epochs = iter(range(1, 100))
    return lambda **more: Dask(
        Existing(shared_cluster.address), session=tmp_path.name, epoch=next(epochs),
        share=tmp_path / "cluster", **more,
    )  # fmt: skip
