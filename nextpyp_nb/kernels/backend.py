"""The only file that knows NumPy from CuPy: arrays follow the device they are on."""

from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage

try:
    import cupy
    import cupyx.scipy.fft
    import cupyx.scipy.ndimage
except ImportError:
    cupy = None


def on_gpu(array: Any) -> bool:
    """Whether ``array`` lives on a CUDA device."""
    return cupy is not None and isinstance(array, cupy.ndarray)


def array_module(*arrays: Any) -> Any:
    """CuPy if any of ``arrays`` is on a GPU, else NumPy."""
    return cupy if any(on_gpu(a) for a in arrays) else np


def fft_module(array: Any) -> Any:
    """SciPy's fft for host arrays, cupyx's for device arrays."""
    return cupyx.scipy.fft if on_gpu(array) else scipy.fft


def ndimage_module(array: Any) -> Any:
    """SciPy's ndimage for host arrays, cupyx's for device arrays."""
    return cupyx.scipy.ndimage if on_gpu(array) else scipy.ndimage


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """``array`` on the host (no copy if it is there already)."""
    return cupy.asnumpy(array) if on_gpu(array) else np.asarray(array)


def to_device(array: Any, device: int | None) -> Any:
    """``array`` on CUDA device number ``device``, or on the host for None."""
    if device is None:
        return to_numpy(array)
    if cupy is None:
        raise RuntimeError(
            f"GPU {device} was asked for but CuPy is not installed: install nextpyp_nb[gpu] or set GPUs to 0"
        )
    with cupy.cuda.Device(device):
        return cupy.asarray(array)


def gpu_count() -> int:
    """Number of usable CUDA devices, 0 without CuPy or driver."""
    if cupy is None:
        return 0
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
