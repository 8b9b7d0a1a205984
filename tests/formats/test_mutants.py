"""Damaged files of every format: no crash, no hang, bounded memory."""

import numpy as np

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
