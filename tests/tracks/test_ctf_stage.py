import numpy as np
import pytest

from nextpyp_nb.formats.arrays import read_arrays
from nextpyp_nb.formats.frames import read_frames
from nextpyp_nb.session.places import Places
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate.rings import draw_rings
from nextpyp_nb.tracks.ctf_stage import fit_ctf, read_ctf, specimen_numbers
from nextpyp_nb.tracks.motion_stage import frame_groups, oriented_gain


def chosen_settings(rings, **ctf):
    return Settings.model_validate(
        {
            "microscope": {
                "pixel_size": rings.pixel_size, "voltage": rings.ctf.voltage, "cs": rings.ctf.cs,
                "amplitude_contrast": rings.ctf.amplitude_contrast, "dose": 40,
            },
            "ctf": ctf,
        }
    )  # fmt: skip


def test_tilt_and_thickness_reach_the_row_and_the_file(tmp_path):
    rings, places = draw_rings(3, signal=0.6), Places(tmp_path, "m1")
    chosen = chosen_settings(rings, tilt=True, thickness=True)
    row = fit_ctf(rings.image(1024), rings.pixel_size, places, chosen, 1)
    assert row["ctf_failed"] is None
    assert row["thickness"] is None
    assert 0 <= row["tilt"] < 20
    assert read_ctf(places) == row["ctf"]
    assert specimen_numbers(read_arrays(places("ctf"))) == pytest.approx((row["tilt_axis"], row["tilt"], 0.0))
    assert row["ctf"].defocus == pytest.approx(rings.ctf.defocus, abs=100)


def test_a_failed_fit_is_a_reason_and_no_zeros(tmp_path):
    rings, places = draw_rings(3, signal=0.6), Places(tmp_path, "m1")
    row = fit_ctf(np.ones((256, 256), np.float32), rings.pixel_size, places, chosen_settings(rings), 1)
    assert "blank" in row.pop("ctf_failed")
    assert set(row.values()) == {None}
    assert read_ctf(places) is None


def test_frames_are_summed_by_dose_as_they_were_recorded(microscope, settings):
    path = sorted(microscope.gain_path.parent.rglob("*.tiff"))[0]
    frames = read_frames(path).astype(np.float64)
    chosen = settings.updated({"microscope.dose": 2.0 * len(frames)})
    groups = frame_groups(path, chosen, {"threads": 1, "device": None})
    assert groups.shape == (len(frames) // 2, *frames.shape[1:])
    gain = oriented_gain(chosen, frames.shape[1:], False)[0]
    expected = frames[2:4].sum(axis=0) * (1 if gain is None else gain)
    assert np.mean(np.isclose(groups[1], expected, rtol=1e-4)) > 0.98
