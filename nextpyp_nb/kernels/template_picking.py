"""Find particles by their looks: rotated 2D class averages, compared through a few common components."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from scipy.spatial.transform import Rotation

from nextpyp_nb.kernels.backend import array_module, fft_module, in_threads
from nextpyp_nb.kernels.ctf import ctf_image
from nextpyp_nb.kernels.fourier import fast_even, irfft2_in_place, radial_frequency
from nextpyp_nb.kernels.matched_filter import noise_spectrum
from nextpyp_nb.kernels.picking import check_picking, flat_darkness, scored_places
from nextpyp_nb.records import Ctf, FloatArray, Picks

_COMPONENTS = 30
# Views of a map.
_DIRECTIONS = 36
# Scores of so many pixels stay in a core's cache; a card or a thread takes a band.
_PIXELS_AT_ONCE, _BAND = 1 << 9, 1 << 15
# So much higher than five sizes do hundreds of rotated templates score by chance: in noise as wide as a
# micrograph nothing may be taken, because what is taken there looks like the templates.
_MORE_TRIALS = 1.6
# The best of a particle's area of noise is well above 3 already.
_LEAST = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateBank:
    """Rotated templates as ``weights`` (templates, k) of orthonormal ``components`` (k, box, box).

    The first ``even`` components look the same upside down, and the others change their sign. So the weights
    of half a turn do for all.
    """

    components: FloatArray
    weights: FloatArray
    even: int
    pixel_size: float
    radius: float


def template_bank(
    templates: FloatArray,
    *,
    template_pixel_size: float,
    pixel_size: float,
    radius: float,
    template_low_pass: float = 20.0,
) -> TemplateBank:
    """``templates`` (n, box, box), low-passed and rotated, as components for micrographs of ``pixel_size``.

    Averages have protein bright and are corrected for the CTF; blank ones are left out. Lengths in Å. The 30
    components are the first singular vectors of all rotated templates (compare Sigworth 2004).
    """
    templates = np.asarray(templates, np.float32)
    if templates.ndim != 3 or not template_pixel_size > 0 or not template_low_pass > 0:
        raise ValueError(
            f"expected templates (n, box, box) with a pixel size and a low-pass in Å, got the shape "
            f"{templates.shape}, {template_pixel_size:g} Å and {template_low_pass:g} Å"
        )
    templates = templates[templates.std(axis=(1, 2)) > 0]
    if len(templates) == 0:
        raise ValueError("every template is blank: give a stack of class averages")
    coarse_pixel = pixel_size * max(1, int(_fineness(radius, template_low_pass) / pixel_size))
    smooth = _low_passed(templates, template_pixel_size, template_low_pass, radius)
    turns = math.ceil(math.pi * radius / template_low_pass)
    rotated = _rotated(smooth, coarse_pixel / template_pixel_size, 1.4 * radius / coarse_pixel, turns)
    rotated /= np.linalg.norm(rotated, axis=(1, 2), keepdims=True)
    opposite = rotated[:, ::-1, ::-1]
    parts = [_principal(0.5 * (rotated + sign * opposite)) for sign in (1, -1)]
    power = np.concatenate([p for p, _, _ in parts])
    kept = power > max(1e-5 * power.max(), np.sort(power)[:-_COMPONENTS].max(initial=0.0))
    return TemplateBank(
        components=np.concatenate([c for _, c, _ in parts])[kept],
        weights=np.concatenate([w for _, _, w in parts], axis=1)[:, kept],
        even=int(kept[: len(parts[0][0])].sum()), pixel_size=coarse_pixel, radius=radius,
    )  # fmt: skip


def map_projections(
    volume: FloatArray, *, pixel_size: float, template_low_pass: float = 20.0
) -> tuple[FloatArray, float]:
    """Projections (36, box, box) of a map (box, box, box) from all sides, and their pixel size (Å).

    The map has protein bright, px of ``pixel_size`` Å, its particle at voxel box // 2; directions lie on a
    spiral over the sphere, some 33° apart. Detail finer than ``template_low_pass`` (Å) is left out.
    """
    volume = np.asarray(volume, np.float32)
    side = len(volume)
    if volume.shape != (side, side, side) or side < 16 or not float(volume.std()) > 0:
        raise ValueError(f"expected a map, a cube of 16 px or more that is not blank; got {volume.shape}")
    small = min(side, max(16, 2 * math.ceil(1.5 * side * pixel_size / template_low_pass)))
    spectrum = scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(volume)))
    low = slice(side // 2 - small // 2, side // 2 - small // 2 + small)
    cropped = scipy.fft.ifftn(scipy.fft.ifftshift(spectrum[low, low, low])).real
    coarse = (scipy.fft.fftshift(cropped) * (small / side) ** 3).astype(np.float32)
    middle = np.full(3, small // 2)
    projections = np.empty((_DIRECTIONS, small, small), np.float32)
    for number in range(_DIRECTIONS):
        cosine = 1.0 - (2.0 * number + 1.0) / _DIRECTIONS
        turn = number * math.pi * (3.0 - math.sqrt(5.0))
        turned = Rotation.from_euler("ZY", [turn, math.acos(cosine)]).as_matrix()[::-1, ::-1]
        view = scipy.ndimage.affine_transform(coarse, turned, middle - turned @ middle, order=1)
        projections[number] = view.sum(axis=0)
    return projections, pixel_size * side / small


def find_by_template(
    average: Any,
    bank: TemplateBank,
    *,
    pixel_size: float,
    ctf: Ctf | None = None,
    distance: float | None = None,
    ignore_contamination: bool = False,
) -> Picks:
    """Every place of ``average`` (y, x; particles dark) where a template scores above 0, best first.

    Scores are matched-filter SNR in deviations of the noise, the best over templates and rotations; templates
    are multiplied by the CTF and all is whitened. Lengths in Å. The threshold is that of `find_candidates`.
    """
    check_picking(average, pixel_size, bank.radius, "auto")
    factor = max(1, round(bank.pixel_size / pixel_size))
    if not math.isclose(factor * pixel_size, bank.pixel_size, rel_tol=1e-3):
        raise ValueError(
            f"templates for {bank.pixel_size:g} Å a pixel do not fit a micrograph of {pixel_size:g} Å"
        )
    flat, clean = flat_darkness(average, factor, bank.pixel_size, bank.radius, ignore_contamination)
    best, worst = _extremes(*_responses(flat, clean, bank, ctf), bank.even)
    found = scored_places(
        best, -worst, clean, factor=factor, pixel_size=pixel_size, radius=bank.radius, distance=distance,
        trials=_MORE_TRIALS,
    )  # fmt: skip
    return replace(found, threshold=max(found.threshold, _LEAST))


def _fineness(radius: float, low_pass: float) -> float:
    return min(radius / 10.0, low_pass / 3.0)


def _low_passed(templates: FloatArray, pixel_size: float, low_pass: float, radius: float) -> FloatArray:
    """Templates without detail finer than ``low_pass`` and without what lies around the particle."""
    box = templates.shape[-2:]
    y, x = (np.arange(n) - n // 2 for n in box)
    far = np.hypot(y[:, None], x[None, :]) * pixel_size
    mask = np.clip((1.25 * radius + low_pass - far) / low_pass, 0.0, 1.0)
    mask = 0.5 - 0.5 * np.cos(math.pi * mask)
    outside = far > min(1.25 * radius, 0.9 * far[0].min())
    level = templates[:, outside].mean(axis=1)[:, None, None]
    frequency = radial_frequency(box, pixel_size)
    keep = np.exp(-math.log(2.0) * (frequency * low_pass) ** 4)
    smooth = scipy.fft.irfft2(scipy.fft.rfft2((templates - level) * mask) * keep, s=box)
    return np.asarray(smooth, np.float32)


def _principal(images: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Power (k,), principal components (k, box, box) and their weights in ``images`` (n, box, box)."""
    flat = images.reshape(len(images), -1)
    many = len(flat) > flat.shape[1]
    power, vectors = np.linalg.eigh(flat.T @ flat if many else flat @ flat.T)
    power, vectors = power[power > 0], vectors[:, power > 0]
    components = vectors.T if many else (vectors.T @ flat) / np.sqrt(power)[:, None]
    weights = flat @ vectors if many else vectors * np.sqrt(power)
    return power, components.reshape(-1, *images.shape[1:]), weights


def _rotated(templates: FloatArray, scale: float, reach: float, turns: int) -> FloatArray:
    """Templates in ``turns`` steps of half a turn on a grid ``scale`` px apart, (n * turns, box, box)."""
    middle = math.ceil(reach) + 1
    box = 2 * middle + 1
    rotated = np.empty((len(templates), turns, box, box), np.float32)
    centre = np.array([n // 2 for n in templates.shape[-2:]])
    for turn in range(turns):
        angle = math.pi * turn / turns
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = scale * np.array([[cos, -sin], [sin, cos]])
        for number, template in enumerate(templates):
            rotated[number, turn] = scipy.ndimage.affine_transform(
                template, matrix, centre - matrix @ (middle, middle), (box, box), order=3
            )
    return rotated.reshape(-1, box, box)


def _responses(flat: Any, clean: Any, bank: TemplateBank, ctf: Ctf | None) -> tuple[Any, Any]:
    """Filtered maps of the components (k, y, x), and weights (templates, k) that make them scores."""
    xp, fft = array_module(flat), fft_module(flat)
    (ny, nx), (count, box, _) = flat.shape, bank.components.shape
    shape = tuple(fft.next_fast_len(n + box - 1, True) for n in (ny, nx))
    frequency = xp.asarray(radial_frequency(shape, bank.pixel_size))
    noise = noise_spectrum(flat, clean, pixel_size=bank.pixel_size, diameter=2.0 * bank.radius)
    power = xp.interp(frequency, *(xp.asarray(n, np.float32) for n in noise)).astype(np.float32)
    # Below one cycle in a few diameters lies the background, not the particle.
    white = (1.0 - xp.exp(-((2.5 * bank.radius * frequency) ** 2))) / xp.sqrt(power)
    if ctf is not None:
        white = white * ctf_image(ctf, shape=shape, pixel_size=bank.pixel_size, xp=xp)
    transform = fft.rfft2(flat, s=shape) * (white / xp.sqrt(power))
    components = xp.asarray(bank.components)
    maps = xp.empty((count, ny, nx), np.float32)
    middle = slice(box // 2, box // 2 + ny), slice(box // 2, box // 2 + nx)

    def convolve(start: int) -> None:
        part = slice(start, start + at_once)
        # Upside down and back to front they correlate where they convolve; their few rows come first.
        filters = fft.rfft(components[part, ::-1, ::-1], n=shape[1], axis=2)
        filters = fft.fft(filters, n=shape[0], axis=1)
        filters *= transform
        maps[part] = irfft2_in_place(filters, shape)[:, *middle]

    # One stays in a core's cache; a card wants many.
    at_once = 1 if xp is np else count
    in_threads(convolve, range(0, count, at_once), flat)
    weights = xp.asarray(bank.weights)
    overlap = _overlap(components, irfft2_in_place(white * white, shape))
    norm = xp.sqrt(((weights @ overlap) * weights).sum(axis=1, keepdims=True))
    return maps, weights / norm


def _overlap(components: Any, likeness: Any) -> Any:
    """Products (k, k) of whitened ``components`` (k, box, box), from the autocorrelation of the whitening.

    Of that ``likeness`` (y, x), the origin first, only as much counts as components reach.
    """
    xp, fft = array_module(components), fft_module(components)
    side = fast_even(2 * components.shape[-1])
    near = xp.asarray(np.fft.fftfreq(side, 1.0 / side).astype(np.intp))
    weight = fft.rfft2(likeness[near[:, None], near[None, :]]).real / side**2
    weight[:, 1:-1] *= 2.0
    spectra = fft.rfft2(components, s=(side, side)).reshape(len(components), -1)
    return ((spectra * weight.ravel()) @ spectra.conj().T).real


def _extremes(maps: Any, weights: Any, even: int) -> tuple[Any, Any]:
    """Highest and lowest score over all templates and what they look like upside down, (y, x) each."""
    xp = array_module(maps)
    flat = maps.reshape(len(maps), -1)
    best, worst = xp.empty(flat.shape[1], np.float32), xp.empty(flat.shape[1], np.float32)

    def score(band: int) -> None:
        for start in range(band, min(band + _BAND, flat.shape[1]), at_once):
            part = slice(start, start + at_once)
            scores = weights[:, :even] @ flat[:even, part]
            turning = xp.abs(weights[:, even:] @ flat[even:, part])
            (scores + turning).max(axis=0, out=best[part])
            (scores - turning).min(axis=0, out=worst[part])

    at_once = _PIXELS_AT_ONCE if xp is np else _BAND
    in_threads(score, range(0, flat.shape[1], _BAND), maps)
    return best.reshape(maps.shape[1:]), worst.reshape(maps.shape[1:])
