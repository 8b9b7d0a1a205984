"""A GPU for tests where there is none: CUDA sources compiled for the host, and arrays as strict as CuPy's."""

import contextlib
import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage

from nextpyp_nb.kernels import backend

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


def _wrapped(value):
    if isinstance(value, np.ndarray):
        return DeviceArray(value)
    if isinstance(value, np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_wrapped, value))
    return value


def _unwrapped(value, strict=True):
    """The NumPy array inside; a NumPy array among the arguments is refused, as by CuPy."""
    if isinstance(value, DeviceArray):
        return value._host
    if strict and isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(_unwrapped(v, strict) for v in value)
    if isinstance(value, dict):
        return {k: _unwrapped(v, strict) for k, v in value.items()}
    return value


def _on_device(function, strict=True):
    def call(*args, **named):
        return _wrapped(function(*_unwrapped(args, strict), **_unwrapped(named, strict)))

    return call


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array as strict as CuPy's: it mixes with its own kind and numbers, never with NumPy arrays."""

    __slots__ = ("_host",)

    def __init__(self, host):
        self._host = host

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **named):
        if out is not None:
            getattr(ufunc, method)(*_unwrapped(inputs), out=_unwrapped(out), **_unwrapped(named))
            return out[0]
        return _wrapped(getattr(ufunc, method)(*_unwrapped(inputs), **_unwrapped(named)))

    def __array_function__(self, function, _types, args, named):
        return _on_device(function)(*args, **named)

    def __getitem__(self, key):
        # CuPy takes NumPy arrays as indices, and copies them to the device.
        return _wrapped(self._host[_unwrapped(key, strict=False)])

    def __setitem__(self, key, value):
        self._host[_unwrapped(key, strict=False)] = _unwrapped(value)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return _on_device(value)
        return _wrapped(value) if isinstance(value, np.ndarray) else value

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (_wrapped(part) for part in self._host)

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __index__(self):
        return self._host.__index__()

    real = property(lambda self: DeviceArray(self._host.real))
    imag = property(lambda self: DeviceArray(self._host.imag))

    @real.setter
    def real(self, value):
        self._host.real = _unwrapped(value)

    @imag.setter
    def imag(self, value):
        self._host.imag = _unwrapped(value)


class DeviceModule:
    """A module of NumPy or SciPy that works on device arrays only."""

    def __init__(self, inner, name, made=(), refused=()):
        self._inner, self._name = inner, name
        self._made, self._refused = dict(made), refused

    def __getattr__(self, name):
        if name in self._made:
            return self._made[name]
        value = getattr(self._inner, name)
        if isinstance(value, type(np)):
            return DeviceModule(value, f"{self._name}.{name}", refused=self._refused)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*args, **named):
            assert not set(named) & set(self._refused), f"{self._name}.{name} takes no {sorted(named)}"
            loose = name in ("array", "asarray", "ascontiguousarray")
            return _on_device(value, strict=not loose)(*args, **named)

        return call


class ColumnPlan:
    """What a cuFFT plan does that goes from complex to real along the first axis."""

    def __init__(self, shape, *_):
        self._length = shape[0]

    def fft(self, spectrum, signal, _direction):
        signal._host[...] = self._length * scipy.fft.irfft(spectrum._host, n=self._length, axis=0)


def _device_modules(raw_module):
    cufft = SimpleNamespace(PlanNd=ColumnPlan, CUFFT_C2R=0, CUFFT_INVERSE=1)
    made = {
        "ndarray": DeviceArray,
        "RawModule": raw_module,
        "asnumpy": lambda a: _unwrapped(a, strict=False),
        "cuda": SimpleNamespace(Device=contextlib.nullcontext, cufft=cufft),
    }
    return (
        DeviceModule(np, "cupy", made),
        SimpleNamespace(
            scipy=SimpleNamespace(
                fft=DeviceModule(scipy.fft, "cupyx.scipy.fft", refused=("workers",)),
                ndimage=DeviceModule(scipy.ndimage, "cupyx.scipy.ndimage"),
            )
        ),
    )


@pytest.fixture
def device(request, monkeypatch):
    """CuPy on a GPU, or without one its stand-in, in place for all kernels."""
    if backend.gpu_count():
        return SimpleNamespace(put=backend.cupy.asarray, array=backend.cupy.ndarray)
    host_module = request.getfixturevalue("host_module")
    cupy, cupyx = _device_modules(host_module)
    monkeypatch.setattr(backend, "cupy", cupy)
    monkeypatch.setattr(backend, "cupyx", cupyx, raising=False)
    return SimpleNamespace(put=lambda array: DeviceArray(np.array(array)), array=DeviceArray)
