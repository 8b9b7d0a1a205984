import shutil
import struct
import subprocess

import numpy as np
import pytest
import tifffile

from nextpyp_nb.formats.check import BadFile, check_movie, whole
from nextpyp_nb.formats.eer import _add_events, read_eer
from nextpyp_nb.formats.fractions import equal_fractions, frame_doses, frames_per_dose, read_fractions
from nextpyp_nb.formats.frames import read_exposure, read_frames
from nextpyp_nb.formats.mrc import read_mrc, write_mrc
from nextpyp_nb.formats.star import read_star
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.tracks.process_movie import process_movie

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
    frames, dropped = read_eer(path, (0, 12))
    kept = [n for n in range(12) if n not in (3, 7)]
    assert dropped == 2
    np.testing.assert_array_equal(frames[0], raw[kept].sum(0))


@pytest.mark.parametrize("compression", BITS)
@pytest.mark.parametrize("factor", [1, 2])
def test_streams_for_a_gpu_hold_the_same_events(tmp_path, rng, raw, compression, factor):
    path = tmp_path / "movie.eer"
    payloads = [encode(frame, *BITS[compression], rng) for frame in raw]
    payloads[5] = payloads[5][:20]
    write_eer(path, payloads, raw.shape[1:], compression, True, preview=True)

    def decode(streams, bounds):
        frames = np.zeros((1, factor * streams.shape[0], factor * streams.shape[1]), np.uint8)
        corrupt = 0
        for start, bits in zip(streams.starts, streams.bits, strict=True):
            coded = streams.words[start:].view(np.uint8)[: bits // 8 + 16]
            run_bits, sub_bits, x_bits = streams.coding
            alone = np.zeros_like(frames[0])
            ends = _add_events(coded, bits, run_bits, sub_bits, x_bits, alone, 1)
            corrupt += ends != streams.shape[0] * streams.shape[1]
            frames[0] += alone if ends == streams.shape[0] * streams.shape[1] else 0
        return frames, corrupt

    fractions = equal_fractions(len(raw), len(raw))
    known = {"fractions": fractions, "eer_reduce": factor}
    plain, decoded = read_exposure(path, **known), read_exposure(path, **known, decoder=decode, threads=2)
    assert plain.corrupt == decoded.corrupt == 1
    np.testing.assert_array_equal(decoded.frames, plain.frames)


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


def test_eight_k_places_electrons_at_half_pixels(tmp_path, rng, raw):
    path = tmp_path / "movie.eer"
    for coding in BITS:
        write_eer(path, [encode(frame, *BITS[coding], rng) for frame in raw], raw.shape[1:], coding, True)
        large = read_frames(path, eer_frames=4, eer_reduce=2, threads=2)
        assert large.shape == (3, 100, 140)
        pixels = large.reshape(3, 50, 2, 70, 2)
        np.testing.assert_array_equal(pixels.sum((2, 4)), read_frames(path, eer_frames=4))
        assert (pixels.sum((0, 1, 3)) > 60).all()  # of some 840 electrons, a quarter at each half pixel
    with pytest.raises(ValueError, match="3 times"):
        read_frames(path, eer_reduce=3)


def test_the_highest_bit_of_a_position_is_inverted(tmp_path):
    """One electron at pixel (0, 0) with each symbol: bits 1 and 3 choose left or right, low or high."""
    path = tmp_path / "movie.eer"
    for symbol in range(16):
        bits = [0] * 7 + [symbol >> n & 1 for n in range(4)] + [3 >> n & 1 for n in range(7)]
        payload = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
        write_eer(path, [payload], (2, 2), 65001, True)
        frame = read_frames(path, eer_reduce=2)[0]
        assert np.argwhere(frame).tolist() == [[1 - (symbol >> 3), 1 - (symbol >> 1 & 1)]]


@pytest.mark.relion
@pytest.mark.parametrize(("upsampling", "group"), [(1, 4), (2, 5)])
def test_renders_what_relion_renders(tmp_path, shared, upsampling, group):
    program = shutil.which("relion_convert_to_tiff")
    if program is None:
        pytest.skip("relion_convert_to_tiff is not installed")
    (tmp_path / "a.eer").symlink_to(shared / "eer" / "eer_0001.eer")
    options = ["--eer_grouping", str(group), "--eer_upsampling", str(upsampling)]
    command = [program, "--i", "a.eer", "--o", "out/", *options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    ours = read_frames(tmp_path / "a.eer", eer_frames=group, eer_reduce=upsampling, threads=2)
    theirs = tifffile.imread(tmp_path / "out" / "a.tif")
    # RELION keeps an EER's rows in their order and turns TIFF pages upside down, on writing too.
    assert ours.shape == theirs.shape
    assert (ours == theirs[:, ::-1]).all()


def test_fractions_by_dose_and_by_table(tmp_path):
    assert frames_per_dose(1000, 40.0, 1.0) == 25
    assert frames_per_dose(1000, 40.0, 0.01) == 1
    assert frames_per_dose(10, 40.0, 90.0) == 10
    with pytest.raises(ValueError, match="need the dose of the exposure"):
        frames_per_dose(1000, 0.0, 1.0)
    table = tmp_path / "fractions.txt"
    table.write_text("# early frames finer\n20 5 0.1\n\n60 30 0.05\n")
    read = read_fractions(table, 90)
    assert read.bounds == (0, 5, 10, 15, 20, 50, 80)
    assert read.doses == pytest.approx((0.5, 0.5, 0.5, 0.5, 1.5, 1.5))
    assert read.constant is None
    assert read_fractions(table, 79).bounds == (0, 5, 10, 15, 20, 50)
    assert read_fractions(table, 12).bounds == (0, 5, 10)
    table.write_text("40 10 0")
    assert read_fractions(table, 40).constant == 10
    assert frame_doses(read_fractions(table, 50), 50, 25.0).tolist() == [5.0] * 4


@pytest.mark.parametrize(
    "line", ["20 5", "20 5 x", "20 6 0.1", "0 0 0", "5 10 1", "20 5 nan", "", "40 40 0.1"]
)
def test_other_tables_are_refused(tmp_path, line):
    (tmp_path / "t.txt").write_text(line)
    with pytest.raises(BadFile, match=r"expected|makes no fraction"):
        read_fractions(tmp_path / "t.txt", 30)
    with pytest.raises(FileNotFoundError, match="no fraction table at"):
        read_fractions(tmp_path / "none.txt", 30)


def test_the_exposure_counts_corrupt_frames_and_shares_its_dose(tmp_path, rng, raw):
    path = tmp_path / "movie.eer"
    payloads = [encode(frame, 7, 4, rng) for frame in raw]
    payloads[9] = payloads[9][:-3] + b"\xff\xff\xff"
    write_eer(path, payloads, raw.shape[1:], 65001, True)
    read = read_exposure(path, fractions=equal_fractions(12, 5))
    assert (read.corrupt, read.n_stored, len(read.frames)) == (1, 12, 2)
    assert read.doses(24.0).tolist() == [10.0, 10.0]
    before = read_exposure(path, fractions=equal_fractions(12, 5), last=0)
    assert (before.corrupt, before.first) == (0, 0)
    np.testing.assert_array_equal(before.frames, read.frames[:1])
    after = read_exposure(path, fractions=equal_fractions(12, 5), first=1)
    assert (after.corrupt, after.first, after.n_stored) == (1, 1, 12)
    np.testing.assert_array_equal(after.frames, read.frames[1:])


@pytest.fixture
def processed(tmp_path, rng):
    """Runs a small EER through the pipeline; gives its row, its average and its motion STAR."""
    frames = rng.random((24, 144, 160)) < 0.05
    payloads = [encode(frame, 7, 4, rng) for frame in frames]
    payloads[5] = payloads[5][:-3] + b"\xff\xff\xff"
    write_eer(tmp_path / "m.eer", payloads, frames.shape[1:], 65001, True)
    for part in ("micrographs", "previews", "motion", "ctf", "picks"):
        (tmp_path / part).mkdir()

    def run(**changed):
        known = {"scope_pixel": 2.0, "scope_voltage": 300, "scope_dose_rate": 12.0, "ctf_tile": 128}
        settings = Settings.from_flat(known | {"gain.hot_pixels": False} | changed)
        payload = {"folder": str(tmp_path), "name": "m", "path": str(tmp_path / "m.eer")}
        payload |= {"first_stage": "motion", "settings": settings.model_dump()}
        row = process_movie(payload, lambda report: None)
        places = Places(tmp_path, "m")
        return row, np.array(read_mrc(places("average"))[0], float), read_star(places("motion"))["general"]

    return run


def test_eer_settings_reach_the_micrograph(tmp_path, processed):
    row, average, star = processed(movie_eer_frames=5)
    assert (row["n_frames"], row["corrupt_frames"], row["dose_per_frame"]) == (4, 1, 2.5)
    assert (star["rlnEERGrouping"], star["rlnEERUpsampling"]) == (5, 1)
    assert average.shape == (144, 160)
    row, average, star = processed(**{"motion.eer_dose": 1.0, "movie_eer_reduce": 2})
    assert (row["n_frames"], row["corrupt_frames"], row["dose_per_frame"]) == (12, 1, 1.0)
    assert (star["rlnEERGrouping"], star["rlnEERUpsampling"]) == (2, 2)
    assert average.shape == (288, 320)
    (tmp_path / "table.txt").write_text("8 2 0.5\n16 8 0.25\n")
    row, _, star = processed(**{"motion.eer_fractions": str(tmp_path / "table.txt")})
    assert (row["n_frames"], row["dose_per_frame"]) == (6, pytest.approx(8 / 6))
    assert "rlnEERGrouping" not in star


def test_a_reference_of_an_eer_is_inverted_unless_it_is_a_gain(tmp_path, rng, processed):
    response = rng.uniform(0.5, 2, (144, 160)).astype(np.float32)
    response[40, 50] = 0
    factor = np.divide(
        response[response > 0].mean(), response, where=response > 0, out=np.zeros_like(response)
    )
    write_mrc(tmp_path / "g.mrc", response, pixel_size=1)
    tifffile.imwrite(tmp_path / "g.gain", factor)
    options = {"movie_eer_frames": 6, "movie_ali": "none"}
    plain = processed(**options)[1]
    inverted = processed(**options, gain_reference=str(tmp_path / "g.mrc"))[1]
    multiplied = processed(**options, gain_reference=str(tmp_path / "g.gain"))[1]
    np.testing.assert_allclose(inverted, multiplied, atol=2e-3)
    good = response > 0
    np.testing.assert_allclose(inverted[good], (plain * factor)[good], atol=2e-3)
    large = processed(**options, gain_reference=str(tmp_path / "g.mrc"), movie_eer_reduce=2)[1]
    assert large.shape == (288, 320)
    write_mrc(tmp_path / "large.mrc", response.repeat(2, 0).repeat(2, 1), pixel_size=1)
    halved = processed(**options, gain_reference=str(tmp_path / "large.mrc"))[1]
    np.testing.assert_allclose(halved, inverted, atol=2e-3)
