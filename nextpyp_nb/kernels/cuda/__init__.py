"""CUDA kernels for CuPy arrays; each has a twin on the CPU that proves its arithmetic."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

OPTIONS = ("--std=c++17", "--use_fast_math")


def cuda_kernel(xp: Any, source: str, name: str) -> Any:
    """The kernel ``name`` of ``source``.cu, compiled by NVRTC when first asked for; ``xp`` is CuPy.

    Numbers are passed as NumPy scalars of the type that the kernel takes.
    """
    return _module(xp, source).get_function(name)


@lru_cache(maxsize=8)
def _module(xp: Any, source: str) -> Any:
    code = (files(__package__) / f"{source}.cu").read_text(encoding="utf-8")
    return xp.RawModule(code=code, options=OPTIONS)
