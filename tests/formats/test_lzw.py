import imagecodecs
import numpy as np
import pytest

from nextpyp_nb.formats.lzw import decode_lzw

RNG = np.random.default_rng(71)
IMAGES = {
    "counts": RNG.poisson(0.7, 200_000),
    "noise, whose table is cleared often": RNG.integers(0, 256, 100_000),
    "one value, whose strings reach into themselves": np.full(300_000, 3),
    "a short period": np.tile([1, 2, 1], 50_000),
    "long strings": np.tile(RNG.integers(0, 4, 700), 200),
    "a single byte": np.array([7]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_strips_decode_as_with_imagecodecs(name):
    image = IMAGES[name].astype(np.uint8)
    raw = imagecodecs.lzw_encode(image)
    np.testing.assert_array_equal(decode_lzw(raw, len(image)), image)


def test_what_is_cut_foreign_or_too_short_is_left_to_others():
    image = IMAGES["counts"].astype(np.uint8)
    raw = imagecodecs.lzw_encode(image)
    for wrong in (b"", raw[:1], raw[: len(raw) // 2], b"\x00\x01" + raw[2:], raw[:40] + b"\xff" * 60):
        assert decode_lzw(wrong, len(image)) is None
    assert decode_lzw(raw, len(image) + 1) is None


def test_damage_never_leads_outside_the_strip():
    image = IMAGES["counts"][:2000].astype(np.uint8)
    raw = np.frombuffer(imagecodecs.lzw_encode(image), np.uint8)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        wrong = raw.copy()
        wrong[rng.integers(2, len(raw), 5)] = rng.integers(0, 256, 5)
        found = decode_lzw(wrong.tobytes(), len(image))
        assert found is None or len(found) == len(image)
