import struct

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.check import BadFile
from nextpyp_nb.formats.defects import read_defects
from nextpyp_nb.formats.dm4 import read_dm4
from nextpyp_nb.formats.gain import read_gain
from nextpyp_nb.formats.mrc import write_mrc


@pytest.fixture
def gain(rng):
    values = rng.normal(1, 0.05, (6, 10)).astype(np.float32)
    values[2, 3] = 0
    return values


def tag(kind, name, body):
    return struct.pack(">BH", kind, len(name)) + name + struct.pack(">Q", len(body)) + body


def group(name, *tags):
    return tag(20, name, b"\0\0" + struct.pack(">Q", len(tags)) + b"".join(tags))


def value(name, form, raw):
    return tag(21, name, b"%%%%" + struct.pack(f">Q{len(form)}Q", len(form), *form) + raw)


def image(pixels, code):
    sizes = [value(b"", [5], struct.pack("<I", side)) for side in pixels.shape[::-1]]
    data = value(b"Data", [20, code, pixels.size], pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    return group(b"", group(b"ImageData", data, group(b"Dimensions", *sizes)))


def write_dm4(path, *images):
    note = value(b"Note", [20, 4, 3], "abc".encode("utf-16-le"))
    point = value(b"Point", [15, 0, 2, 0, 6, 0, 6], struct.pack("<ff", 1, 2))
    root = b"\1\0" + struct.pack(">Q", 3) + note + point + group(b"ImageList", *images)
    path.write_bytes(struct.pack(">IQI", 4, len(root), 1) + root + bytes(8))


def test_reads_every_format_y_up(tmp_path, gain):
    write_mrc(tmp_path / "g.mrc", gain, pixel_size=1)
    tifffile.imwrite(tmp_path / "g.tif", gain[::-1])
    tifffile.imwrite(tmp_path / "g.gain", gain)
    write_dm4(tmp_path / "g.dm4", image(np.ones((2, 3), np.uint8), 8), image(gain[::-1], 6))
    for path in tmp_path.iterdir():
        read = read_gain(path, shape=gain.shape)
        np.testing.assert_array_equal(read, gain, err_msg=path.name)
        assert read.dtype == np.float32
        assert read.flags.writeable


def test_other_dm4_types_and_broken_ones(tmp_path, rng):
    path = tmp_path / "a.dm4"
    pixels = rng.integers(0, 60000, (4, 5)).astype(np.uint16)
    write_dm4(path, image(pixels, 4))
    np.testing.assert_array_equal(read_dm4(path), pixels)
    raw = path.read_bytes()
    for n in range(300):
        mutant = bytearray(raw)
        mutant[int(rng.integers(len(raw)))] ^= int(rng.integers(1, 256))
        path.write_bytes(mutant if n % 2 else raw[: rng.integers(len(raw) - 8)])
        try:
            assert read_dm4(path).size < 1000
        except BadFile:
            continue


def test_half_and_double_size(tmp_path, gain):
    write_mrc(tmp_path / "g.mrc", gain, pixel_size=1)
    double = read_gain(tmp_path / "g.mrc", shape=(12, 20))
    assert double[4:6, 6:8].tolist() == [[0, 0], [0, 0]]
    write_mrc(tmp_path / "d.mrc", double, pixel_size=1)
    np.testing.assert_allclose(read_gain(tmp_path / "d.mrc", shape=(6, 10)), gain, rtol=1e-6)


def test_on_its_side_passes_and_another_size_does_not(tmp_path, gain):
    write_mrc(tmp_path / "g.mrc", gain, pixel_size=1)
    assert read_gain(tmp_path / "g.mrc", shape=(10, 6)).shape == (6, 10)
    with pytest.raises(ValueError, match="gain is 6 x 10 px, the movie 7 x 10"):
        read_gain(tmp_path / "g.mrc", shape=(7, 10))


def test_no_number_means_dead_and_all_dead_is_refused(tmp_path, gain):
    gain[1, 1] = np.inf
    write_mrc(tmp_path / "g.mrc", gain, pixel_size=1)
    assert read_gain(tmp_path / "g.mrc")[1, 1] == 0
    write_mrc(tmp_path / "g.mrc", np.full_like(gain, np.nan), pixel_size=1)
    with pytest.raises(BadFile, match="zero everywhere"):
        read_gain(tmp_path / "g.mrc")


def test_defects_from_text_and_map(tmp_path):
    wanted = np.zeros((5, 8), bool)
    wanted[1:3, 4] = True
    wanted[4, 6:] = True
    (tmp_path / "d.txt").write_text("# a comment\n4 1 1 2\n\n6 4 9 9\n")
    np.testing.assert_array_equal(read_defects(tmp_path / "d.txt", (5, 8)), wanted)
    write_mrc(tmp_path / "d.mrc", wanted, pixel_size=1)
    np.testing.assert_array_equal(read_defects(tmp_path / "d.mrc", (5, 8)), wanted)
    with pytest.raises(ValueError, match="the defect map is 5 x 8 px, the movie 6 x 8"):
        read_defects(tmp_path / "d.mrc", (6, 8))


@pytest.mark.parametrize("line", ["BadColumns 4 5", "1 2 3", "1 2 -3 4", "1.5 2 3 4"])
def test_other_defect_lists_are_refused(tmp_path, line):
    (tmp_path / "d.txt").write_text(line)
    with pytest.raises(BadFile, match="expected"):
        read_defects(tmp_path / "d.txt", (5, 8))


def test_a_defect_outside_is_told(tmp_path):
    (tmp_path / "d.txt").write_text("8 0 1 1")
    with pytest.raises(ValueError, match=r"line 1 of d\.txt lies outside the movie of 5 x 8 px"):
        read_defects(tmp_path / "d.txt", (5, 8))


def test_shared_gain(shared):
    defects = read_defects(shared / "movies" / "defects.txt", (1024, 1440))
    gain = read_gain(shared / "movies" / "gain.mrc", shape=(1024, 1440))
    assert defects[:, 446].all()
    assert defects[gain == 0].mean() > 0.9
