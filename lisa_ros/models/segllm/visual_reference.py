# SPDX-License-Identifier: Apache-2.0
"""An object that a command refers to, as the model's input: its pixels on black, and its box."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.segllm.hipie.canvas import Canvas
from lisa_ros.models.segllm.hipie.network import CANVAS

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the canvas."""

_NUMBERS_BEGIN = 1 << 62
"""Above every token's id."""


@dataclass(frozen=True, eq=False)
class VisualReference:
    """The model's input for a referenced object.

    Attributes:
        pixels: uint8 (side, side, 3) RGB, the object in the upper left corner, black around it.
        box: y0, x0, y1, x1, 0 to 1 of the canvas. Rows come first, as in training.
    """

    pixels: NDArray[np.uint8]
    box: Box

    @cached_property
    def number(self) -> int:
        """Stands for the reference among token ids; equal pixels and boxes have the same number."""
        digest = hashlib.blake2b(self.pixels.tobytes(), digest_size=7)
        digest.update(np.asarray(self.box, dtype=np.float64).tobytes())
        return _NUMBERS_BEGIN + int.from_bytes(digest.digest(), "big")


def reference_to_answer(canvas: Canvas, mask: NDArray[np.bool_], box: Box) -> VisualReference:
    """A reference to an answer of the model itself, as the public code feeds it back.

    The object is cropped by the predicted box, not by the mask's own; an empty mask gives black pixels.

    Args:
        canvas: of the image.
        mask: (CANVAS, CANVAS).
        box: as predicted; cropped to the canvas.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)  # towards zero, before cropping
    x0, x1 = _edges(x0, x1)
    y0, y1 = _edges(y0, y1)
    crop = canvas.pixels[y0:y1, x0:x1] * mask[y0:y1, x0:x1, None]
    return VisualReference(_in_square(crop), (y0 / CANVAS, x0 / CANVAS, y1 / CANVAS, x1 / CANVAS))


def reference_to_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> VisualReference:
    """A reference to a mask from elsewhere, in the way in which training uses true masks: cropped by its own box.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: (H, W), not empty.
    """
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    crop = image[y0 : y1 + 1, x0 : x1 + 1] * mask[y0 : y1 + 1, x0 : x1 + 1, None]
    side = max(image.shape[:2])
    return VisualReference(_in_square(crop), (y0 / side, x0 / side, y1 / side, x1 / side))


def _edges(low: int, high: int) -> tuple[int, int]:
    """Both on the canvas, two pixels apart; one pixel if the box begins at the canvas's last pixel."""
    low = min(max(low, 0), CANVAS - 1)
    return low, min(max(high, low + 2), CANVAS)


def _in_square(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    square = np.zeros((max(height, width),) * 2 + (3,), dtype=np.uint8)
    square[:height, :width] = crop
    return square
