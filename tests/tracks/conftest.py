import asyncio

import pytest

from nextpyp_nb.session import create_session
from nextpyp_nb.settings import Settings
from nextpyp_nb.simulate import Microscope

# Small fields keep the suite quick; the physics is the demo's.
FIELD = {"height": 512, "width": 576, "frames": 8, "dose_per_frame": 4.0, "seed": 3}


@pytest.fixture(scope="session")
def microscope(tmp_path_factory):
    """Three whole movies of a small detector, with their truth."""
    camera = Microscope(tmp_path_factory.mktemp("camera") / "m", layout="flat", **FIELD)
    camera.prepare()
    asyncio.run(camera.run(3, interval=0))
    return camera


@pytest.fixture(scope="session")
def settings(microscope):
    """Settings of a session on the small detector."""
    return Settings.from_flat(
        {
            "raw_data.location": str(microscope.gain_path.parent / "**" / "*.tiff"),
            "gain.reference": str(microscope.gain_path),
            "microscope.pixel_size": 1.3,
            "microscope.voltage": 300,
            "microscope.amplitude_contrast": 0.1,
            "microscope.dose": FIELD["dose_per_frame"] * FIELD["frames"],
            "transfer.settle": 0.5,
            "transfer.scan_interval": 0.2,
            "picking.radius": 75,
        }
    )


@pytest.fixture
def session(tmp_path, settings):
    """A new session over the three movies."""
    return create_session("s", settings=settings, root=tmp_path / "sessions")
