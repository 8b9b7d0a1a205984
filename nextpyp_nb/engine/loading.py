"""How a process that works for long begins."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Load modules and work for the first time without looking for garbage.

    What was loaded stays and is never looked through: that took a tenth of the time of a dozen movies.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
