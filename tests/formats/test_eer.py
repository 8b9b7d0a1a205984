import struct

import numpy as np
import pytest

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.eer import read_eer
from nextpyp_nb.formats.frames import read_frames

BITS = {65000: (8, 4), 65001: (7, 4), 65002: (6, 2)}


def encode(frame, run_bits, sub_bits, rng):
    """One frame's events, bit by bit as the format is defined: the slow, plain way."""
    full, bits = (1 << run_bits) - 1, []

    def put(value, count):
        bits.extend(value >> n & 1 for n in range(count))

    at = 0
    for pixel in [*np.flatnonzero(frame), frame.size]:
        run = int(pixel) - at
        while run >= full:
            put(full, run_bits)
            run -= full
        put(run, run_bits)
        if pixel < frame.size:
            put(int(rng.integers(1 << sub_bits)), sub_bits)
        at = int(pixel) + 1
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def write_eer(path, payloads, shape, compression, big, preview=False, metadata=b""):
    """A TIFF or BigTIFF of given payloads, pages linked behind their data."""
    word, field = ("<Q", 20) if big else ("<I", 12)
    out = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    link = 8 if big else 4

    def entry(tag, kind, count, value):
        return struct.pack("<HH" + ("QQ" if big else "II"), tag, kind, count, value)

    pages = [(compression, payload) for payload in payloads]
    if preview:
        pages.insert(0, (1, bytes(shape[0] * shape[1])))
    for number, (coding, payload) in enumerate(pages):
        at = len(out)
        out += payload
        note = len(out)
        out += metadata if number == 0 else b""
        run_bits, sub_bits = BITS.get(coding, (7, 4))
        tags = [(256, 4, 1, shape[1]), (257, 4, 1, shape[0]), (258, 3, 1, 8), (259, 3, 1, coding)]
        tags += [(273, 4, 1, at), (279, 4, 1, len(payload))]
        if number == 0 and metadata:
            tags += [(65001, 7, len(metadata), note)]
        if coding == 65002:
            tags += [(65007, 3, 1, run_bits), (65008, 3, 1, sub_bits // 2), (65009, 3, 1, sub_bits // 2)]
        begin = len(out)
        out[link : link + struct.calcsize(word)] = struct.pack(word, begin)
        out += struct.pack("<Q" if big else "<H", len(tags)) + b"".join(entry(*tag) for tag in tags)
        link = len(out)
        assert link == begin + (8 if big else 2) + field * len(tags)
        out += struct.pack(word, 0)
    path.write_bytes(out)


@pytest.fixture
def raw(rng):
    frames = rng.random((12, 50, 70)) < 0.02
    frames[:, -1, -1] = [n % 2 for n in range(12)]
    return frames


@pytest.mark.parametrize("compression", BITS)
@pytest.mark.parametrize("big", [False, True])
def test_counts_every_electron_at_its_pixel(tmp_path, rng, raw, compression, big):
    path = tmp_path / "movie.eer"
    payloads = [encode(frame, *BITS[compression], rng) for frame in raw]
    write_eer(path, payloads, raw.shape[1:], compression, big, preview=big)
    movie = check_movie(path)
    assert (movie.n_frames, movie.height, movie.width) == raw.shape
    assert whole(path) is None
    sums = read_frames(path, eer_frames=5, threads=2)
    np.testing.assert_array_equal(sums, raw[:10].reshape(2, 5, 50, 70).sum(1))
    np.testing.assert_array_equal(
        read_frames(path, first=1, eer_frames=4), raw.reshape(3, 4, 50, 70).sum(1)[1:]
    )
    np.testing.assert_array_equal(read_frames(path)[0], raw.sum(0))


def test_corrupt_raw_frames_are_left_out_and_counted(tmp_path, rng, raw):
    path = tmp_path / "movie.eer"
    payloads = [encode(frame, 7, 4, rng) for frame in raw]
    payloads[3] = payloads[3][: len(payloads[3]) // 2]
    payloads[7] = payloads[7][:-3] + b"\xff\xff\xff"
    write_eer(path, payloads, raw.shape[1:], 65001, True)
    frames, dropped = read_eer(path, 0, 1, 12)
    kept = [n for n in range(12) if n not in (3, 7)]
    assert dropped == 2
    np.testing.assert_array_equal(frames[0], raw[kept].sum(0))


def test_mostly_corrupt_is_refused(tmp_path, rng, raw):
    path = tmp_path / "movie.eer"
    write_eer(path, [bytes([3]) * 400 for _ in raw], raw.shape[1:], 65001, True)
    with pytest.raises(BadFile, match="raw EER frames are corrupt"):
        read_frames(path)


def test_pixel_size_from_the_metadata(tmp_path, rng, raw):
    note = b'<metadata><item name="sensorPixelSize.width" unit="m">7.06e-11</item></metadata>'
    write_eer(tmp_path / "a.eer", [encode(raw[0], 7, 4, rng)], raw.shape[1:], 65001, True, metadata=note)
    assert check_movie(tmp_path / "a.eer").pixel_size == pytest.approx(0.706)


@pytest.mark.parametrize("big", [False, True])
def test_mutants_and_truncations_are_read_or_refused(tmp_path, rng, raw, big):
    path = tmp_path / "movie.eer"
    write_eer(path, [encode(frame, 7, 4, rng) for frame in raw], raw.shape[1:], 65001, big)
    content, refused = path.read_bytes(), 0
    for n in range(200):
        mutant = bytearray(content)
        mutant[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
        path.write_bytes(mutant if n % 2 else content[: rng.integers(len(content))])
        try:
            read_frames(path, eer_frames=3)
        except BadFile:
            refused += 1
    assert 100 <= refused < 200


def test_shared_file(shared):
    path = shared / "eer" / "eer_0001.eer"
    assert whole(path, expected_frames=10) is None
    frames = read_frames(path)
    assert frames.sum() == 3_478_787
    quarters = frames[0].reshape(2, 2048, 2, 2048).sum((1, 3), dtype=np.int64)
    assert quarters.argmax() == 0
