"""Whether picking by template finds its templates in pure noise, that is shot noise and amorphous ice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft as sf
import scipy.ndimage

from nextpyp_nb.bench.report import show, write_json
from nextpyp_nb.kernels.class2d_stream import Classification
from nextpyp_nb.kernels.particles import background_of, extract_particles, normalised
from nextpyp_nb.kernels.template_picking import TemplateBank, find_by_template, template_bank
from nextpyp_nb.records import Ctf, FloatArray, Picks
from nextpyp_nb.simulate.rings import LEVELS, Rings, draw_rings
from nextpyp_nb.simulate.specimen import project, protein

SIDE, PIXEL, RADIUS, LOW_PASS = 1024, 1.3, 75.0, 20.0
# Boxes for the averages, and px of those.
BOX_PX, SMALL = 200, 64
SHOWN = ("picks_of", "picks", "micrographs", "best_score", "classes", "correlation", "independent")
# So many of each micrograph, where a threshold set by hand would take them.
FORCED = 3
FEWEST = 40


def bench_bias(*, micrographs: int, seed: int, out: Path | None) -> int:
    """Pick ``micrographs`` of noise by 14 views of two proteins; a table, and JSON to ``out``.

    Rows: what the default threshold takes; the best three places of each micrograph, whatever they score;
    random places for comparison. Each is split at random, either half is classified by itself, and averages
    are compared with all templates, turned and moved: ``correlation`` is the mean over classes of the best,
    which chance makes too; ``independent`` that of the other half's average, in the pose and with the
    template that suited the first.
    """
    rng = np.random.default_rng([seed, 5])
    views = _views(rng)
    bank = template_bank(
        views, template_pixel_size=PIXEL, pixel_size=PIXEL, radius=RADIUS, template_low_pass=LOW_PASS
    )
    images: dict[str, list[FloatArray]] = {"default": [], "forced": [], "random": []}
    ctfs: dict[str, list[Ctf]] = {name: [] for name in images}
    best = 0.0
    for number in range(micrographs):
        rings = _noise(seed * 1_000_000 + number)
        average = rings.image(SIDE)
        found = _found(average, rings, bank)
        best = max(best, float(found.scores.max(initial=0.0)))
        places = {
            "default": found.centres[found.scores > found.threshold],
            "forced": _inside(found.centres)[:FORCED],
            "random": rng.uniform(0.5 * BOX_PX, SIDE - 0.5 * BOX_PX, (FORCED, 2)),
        }
        for name, centres in places.items():
            cut, kept = extract_particles(
                average, centres, pixel_size=PIXEL, box_px=BOX_PX,
                target_pixel_size=PIXEL * BOX_PX / SMALL, background_radius=RADIUS,
            )  # fmt: skip
            images[name] += list(cut)
            ctfs[name] += [rings.ctf] * int(kept.sum())
    rows = [
        {"picks_of": name, "picks": len(images[name]), "micrographs": micrographs, "best_score": best}
        | _resemblance(np.array(images[name]), ctfs[name], views, seed)
        for name in images
    ]
    show(rows, SHOWN)
    write_json(out, rows, seed=seed)
    return 0


def _views(rng: np.random.Generator) -> FloatArray:
    """Views (14, box, box) of two proteins in random directions, without noise, protein bright."""
    angles = [(rng.uniform(-180, 180), np.rad2deg(np.arccos(rng.uniform(-1, 1)))) for _ in range(14)]
    names = ["bgal"] * 12 + ["apof"] * 2
    return np.stack(
        [
            project(protein(name), angles=(rot, tilt, 0), size=BOX_PX, pixel_size=PIXEL)
            for name, (rot, tilt) in zip(names, angles, strict=True)
        ]
    ).astype(np.float32)


def _noise(seed: int) -> Rings:
    """Shot noise and amorphous ice under a CTF of 300 kV."""
    drawn = draw_rings(seed, signal=LEVELS["good"])
    u = np.random.default_rng(seed).uniform(8_000, 25_000)
    ctf = Ctf(
        defocus_u=u, defocus_v=u - 200.0, defocus_angle=30.0, voltage=300.0, cs=2.7, amplitude_contrast=0.1
    )
    return Rings(ctf=ctf, pixel_size=PIXEL, signal=drawn.signal, seed=seed)


def _found(average: FloatArray, rings: Rings, bank: TemplateBank) -> Picks:
    return find_by_template(average, bank, pixel_size=PIXEL, ctf=rings.ctf)


def _inside(centres: FloatArray) -> FloatArray:
    half = 0.5 * BOX_PX + 1
    return centres[((centres > half) & (centres < SIDE - half)).all(axis=1)]


def _resemblance(images: FloatArray, ctfs: list[Ctf], views: FloatArray, seed: int) -> dict[str, Any]:
    """How much averages of two halves of ``images`` (n, box, box) are like the templates."""
    if len(images) < FEWEST:
        return {"classes": 0, "correlation": None, "independent": None}
    order = np.random.default_rng(seed).permutation(len(images))
    halves = [_averages(images, ctfs, part, seed) for part in np.array_split(order, 2)]
    pixel = PIXEL * BOX_PX / SMALL
    turned = list(_turned(views, pixel))
    best, independent = [], []
    for average in halves[0]:
        value, place, template = max((_match(average, t) + (t,) for t in turned), key=lambda m: m[0])
        best.append(value)
        # The other half's most similar average, brought onto this one: it has not seen the template.
        other = max((_brought(b, average) for b in halves[1]), key=lambda pair: pair[0])[1]
        independent.append(_at(other, template, place))
    return {
        "classes": sum(map(len, halves)), "correlation": float(np.mean(best)),
        "independent": float(np.mean(independent)),
    }  # fmt: skip


def _averages(images: FloatArray, ctfs: list[Ctf], part: Any, seed: int) -> list[FloatArray]:
    """Class averages of one half, without detail finer than the templates have."""
    pixel = PIXEL * BOX_PX / SMALL
    background = background_of(SMALL, SMALL * pixel, RADIUS)

    def read(ids: Any) -> tuple[Any, Any]:
        chosen = part[np.asarray(ids)]
        return normalised(images[chosen], background), [ctfs[i] for i in chosen]

    engine = Classification(
        read, box=SMALL, pixel_size=pixel, diameter=2 * RADIUS, classes=max(2, len(part) // 60), seed=seed,
        max_resolution=LOW_PASS, per_class=10,
    )  # fmt: skip
    engine.add("noise", np.arange(len(part)), np.zeros(len(part), int))
    engine.update()
    found = engine.result()
    kept = [a for a, c in zip(found.averages, found.classes, strict=True) if c.count >= 10]
    return [_smooth(np.asarray(average, np.float64), pixel) for average in kept]


def _disc() -> Any:
    axis = (np.arange(SMALL) - SMALL // 2) * PIXEL * BOX_PX / SMALL
    return np.hypot(axis[:, None], axis) <= RADIUS


def _smooth(image: FloatArray, pixel: float) -> FloatArray:
    """Low-passed, zero mean and unit length within the particle's disc, zero outside."""
    k = np.hypot(sf.fftfreq(SMALL, pixel)[:, None], sf.rfftfreq(SMALL, pixel))
    image = sf.irfft2(sf.rfft2(image) * np.exp(-np.log(2) * (k * LOW_PASS) ** 4), s=image.shape)
    disc = _disc()
    image = (image - image[disc].mean()) * disc
    return np.asarray(image / max(np.linalg.norm(image), 1e-12))


def _turned(views: FloatArray, pixel: float) -> Iterator[FloatArray]:
    for view in views:
        small = view.reshape(BOX_PX // 2, 2, BOX_PX // 2, 2).mean(axis=(1, 3))
        small = scipy.ndimage.zoom(small, SMALL / len(small), order=1)
        for angle in range(0, 360, 6):
            yield _smooth(scipy.ndimage.rotate(small, angle, reshape=False, order=1), pixel)


def _match(image: FloatArray, template: FloatArray, reach: int = 4) -> tuple[float, tuple[int, int]]:
    """The best correlation of two images over moves of some px, and the move of ``template``."""
    cross = sf.irfft2(sf.rfft2(image) * sf.rfft2(template).conj(), s=image.shape)
    near = np.roll(cross, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    return float(near.max()), (int(y) - reach, int(x) - reach)


def _at(image: FloatArray, template: FloatArray, move: tuple[int, int]) -> float:
    return float((image * np.roll(template, move, (0, 1))).sum())


def _brought(image: FloatArray, onto: FloatArray) -> tuple[float, FloatArray]:
    """``image`` turned and moved onto another, and how alike they are then."""
    tried = []
    for angle in range(0, 360, 6):
        turned = scipy.ndimage.rotate(image, angle, reshape=False, order=1)
        value, move = _match(onto, turned)
        tried.append((value, np.roll(turned, move, (0, 1))))
    return max(tried, key=lambda pair: pair[0])
