"""One movie: scene, optics and motion turned into counted frames, with the truth about them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft as sf
from numpy.typing import NDArray

from nextpyp_nb.records import Ctf, FloatArray

from . import optics
from .detector import Camera, build_camera, count, response, spline_prefilter
from .motion import BASIS, Law, Motion, beam_induced
from .scene import Label, Scene, build_scene
from .specimen import Protein, protein

MARGIN = 64  # px of canvas around the field, so that drift brings something in
GRID = (-0.4, 0.0, 0.4)
SEVERE = 4.0  # times the usual drift
NOMINAL_DIAMETER = {"bgal": 180.0, "apof": 128.0}


@dataclass(frozen=True, kw_only=True)
class Column:
    """The microscope's settings: everything that stays the same from movie to movie. Lengths in Å."""

    height: int = 1024
    width: int = 1024
    frames: int = 16
    pixel_size: float = 1.3
    voltage: float = 300.0
    cs: float = 2.7
    amplitude_contrast: float = 0.1
    dose_per_frame: float = 2.0
    b_factor: float = 60.0
    defocus: tuple[float, float] = (8_000.0, 22_000.0)
    astigmatism: float = 300.0
    drift: float = 10.0
    local_motion: float = 3.0
    law: Law = "settling"
    ice_thickness: float = 300.0
    spacing: float = 0.95
    species: dict[str, float] = field(default_factory=lambda: {"bgal": 0.65, "apof": 0.35})
    seed: int = 1

    @cached_property
    def camera(self) -> Camera:
        """The camera, the same for all movies of a seed."""
        return build_camera(np.random.default_rng([self.seed, 0]), self.height, self.width)

    @cached_property
    def canvas(self) -> tuple[int, int]:
        """Shape (y, x) of the canvas: the field and its margins, even and quick to transform."""
        height, width = (2 * sf.next_fast_len(n // 2 + MARGIN, real=True) for n in (self.height, self.width))
        return height + self.height % 2, width + self.width % 2

    @cached_property
    def proteins(self) -> dict[str, tuple[Protein, float]]:
        """Species and their shares."""
        return {name: (protein(name), share) for name, share in self.species.items()}


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One field of view about to be recorded: the truth behind a movie."""

    column: Column
    index: int
    scene: Scene
    ctf: Ctf
    motion: Motion
    target_defocus: float

    @property
    def offset(self) -> tuple[int, int]:
        """Canvas pixels (y, x) before the first row and column of the field."""
        column = self.column
        return (column.canvas[0] - column.height) // 2, (column.canvas[1] - column.width) // 2

    def intensities(self, *, ice: bool = True) -> Iterator[FloatArray]:
        """Expected electrons a pixel of each frame as spline coefficients, canvas (y, x), shifted."""
        column, scene = self.column, self.scene
        rng = np.random.default_rng([column.seed, self.index + 1, 2])
        ky, kx = optics.frequencies(column.canvas, column.pixel_size)
        k2 = ky**2 + kx**2
        bend = spline_prefilter(ky, kx, column.pixel_size)
        transfer = -2 * optics.contrast_transfer(ky, kx, self.ctf) * optics.envelope(k2, column.b_factor)
        transfer *= response(ky, kx, column.pixel_size) * bend
        proteins = sf.rfft2(scene.proteins) * optics.survival(k2, 0.5 * column.dose_per_frame, column.voltage)
        fading = optics.survival(k2, column.dose_per_frame, column.voltage)
        fixed, loss = sf.rfft2(scene.fixed), sf.rfft2(scene.loss) * bend
        water = _Water(column, k2, rng) if ice else None
        for shift in self.motion.shifts:
            phase = proteins + fixed
            if water is not None:
                phase += water.next()
            phase *= transfer
            phase -= loss
            phase[0, 0] = scene.loss.size * (1 - scene.loss.mean())
            phase *= np.exp(-2j * np.pi * column.pixel_size * shift[0] * ky).astype(np.complex64)
            phase *= np.exp(-2j * np.pi * column.pixel_size * shift[1] * kx).astype(np.complex64)
            image = sf.irfft2(phase, s=column.canvas, overwrite_x=True)
            image *= np.float32(column.dose_per_frame * column.pixel_size**2)
            yield image
            proteins *= fading

    def record(self) -> Iterator[NDArray[np.uint8]]:
        """The counted frames (y, x), row 0 the lowest."""
        rng = np.random.default_rng([self.column.seed, self.index + 1, 3])
        sensitivity = self.column.camera.sensitivity()
        for frame, image in enumerate(self.intensities()):
            yield count(image, sensitivity, self.motion, frame, rng)

    def truth(self, movie: str) -> dict[str, Any]:
        """All that is known of the movie; x is the column, y the row, shifts are (x, y) px from frame 0."""
        column, ctf, motion = self.column, self.ctf, self.motion
        grid = [(y, x) for x in GRID for y in GRID]
        return {
            "movie": movie,
            "label": self.scene.label,
            "apix": column.pixel_size,
            "kv": column.voltage,
            "cs": column.cs,
            "amp_contrast": column.amplitude_contrast,
            "defocus_u": ctf.defocus_u,
            "defocus_v": ctf.defocus_v,
            "defocus_angle": ctf.defocus_angle,
            "bfactor": column.b_factor,
            "dose_per_frame": column.dose_per_frame,
            "frames": column.frames,
            "nx": column.width,
            "ny": column.height,
            "global_shift_px": motion.shifts[:, ::-1].tolist(),
            "local_coef": motion.local[::-1].tolist(),
            "local_profile": motion.profile.tolist(),
            "local_basis": BASIS,
            "grid_shift": [
                {
                    "x": (x + 0.5) * column.width,
                    "y": (y + 0.5) * column.height,
                    "shift": motion.at(y, x)[:, ::-1].tolist(),
                }
                for y, x in grid
            ],
            "particles": self._particles(),
            "ice_A": column.ice_thickness,
            "seed": [column.seed, self.index],
        }

    def _particles(self) -> list[dict[str, Any]]:
        """Particles with their centre inside the field."""
        top, left = self.offset
        rows = []
        for p in self.scene.particles:
            y, x = p.centre[0] - top, p.centre[1] - left
            if 0 <= y < self.column.height and 0 <= x < self.column.width:
                rot, tilt, psi = p.angles
                rows.append(
                    {
                        "x": x,
                        "y": y,
                        "rot": rot,
                        "tilt": tilt,
                        "psi": psi,
                        "species": p.what.name,
                        "diameter_A": NOMINAL_DIAMETER.get(p.what.name, p.what.diameter),
                        "kind": "particle",
                    }
                )
        return rows


def compose(column: Column, index: int, label: Label) -> Exposure:
    """Choose the field, defocus and motion of movie number ``index`` (0, 1, 2, …)."""
    rng = np.random.default_rng([column.seed, index + 1, 1])
    scene = build_scene(
        rng,
        label=label,
        shape=column.canvas,
        margin=MARGIN,
        pixel_size=column.pixel_size,
        voltage=column.voltage,
        proteins=column.proteins,
        spacing=column.spacing,
    )
    target = rng.uniform(*column.defocus)
    mean, half = target + rng.normal(0, 300), 0.5 * abs(rng.normal(0, column.astigmatism))
    ctf = Ctf(
        defocus_u=mean + half,
        defocus_v=mean - half,
        defocus_angle=rng.uniform(-90, 90),
        voltage=column.voltage,
        cs=column.cs,
        amplitude_contrast=column.amplitude_contrast,
    )
    motion = beam_induced(
        rng,
        frames=column.frames,
        dose_per_frame=column.dose_per_frame,
        pixel_size=column.pixel_size,
        drift=column.drift * (SEVERE if label == "severe_drift" else 1.0),
        local=column.local_motion,
        law=column.law,
    )
    return Exposure(
        column=column, index=index, scene=scene, ctf=ctf, motion=motion, target_defocus=round(target, -2)
    )


class _Water:
    """The pattern of the ice, which the beam stirs: a first-order autoregression in Fourier space."""

    def __init__(self, column: Column, k2: FloatArray, rng: np.random.Generator) -> None:
        self._rng = rng
        size = column.canvas[0] * column.canvas[1]
        amplitude = optics.ice_noise(k2, column.ice_thickness, column.voltage) / column.pixel_size
        # White noise of unit variance has spectra of variance size, half in each part; the inverse
        # transform keeps only the symmetric half of the two real columns.
        amplitude *= np.float32(np.sqrt(size / 2))
        amplitude[:, [0, -1]] *= np.float32(np.sqrt(2))
        memory = optics.water_memory(k2, column.dose_per_frame)
        self._pattern = self._noise(k2.shape) * amplitude
        self._memory, self._fresh = memory, np.sqrt(1 - memory**2) * amplitude

    def next(self) -> NDArray[np.complex64]:
        """Spectrum of the phase of the ice in the next frame, rad."""
        pattern = self._pattern
        self._pattern = self._memory * pattern + self._fresh * self._noise(pattern.shape)
        return pattern

    def _noise(self, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        return self._rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
