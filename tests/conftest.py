"""The tests of one file run one after the other, those in a browser all do: two at once share the cores."""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "browser" if "/browser/" in file else file

    # Marks of groups do nothing: xdist 3.8 writes them where pytest 9.2 does not read them.
    return Files(config, log)
