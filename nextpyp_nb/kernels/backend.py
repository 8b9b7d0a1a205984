"""The only file that knows NumPy from CuPy: arrays follow the device they are on."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import scipy.fft
import scipy.ndimage

try:
    import cupy
    import cupyx.scipy.fft
    import cupyx.scipy.ndimage
except ImportError:
    cupy = None

PINNED_BYTES = 1 << 25
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_gpu(array: Any) -> bool:
    """Whether ``array`` lives on a CUDA device."""
    return cupy is not None and isinstance(array, cupy.ndarray)


def array_module(*arrays: Any) -> Any:
    """CuPy if any of ``arrays`` is on a GPU, else NumPy."""
    return cupy if any(on_gpu(a) for a in arrays) else np


def fft_module(array: Any) -> Any:
    """SciPy's fft for host arrays, cupyx's for device arrays."""
    return cupyx.scipy.fft if on_gpu(array) else scipy.fft


def irfft_of_columns(spectrum: Any, length: int) -> tuple[Any, float]:
    """Real signals (length, ...) of half spectra (length // 2 + 1, ...) and the unit they are in.

    cuFFT takes columns as they lie, where CuPy's irfft would lay them out as rows and back.
    """
    if not on_gpu(spectrum):
        return scipy.fft.irfft(spectrum, n=length, axis=0), 1.0
    columns = spectrum[0].size
    signal = cupy.empty((length, *spectrum.shape[1:]), np.float32)
    _column_plan(length, columns).fft(spectrum, signal, cupy.cuda.cufft.CUFFT_INVERSE)
    return signal, 1.0 / length


@lru_cache(maxsize=8)
def _column_plan(length: int, columns: int) -> Any:
    """A plan of ``columns`` complex-to-real transforms along the first of two axes."""
    cufft = cupy.cuda.cufft
    layout = ((length // 2 + 1,), columns, 1, (length,), columns, 1)
    return cufft.PlanNd((length,), *layout, cufft.CUFFT_C2R, columns, "C", 0, length)


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
        if on_gpu(array) or array.nbytes < 2 * PINNED_BYTES:
            return cupy.asarray(array)
        return _uploaded(np.ascontiguousarray(array))


def empty_for(device: int | None) -> Callable[..., np.ndarray[Any, Any]]:
    """What makes host arrays (shape, dtype) that go to ``device`` at full speed: pinned for a GPU."""
    if device is None or cupy is None:
        return np.empty
    empty: Callable[..., np.ndarray[Any, Any]] = cupyx.empty_pinned
    return empty


def _uploaded(array: np.ndarray[Any, Any]) -> Any:
    """``array`` on the current device, staged by halves in pinned memory unless it lies there.

    Copies have a stream of their own, so that what another thread computes goes on.
    """
    there = cupy.empty(array.shape, array.dtype)
    runtime, copying = cupy.cuda.runtime, cupy.cuda.Stream(non_blocking=True)
    # The memory may still be in use by work queued before.
    copying.wait_event(cupy.cuda.get_current_stream().record())
    if runtime.pointerGetAttributes(array.ctypes.data).type == runtime.memoryTypeHost:
        there.set(array, copying)
    else:
        _send_by_halves(array.reshape(-1), there.reshape(-1), copying)
    copying.synchronize()
    return there


def _send_by_halves(flat: np.ndarray[Any, Any], place: Any, copying: Any) -> None:
    """Fill one half of a pinned buffer while the other is on its way."""
    step = PINNED_BYTES // flat.dtype.itemsize
    halves = [cupyx.empty_pinned(step, flat.dtype) for _ in range(2)]
    sent: list[Any] = [None, None]
    for number, start in enumerate(range(0, flat.size, step)):
        side, part = number % 2, flat[start : start + step]
        if sent[side] is not None:
            sent[side].synchronize()
        halves[side][: part.size] = part
        place[start : start + part.size].set(halves[side][: part.size], copying)
        sent[side] = copying.record()
    copying.synchronize()


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], like: Any) -> list[_Result]:
    """``work`` on each of ``items``: by as many threads as SciPy's FFTs may have, or on a device in turn.

    ``like`` is an array on the device of the work; it should spend its time outside of Python.
    """
    threads = 1 if on_gpu(like) else scipy.fft.get_workers()
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def gpu_count() -> int:
    """Number of usable CUDA devices, 0 without CuPy or driver."""
    if cupy is None:
        return 0
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
