"""CUDA sources compiled for the host, so that their arithmetic is tested without a GPU."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

SHIM = Path(__file__).with_name("cuda_on_host.hpp")


def _address(argument):
    """What a kernel gets for an argument: where the array lies, or the number itself."""
    if isinstance(argument, np.generic):
        return np.array(argument)
    array = np.asarray(getattr(argument, "_host", argument))
    assert array.flags.c_contiguous, "kernels take contiguous arrays"
    return np.array(array.ctypes.data, np.uint64)


class HostModule:
    """What ``cupy.RawModule`` is, compiled by g++: arrays may be NumPy's or have one in ``_host``."""

    def __init__(self, folder, code):
        names = re.findall(r"__global__ void (\w+)\(", code)
        source = folder / f"{abs(hash(code))}.cpp"
        source.write_text(
            f'#include "{SHIM}"\n#line 1 "kernel.cu"\n{code}\n' + "\n".join(f"ENTRY({n})" for n in names)
        )
        library = source.with_suffix(".so")
        if not library.exists():
            flags = ["-std=c++17", "-O2", "-shared", "-fPIC", "-w"]
            subprocess.run(["g++", *flags, "-o", library, source], check=True, timeout=120)
        self._library = ctypes.CDLL(str(library))

    def get_function(self, name):
        entry = getattr(self._library, f"host_{name}")

        def launch(grid, block, arguments, **_):
            held = [_address(a) for a in arguments]
            pointers = (ctypes.c_void_p * len(held))(*(h.ctypes.data for h in held))
            sizes = [
                (ctypes.c_int * 3)(*(tuple(int(n) for n in size) + (1, 1))[:3]) for size in (grid, block)
            ]
            entry(*sizes, pointers)

        return launch


@pytest.fixture(scope="session")
def host_module(tmp_path_factory):
    """Makes a ``HostModule`` from CUDA source."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here to compile the CUDA sources for the host")
    folder = tmp_path_factory.mktemp("cuda")
    return lambda code, **_: HostModule(folder, code)
