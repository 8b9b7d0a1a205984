"""Cut particles out of a micrograph: protein bright, background flat with mean 0 and deviation 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextpyp_nb.kernels.backend import array_module
from nextpyp_nb.kernels.fourier import fourier_resize
from nextpyp_nb.records import FloatArray

_AT_A_TIME = 64


def cropped_box(box_px: int, pixel_size: float, target_pixel_size: float | None) -> int:
    """Even number of px that shows ``box_px`` px at about ``target_pixel_size`` (Å), never finer."""
    if target_pixel_size is None or target_pixel_size <= pixel_size:
        return box_px
    return max(8, 2 * round(box_px * pixel_size / target_pixel_size / 2))


def extract_particles(
    average: Any,
    centres: FloatArray,
    *,
    pixel_size: float,
    box_px: int,
    target_pixel_size: float | None = None,
    background_radius: float | None = None,
) -> tuple[Any, Any]:
    """Boxes around ``centres`` (n, 2) in (y, x) px: images float32 (kept, b, b) and bool (n,), who was kept.

    ``average`` (y, x) has particles dark, px of ``pixel_size`` Å. The centre, rounded to a px, comes to px
    b // 2; a box that leaves the micrograph is not kept. Contrast is inverted and the box Fourier-cropped
    to ``b = cropped_box(...)``, so a px is exactly ``pixel_size * box_px / b``. The plane through the
    background, outside ``background_radius`` (Å, 0.45 boxes if None), is taken off, its deviation made 1.
    """
    if box_px < 8 or box_px % 2:
        raise ValueError(f"the box must be an even number of px, 8 or more; got {box_px}")
    xp = array_module(average)
    corners = np.rint(np.asarray(centres, np.float64).reshape(-1, 2)).astype(np.intp) - box_px // 2
    kept = ((corners >= 0) & (corners + box_px <= np.asarray(average.shape))).all(axis=1)
    size = cropped_box(box_px, pixel_size, target_pixel_size)
    extent = box_px * pixel_size
    background = background_of(
        size, extent, 0.45 * extent if background_radius is None else background_radius
    )
    images = xp.empty((int(kept.sum()), size, size), np.float32)
    inside = np.arange(box_px)
    for start in range(0, len(images), _AT_A_TIME):
        y, x = xp.asarray(corners[kept][start : start + _AT_A_TIME, :, None] + inside).transpose(1, 0, 2)
        boxes = -average[y[:, :, None], x[:, None, :]].astype(np.float32)
        # The level of the micrograph goes first, lest it costs the plane its digits.
        boxes -= boxes.mean(axis=(1, 2), keepdims=True)
        images[start : start + len(boxes)] = normalised(fourier_resize(boxes, (size, size)), background)
    return images, kept


def background_of(size: int, extent: float, radius: float) -> NDArray[np.bool_]:
    """Bool (size, size): px further than ``radius`` (Å) from the centre px of a box ``extent`` Å wide."""
    at = (np.arange(size) - size // 2) * (extent / size)
    background: NDArray[np.bool_] = np.hypot(at[:, None], at[None, :]) > radius
    if background.sum() < size:
        raise ValueError(
            f"no background is left outside a radius of {radius:.0f} Å in a box of {extent:.0f} Å: "
            "use a larger box or a smaller background radius"
        )
    return background


def normalised(boxes: Any, background: NDArray[np.bool_]) -> Any:
    """``boxes`` (n, b, b) less the plane through their background, over the background's deviation."""
    xp = array_module(boxes)
    size = boxes.shape[-1]
    y, x = np.meshgrid(*2 * (np.linspace(-1.0, 1.0, size),), indexing="ij")
    plane = np.stack([np.ones_like(y), y, x])
    fit = xp.asarray(np.linalg.pinv(plane[:, background].T), np.float32)
    outside = xp.asarray(background.ravel())
    flat = boxes.reshape(len(boxes), -1)
    flat = flat - (flat[:, outside] @ fit.T) @ xp.asarray(plane.reshape(3, -1), np.float32)
    deviation = flat[:, outside].std(axis=1, keepdims=True)
    return (flat / xp.maximum(deviation, 1e-12)).reshape(boxes.shape)
