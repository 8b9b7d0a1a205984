from datetime import datetime

import pytest

from nextpyp_nb.simulate import Column, Microscope

SMALL = {"height": 224, "width": 256, "frames": 4}


@pytest.fixture
def column():
    return Column(**SMALL)


@pytest.fixture
def microscope(tmp_path):
    def make(folder="session", **settings):
        settings = {"start": datetime(2026, 5, 4, 3, 2, 1), **SMALL, **settings}
        made = Microscope(tmp_path / folder, **settings)
        made.prepare()
        return made

    return make
