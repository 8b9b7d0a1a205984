from types import ModuleType

import numpy as np
import pytest

from nextpyp_nb.formats.eer import _add_events
from nextpyp_nb.kernels import events

SHAPE = (50, 70)


@pytest.fixture
def on_host(host_module, monkeypatch):
    """Runs ``count_events`` on NumPy arrays with its kernel compiled for the host."""
    module = ModuleType("cupy")
    module.RawModule, module.asarray, module.zeros = host_module, np.asarray, np.zeros
    monkeypatch.setattr(events, "array_module", lambda *arrays: module)


def stream(rng, run_bits, sub_bits, density, shape=SHAPE):
    """Random events of one whole raw frame as bytes, bit by bit as the format is defined."""
    full, bits, at, size = (1 << run_bits) - 1, [], 0, shape[0] * shape[1]
    for pixel in [*np.flatnonzero(rng.random(size) < density), size]:
        run, at = int(pixel) - at, int(pixel) + 1
        for part in [full] * (run // full) + [run % full]:
            bits.extend(part >> n & 1 for n in range(run_bits))
        if pixel < size:
            bits.extend(rng.integers(0, 2, sub_bits))
    return np.packbits(np.array(bits, np.uint8), bitorder="little")


def expected(streams, coding, shape, bounds):
    """What the reader of the CPU counts, and how many raw frames it refuses."""
    run_bits, sub_bits, x_bits = coding
    factor = 2 if x_bits else 1
    frames = np.zeros((len(bounds) - 1, factor * shape[0], factor * shape[1]), np.int64)
    corrupt = 0
    for n, frame in enumerate(frames):
        for coded in streams[bounds[n] - bounds[0] : bounds[n + 1] - bounds[0]]:
            padded = np.concatenate([coded, np.zeros(16, np.uint8)])
            counted = np.zeros(frame.shape, np.int64)
            end = _add_events(padded, 8 * len(coded), run_bits, sub_bits, x_bits, counted, 1)
            corrupt += end != shape[0] * shape[1]
            frame += counted if end == shape[0] * shape[1] else 0
    return frames, corrupt


def packed(streams):
    lengths = np.array([len(s) for s in streams])
    starts = np.concatenate([[0], np.cumsum(-(-lengths // 8) + 2)])
    words = np.zeros(starts[-1], np.uint64)
    for coded, at in zip(streams, starts[:-1], strict=True):
        words.view(np.uint8)[8 * at : 8 * at + len(coded)] = coded
    return words, starts[:-1], 8 * lengths


@pytest.mark.parametrize(
    "coding", [(8, 4, 0), (7, 4, 0), (7, 2, 0), (8, 4, 2), (7, 4, 2), (7, 2, 1), (6, 4, 1)]
)
def test_events_are_counted_as_the_reader_counts_them(on_host, coding):
    rng = np.random.default_rng(31)
    streams = [stream(rng, *coding[:2], density) for density in rng.choice([0.001, 0.02, 0.3], 23)]
    for n in (4, 11, 12):
        streams[n] = streams[n][: len(streams[n]) // 2]
    streams[7] = rng.integers(0, 256, 900).astype(np.uint8)
    bounds = (3, 10, 11, 26)
    words, starts, bits = packed(streams)
    found, dropped = events.count_events(
        words, starts=starts, bits=bits, coding=coding, shape=SHAPE, bounds=bounds
    )
    frames, corrupt = expected(streams, coding, SHAPE, bounds)
    assert dropped == corrupt >= 3
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, frames)


def test_many_raw_frames_take_wide_counts(on_host):
    rng = np.random.default_rng(32)
    shape = (5, 7)
    streams = [stream(rng, 7, 4, 0.98, shape) for _ in range(700)]
    words, starts, bits = packed(streams)
    found, dropped = events.count_events(
        words, starts=starts, bits=bits, coding=(7, 4, 0), shape=shape, bounds=(0, 400, 700)
    )
    assert dropped == 0
    assert found.dtype == np.uint16
    assert found.max() > 300
    np.testing.assert_array_equal(found, expected(streams, (7, 4, 0), shape, (0, 400, 700))[0])
