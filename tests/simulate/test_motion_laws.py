import numpy as np
import pytest

from nextpyp_nb.simulate.motion import beam_induced


def drawn(law, seed=1):
    rng = np.random.default_rng(seed)
    return beam_induced(
        rng, frames=40, dose_per_frame=1.0, pixel_size=1.0, drift=20.0, local=4.0, law=law
    ).at(0.4, -0.4)


@pytest.mark.parametrize("law", ["settling", "exponential", "jerk", "walk"])
def test_every_law_starts_at_zero_and_repeats(law):
    np.testing.assert_array_equal(drawn(law)[0], 0)
    np.testing.assert_array_equal(drawn(law), drawn(law))
    assert np.abs(drawn(law)).max() > 3


def test_the_laws_do_what_their_names_say():
    steps = {law: np.linalg.norm(np.diff(drawn(law), axis=0), axis=1) for law in ("exponential", "jerk")}
    assert (np.diff(steps["exponential"]) < 0).all()
    jerk = int(steps["jerk"].argmax())
    assert 8 < jerk < 32
    assert steps["jerk"][jerk] > 3 * np.median(steps["jerk"])
    ends = np.array([drawn("walk", seed)[-1] for seed in range(200)])
    half = np.array([drawn("walk", seed)[20] for seed in range(200)])
    assert ends.var() / half.var() == pytest.approx(39 / 20, rel=0.4)


def test_an_unknown_law_is_named():
    with pytest.raises(ValueError, match="'leap'"):
        drawn("leap")
