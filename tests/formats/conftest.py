from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def frames(rng):
    """A small counting movie, (f, y, x), without symmetry."""
    return rng.poisson(1.5, (5, 48, 61)).astype(np.uint8)


@pytest.fixture(scope="session")
def shared():
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared test data are not here")
    return folder
