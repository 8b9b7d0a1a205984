import mrcfile
import numpy as np
import pytest

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.frames import read_frames, read_image
from nextpyp_nb.formats.mrc import read_mrc, write_mrc

TYPES = ["int8", "int16", "uint16", "float16", "float32"]


def write_peer(path, values, byteorder="<", extended=0):
    with mrcfile.new(path) as mrc:
        mrc.set_data(values)
        mrc.set_image_stack()
        mrc.voxel_size = 1.25
        if extended:
            mrc.set_extended_header(np.zeros(extended, "V1"))
    if byteorder == ">":
        head = np.frombuffer(path.read_bytes()[:1024], mrcfile.dtypes.HEADER_DTYPE)
        head = head.astype(head.dtype.newbyteorder(">"))
        head["machst"] = (0x11, 0x11, 0, 0)
        body = path.read_bytes()[1024 : 1024 + extended]
        path.write_bytes(head.tobytes() + body + values.astype(values.dtype.newbyteorder(">")).tobytes())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("extended", [0, 400])
def test_reads_what_mrcfile_writes(tmp_path, rng, dtype, byteorder, extended):
    values = rng.integers(0 if dtype == "uint16" else -120, 121, (4, 13, 21)).astype(dtype)
    path = tmp_path / "a.mrc"
    write_peer(path, values, byteorder, extended)
    array, pixel_size = read_mrc(path)
    np.testing.assert_array_equal(array, values)
    assert pixel_size == pytest.approx(1.25)
    frames = read_frames(path, first=1, last=2)
    np.testing.assert_array_equal(frames, values[1:3])
    assert frames.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read_frames(path, threads=3), values)
    assert whole(path) is None


@pytest.mark.parametrize("dtype", TYPES)
def test_mrcfile_reads_what_we_write(tmp_path, rng, dtype):
    values = rng.integers(0, 90, (3, 8, 9)).astype(dtype)
    path = tmp_path / "a.mrcs"
    write_mrc(path, values, pixel_size=1.3)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, values)
        assert mrc.data.dtype == np.dtype(dtype)
        assert mrc.is_image_stack()
        assert float(mrc.voxel_size.x) == pytest.approx(1.3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrcs"]


def test_volumes_single_images_and_stacks_of_one(tmp_path, rng):
    values = rng.normal(size=(6, 6, 6))
    write_mrc(tmp_path / "v.mrc", values, pixel_size=2, stack=False)
    with mrcfile.open(tmp_path / "v.mrc") as mrc:
        assert mrc.is_volume()
        assert float(mrc.voxel_size.z) == pytest.approx(2)
    write_mrc(tmp_path / "one.mrc", values[:1], pixel_size=2)
    assert read_mrc(tmp_path / "one.mrc")[0].shape == (6, 6)
    assert read_mrc(tmp_path / "one.mrc", stack=True)[0].shape == (1, 6, 6)
    assert read_image(tmp_path / "one.mrc").dtype == np.float32


def test_float16_and_small_counts(tmp_path):
    write_mrc(tmp_path / "a.mrc", np.array([[1.5, 2.25]]), pixel_size=1, float16=True)
    assert read_mrc(tmp_path / "a.mrc")[0].dtype == np.float16
    with pytest.raises(ValueError, match="do not fit into float16"):
        write_mrc(tmp_path / "a.mrc", np.array([[1e6, 2.25]]), pixel_size=1, float16=True)
    assert read_mrc(tmp_path / "a.mrc")[0].tolist() == [[1.5, 2.25]]
    write_mrc(tmp_path / "b.mrc", np.full((2, 2), 200, np.uint8), pixel_size=1)
    assert read_mrc(tmp_path / "b.mrc")[0].dtype == np.uint16
    with pytest.raises(ValueError, match="cannot hold complex64"):
        write_mrc(tmp_path / "c.mrc", np.zeros((2, 2), np.complex64), pixel_size=1)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mrc"
    write_mrc(path, np.ones((2, 2), np.float32), pixel_size=1)
    with pytest.raises(ValueError, match="shape"):
        write_mrc(path, np.ones(4, np.float32), pixel_size=1)
    assert read_mrc(path)[0].tolist() == [[1, 1], [1, 1]]
    assert len(list(tmp_path.iterdir())) == 1


def header(nx, ny, nz, mode):
    with_mrc = np.zeros((), mrcfile.dtypes.HEADER_DTYPE)
    with_mrc["nx"], with_mrc["ny"], with_mrc["nz"], with_mrc["mode"] = nx, ny, nz, mode
    with_mrc["map"], with_mrc["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
    return bytearray(with_mrc.tobytes())


@pytest.mark.parametrize("nx", [6, 7])
def test_four_bit_pixels(tmp_path, nx):
    rows = [[1, 15, 2, 14, 3, 13, 4][:nx], [5, 6, 7, 8, 9, 10, 11][:nx]]
    packed = bytearray()
    for row in rows:
        padded = [*row, 0] if nx % 2 else row
        packed += bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))
    path = tmp_path / "a.mrc"
    path.write_bytes(bytes(header(nx, 2, 1, 101)) + packed)
    assert read_image(path).tolist() == rows
    assert read_mrc(path)[0].tolist() == rows


def test_unsigned_bytes_carry_imods_stamp(tmp_path):
    head = header(2, 2, 1, 0)
    path = tmp_path / "a.mrc"
    path.write_bytes(bytes(head) + bytes([0, 1, 128, 255]))
    assert read_image(path).tolist() == [[0, 1], [-128, -1]]
    head[152:156] = (1146047817).to_bytes(4, "little")
    path.write_bytes(bytes(head) + bytes([0, 1, 128, 255]))
    assert read_image(path).tolist() == [[0, 1], [128, 255]]
    head[156] = 1
    path.write_bytes(bytes(head) + bytes([0, 1, 128, 255]))
    assert read_image(path).tolist() == [[0, 1], [-128, -1]]


@pytest.mark.parametrize(
    ("counts", "unsigned"),
    [
        (lambda rng: rng.poisson(130, (3, 40, 50)), True),
        (lambda rng: np.where(rng.random((3, 40, 50)) < 2e-3, 200, rng.poisson(2, (3, 40, 50))), True),
        (lambda rng: rng.normal(0, 20, (3, 40, 50)).round().clip(-128, 127), False),
        (lambda rng: rng.normal(-60, 20, (3, 40, 50)).round().clip(-128, 127), False),
        (lambda rng: rng.poisson(2, (3, 40, 50)), False),
    ],
)
def test_bytes_without_a_stamp_are_unsigned_where_counts_would_be_negative(tmp_path, rng, counts, unsigned):
    values = counts(rng)
    path = tmp_path / "a.mrc"
    path.write_bytes(bytes(header(50, 40, 3, 0)) + (values.astype(int) % 256).astype(np.uint8).tobytes())
    frames = read_frames(path)
    np.testing.assert_array_equal(frames, values)
    assert frames.dtype == (np.uint8 if unsigned else np.int8)


@pytest.mark.parametrize(
    ("nx", "ny", "nz", "mode", "what"),
    [
        (0, 5, 1, 2, "sides"),
        (40000, 5, 1, 2, "sides"),
        (5, 5, 20001, 2, "20001 frames"),
        (5, 5, 1, 4, "mode 4"),
        (2000, 2000, 40, 1, "0 of 40 frames readable"),
    ],
)
def test_refuses_impossible_headers(tmp_path, nx, ny, nz, mode, what):
    path = tmp_path / "a.mrc"
    path.write_bytes(bytes(header(nx, ny, nz, mode)) + bytes(64))
    with pytest.raises(BadFile, match=what):
        check_movie(path)


def test_other_files_are_named_for_what_they_are(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    with pytest.raises(BadFile, match=r"not a movie: a\.mrc begins with .*PNG.* expected TIFF, MRC or EER"):
        check_movie(path)
    path.write_bytes(b"")
    with pytest.raises(BadFile, match="empty"):
        check_movie(path)
