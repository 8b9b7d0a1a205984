"""A network that parts: two workers in network namespaces, one of them cut off without a word."""

import pytest

from nextpyp_nb.bench.faults import NotRun
from nextpyp_nb.bench.faults.machines import partition


def test_a_partition_loses_and_doubles_nothing(tmp_path):
    """A worker that is cut off ends what it has within its lease; the other does it; it comes back after."""
    try:
        figures = partition(tmp_path, tasks=41, lease=5.0, beat=0.5)
    except NotRun as reason:
        pytest.skip(str(reason))
    assert figures["problems"] == []
    assert (tmp_path / "tally" / "0.done").stat().st_mode & 0o777 == 0o640
