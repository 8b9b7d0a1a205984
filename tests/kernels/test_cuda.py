import shutil
import subprocess
from importlib.resources import files
from types import ModuleType

import numpy as np
import pytest

from nextpyp_nb.kernels import class2d_search, correlation, frame_sum, gain, moving
from nextpyp_nb.kernels._gpu_motion import GRID, good_pixels, sum_moved
from nextpyp_nb.kernels.backend import to_numpy
from nextpyp_nb.kernels.counts import Counts, total_counts
from nextpyp_nb.records import local_shifts

SOURCES = ("class2d", "correlation", "defects", "events", "motion")


@pytest.fixture
def xp(host_module):
    """NumPy with a RawModule that runs on the host, in place of CuPy."""
    module = ModuleType("cupy")
    module.RawModule, module.asarray, module.empty = host_module, np.asarray, np.empty
    module.zeros, module.not_equal, module.cumsum = np.zeros, np.not_equal, np.cumsum
    return module


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_sources_compile_with_nvcc(source, architecture, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc here to compile the CUDA sources")
    path = files("nextpyp_nb.kernels.cuda") / f"{source}.cu"
    command = [nvcc, "-std=c++17", "--use_fast_math", "-Werror", "all-warnings", f"-arch={architecture}"]
    done = subprocess.run(
        [*command, "-cubin", "-o", tmp_path / "k.cubin", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def pulled(image, field, table, axis):
    """The image sampled along one axis at shifts given at every GRID-th px, taps interpolated in between."""
    steps = len(table) // 2
    y, x = np.arange(image.shape[0])[:, None], np.arange(image.shape[1])
    part = (y % GRID) / GRID
    nodes = (1 - part) * field[y[:, 0] // GRID] + part * field[y[:, 0] // GRID + 1]
    start = np.floor(np.minimum(nodes[:, :-1], nodes[:, 1:])).astype(int)
    offsets = [((e - start) * steps + 0.5).astype(int) for e in (nodes[:, :-1], nodes[:, 1:])]
    begin, end = (table[np.minimum(offset, 2 * steps)] for offset in offsets)
    along, step = (x % GRID) / GRID, x // GRID
    n, total = image.shape[axis], 0
    for k in range(table.shape[1]):
        place = ((y if axis == 0 else x) + start[:, step] + k - 2) % (2 * n)
        place = np.where(place < n, place, 2 * n - 1 - place)
        tap = begin[:, step, k] * (1 - along) + end[:, step, k] * along
        total = total + tap * np.take_along_axis(image, place, axis=axis)
    return total


@pytest.mark.parametrize(("scale", "n_sums"), [(0.3, 1), (1.0, 3), (30.0, 8)])
def test_fields_and_the_sums_over_them_are_those_of_array_code(xp, scale, n_sums):
    rng = np.random.default_rng(22)
    shape, n = (101, 150), 6
    frames = rng.poisson(2.0, (n, *shape)).astype(np.float32)
    weights = rng.normal(size=(n_sums, n)).astype(np.float32)
    shifts = scale * rng.normal(size=(n, 2))
    local = rng.normal(size=(2, 6, 3)) / np.array([1, n, n * n])
    table = frame_sum._tap_table()
    factor = np.ones(shape, np.float32)
    found = sum_moved(frames, factor, good_pixels(factor, xp=xp), weights, shifts, local, table, xp=xp)
    expected = np.zeros_like(found)
    nodes = [np.arange(0, length + GRID, GRID) for length in shape]
    written = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    for f in range(n):

        def at(places, f=f):
            return shifts[f] + local_shifts(local, (places + 0.5) / shape - 0.5, f)

        back = at(written - [0, shifts[f, 1]])[..., 1]
        down = at(np.stack([written[..., 0], written[..., 1] - back], axis=-1))[..., 0]
        lines = pulled(frames[f], down.astype(np.float32), table, axis=0)
        across = at(written)[..., 1].astype(np.float32)
        expected += weights[:, f, None, None] * pulled(lines, across, table, axis=1)
    # A tap is looked up in small steps, and rounding may take the next one.
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999999


@pytest.mark.parametrize(("rotations", "classes"), [(9, 5), (40, 70)])
def test_the_best_poses_are_those_of_array_code(xp, monkeypatch, rotations, classes):
    rng = np.random.default_rng(23)
    scores = (4 * rng.normal(size=(rotations, 3, 6, classes))).astype(np.float32)
    prior = rng.normal(size=(6, 1)).astype(np.float32)
    monkeypatch.setattr(class2d_search, "array_module", lambda *_: xp)
    found = class2d_search._best_poses_on_gpu(scores, prior, 0.5)
    monkeypatch.undo()
    expected = class2d_search._best_poses(scores.copy(), prior, 0.5)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], atol=1e-2)


def test_moments_of_splines_are_those_of_the_host(device):
    rng = np.random.default_rng(24)
    fits, patches, frames = 3, 5, 70
    maps = rng.normal(size=(patches, frames, 13, 13)).astype(np.float32)
    at, shapes = rng.normal(size=(patches, frames, 2)), rng.normal(size=(patches, 5))
    times, used = rng.normal(size=(fits, frames, 3)), rng.random((fits, frames)) < 0.7
    amounts = rng.normal(size=(fits, 5, 3, 2))
    expected = correlation.spline_moments(maps, at, shapes, times, used, amounts)
    there = correlation.spline_moments(*map(device.put, (maps, at, shapes, times, used)), amounts)
    np.testing.assert_allclose(to_numpy(there), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float16", "float32"])
def test_frames_of_any_type_are_corrected_as_on_the_host(device, dtype):
    rng = np.random.default_rng(25)
    n, shape = 10, (150, 203)
    frames = rng.poisson(3.0, (n, *shape)).astype(dtype)
    factor = rng.normal(1, 0.1, shape).astype(np.float32)
    bad = rng.random(shape) < 0.02
    # Farther from a good pixel than the search nearby goes.
    bad[:, :140] = True
    host = Counts(raw=frames, gain=factor, bad=bad)
    there = Counts(raw=device.put(frames), gain=device.put(factor), bad=device.put(bad))
    np.testing.assert_allclose(to_numpy(total_counts(there.raw)), total_counts(frames))
    for size in (1, 3):
        np.testing.assert_allclose(to_numpy(moving.binned(there, size)), moving.binned(host, size), rtol=1e-5)
    weights = rng.normal(size=(2, n)).astype(np.float32)
    sums = [frame_sum._weighted_sums(c, 9 * weights.T, weights, None) for c in (there, host)]
    np.testing.assert_allclose(to_numpy(sums[0]), sums[1], atol=2e-3)


@pytest.mark.parametrize("shape", [(90, 121), (12, 40)])
@pytest.mark.parametrize("step", [1, 3])
def test_outliers_are_those_of_the_host(device, shape, step):
    rng = np.random.default_rng(26)
    root = 2 * np.sqrt(rng.poisson(30.0, shape) + 0.375).astype(np.float32)
    root[rng.random(shape) < 0.05] += 9
    found = gain._outliers(device.put(root), step=step, contrast=1.2)
    expected = gain._outliers(root, step=step, contrast=1.2)
    assert expected.any()
    np.testing.assert_array_equal(to_numpy(found), expected)


def test_what_stands_still_is_taken_off_as_on_the_host(device):
    rng = np.random.default_rng(27)
    frames = rng.poisson(4.0, (5, 101, 128)).astype(np.float32) + np.linspace(0, 9, 128, dtype=np.float32)
    frames[:, 30:60, 40:90] += 20
    found = moving.moving_part(device.put(frames))
    np.testing.assert_allclose(to_numpy(found), moving.moving_part(frames.copy()), atol=1e-4)
