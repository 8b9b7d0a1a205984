import numpy as np

from nextpyp_nb.formats.half import to_half


def test_halves_are_those_of_numpy_to_the_bit():
    exact = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = np.sort(exact[np.isfinite(exact)])
    ties = (finite[1:] + finite[:-1]) / 2
    near = [np.nextafter(v, np.float32(end)) for v in (finite, ties) for end in (-np.inf, np.inf)]
    any_bits = np.random.default_rng(5).integers(0, 1 << 32, 200_000, np.uint64).astype(np.uint32)
    values = np.concatenate([exact, ties, *near, any_bits.view(np.float32)])
    with np.errstate(all="ignore"):
        expected = values.astype(np.float16)
    found, *_ = to_half(values)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), ~number)
    np.testing.assert_array_equal(found.view(np.uint16)[number], expected.view(np.uint16)[number])


def test_shape_is_kept_and_order_does_not_matter():
    image = np.arange(12, dtype=np.float32).reshape(3, 4).T
    np.testing.assert_array_equal(to_half(image)[0], image)


def test_least_largest_and_mean_are_told():
    values = np.random.default_rng(6).normal(-2, 3, (50, 70)).astype(np.float32)
    for some in (values, -np.abs(values), np.abs(values), values[:1, :1], np.zeros((2, 2), np.float32)):
        _, low, high, mean = to_half(some)
        assert (low, high) == (some.min(), some.max())
        assert mean == some.mean(dtype=np.float64)
    values[3, 4], values[5, 6] = np.inf, -np.inf
    assert to_half(values)[1:3] == (-np.inf, np.inf)
    values[3, 4] = np.nan
    assert np.isnan(to_half(values)[3])
