"""Damaged files of every format: no crash, no hang, bounded memory."""

import bz2
import contextlib
import gzip
import struct
import time
import tracemalloc

import numpy as np
import pytest

from nextpyp_nb.formats.acquisition import read_acquisition
from nextpyp_nb.formats.files import BadFile
from nextpyp_nb.formats.ifd import Tiff
from nextpyp_nb.formats.mutants import make_samples, read_mutants


def test_the_undamaged_samples_are_read(tmp_path):
    samples = make_samples(tmp_path, np.random.default_rng(0))
    assert len(samples) > 20
    for name, (content, reader) in samples.items():
        path = tmp_path / f"whole_{name}"
        path.write_bytes(content)
        reader(path)


def test_every_damaged_file_is_read_or_refused(tmp_path):
    found = read_mutants(tmp_path, 800, seed=5)
    assert not found.failures, "\n".join(found.failures)
    assert found.read.total() + found.refused.total() == 800
    assert min(found.read.total(), found.refused.total()) > 100
    assert found.slowest < 5
    assert found.memory < 200 << 20


GIANT = 32_000


def giant(name, content):
    """The sample with a header that claims sides of `GIANT` px (in a TIFF, on every page)."""
    if name.endswith((".gz", ".bz2")):
        unpack, pack = (gzip, gzip) if name.endswith(".gz") else (bz2, bz2)
        return pack.compress(giant("m.mrc", unpack.decompress(content)))
    if name.endswith(".mrc"):
        return struct.pack("<3i", GIANT, GIANT, 4) + content[12:]
    if name.endswith(".dm4"):
        return content.replace(struct.pack("<I", 64), struct.pack("<I", GIANT))
    big = content[2] == 43
    head, entry, field = ("<Q", 20, 8) if big else ("<H", 12, 4)
    raw = bytearray(content)
    at = int.from_bytes(raw[8:16] if big else raw[4:8], "little")
    while at:
        (count,) = struct.unpack_from(head, raw, at)
        at += struct.calcsize(head)
        for n in range(count):
            if int.from_bytes(raw[at + n * entry :][:2], "little") in (256, 257):
                end = at + (n + 1) * entry
                raw[end - field : end] = GIANT.to_bytes(field, "little")
        at += count * entry
        at = int.from_bytes(raw[at : at + field], "little")
    return bytes(raw)


def test_a_header_that_claims_a_giant_is_refused_before_memory_is_taken(tmp_path):
    samples = make_samples(tmp_path, np.random.default_rng(0))
    movies = [name for name in samples if not name.endswith((".star", ".xml", ".mdoc", ".txt"))]
    assert len(movies) > 15
    for name in movies:
        content, reader = samples[name]
        path = tmp_path / f"giant_{name}"
        path.write_bytes(giant(name, content))
        tracemalloc.start()
        try:
            with pytest.raises(BadFile):
                reader(path)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20, name
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + b"\n" * (4 << 20) + b"</a>",
        b"<a>" + b"<b>1</b>" * 500_000 + b"</a>",
        b"<" + b"a" * (2 << 20) + b">" + b"<b>1</b>" * 250_000 + b"</" + b"a" * (2 << 20) + b">",
        b"".join(b"<x%d>1</x%d>" % (n, n) for n in range(200_000)).join((b"<a>", b"</a>")),
    ],
    ids=["lines", "the same value", "a long tag", "many values"],
)
def test_an_xml_made_to_cost_time_or_memory_costs_neither(tmp_path, content):
    path = tmp_path / "m.xml"
    path.write_bytes(content)
    begin = time.process_time()
    tracemalloc.start()
    with contextlib.suppress(BadFile):
        read_acquisition(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20
    assert time.process_time() - begin < 20


def test_pages_that_share_a_table_of_strips_cost_no_more_than_their_file(tmp_path):
    """A thousand pages of one table of thirty thousand strips each: in all thirty million."""
    strips, pages = 30_000, 1000
    raw = bytearray(struct.pack("<2sHI", b"II", 42, 8 + 8 * strips)) + bytes(8 * strips)
    tags = ((256, 1), (257, strips), (258, 8), (273, 8), (279, 8 + 4 * strips))
    for number in range(pages):
        raw += struct.pack("<H", len(tags))
        for tag, value in tags:
            raw += struct.pack("<HHII", tag, 4, strips if tag in (273, 279) else 1, value)
        raw += struct.pack("<I", len(raw) + 4 if number < pages - 1 else 0)
    path = tmp_path / "m.tif"
    path.write_bytes(raw)
    with pytest.raises(BadFile, match="strips in"):
        Tiff(path)
