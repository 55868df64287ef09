# SPDX-License-Identifier: Apache-2.0
"""An object that a command refers to, as the model is shown it: cut out, on black, and the numbers of its box."""

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
class Shown:
    """What a reference is to the model.

    Attributes:
        pixels: uint8 (side, side, 3) RGB, the object in the upper left, black around it.
        box: y0, x0, y1, x1, 0 to 1 of the canvas. Rows come first, as the model was trained.
    """

    pixels: NDArray[np.uint8]
    box: Box

    @cached_property
    def number(self) -> int:
        """Stands among ids for exactly this: two that look the same have the same."""
        digest = hashlib.blake2b(self.pixels.tobytes(), digest_size=7)
        digest.update(np.asarray(self.box, dtype=np.float64).tobytes())
        return _NUMBERS_BEGIN + int.from_bytes(digest.digest(), "big")


def shown_again(canvas: Canvas, mask: NDArray[np.bool_], box: Box) -> Shown:
    """An answer of the model's own, as the public code feeds it back.

    It is cut out by the predicted box, not by the mask's own; where the mask is empty, all is black.

    Args:
        canvas: the picture.
        mask: (CANVAS, CANVAS).
        box: as predicted; what reaches outside of the canvas is cut off.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)  # towards zero, before the cut
    x0, x1 = _edges(x0, x1)
    y0, y1 = _edges(y0, y1)
    cut = canvas.pixels[y0:y1, x0:x1] * mask[y0:y1, x0:x1, None]
    return Shown(_in_square(cut), (y0 / CANVAS, x0 / CANVAS, y1 / CANVAS, x1 / CANVAS))


def shown_from_outside(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Shown:
    """A mask that somebody else made, as training shows true ones: cut out of the camera's picture by its own box.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: (H, W), not empty.
    """
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    cut = image[y0 : y1 + 1, x0 : x1 + 1] * mask[y0 : y1 + 1, x0 : x1 + 1, None]
    side = max(image.shape[:2])
    return Shown(_in_square(cut), (y0 / side, x0 / side, y1 / side, x1 / side))


def _edges(low: int, high: int) -> tuple[int, int]:
    """Both on the canvas, two pixels apart; one pixel where the box begins at the canvas's very end."""
    low = min(max(low, 0), CANVAS - 1)
    return low, min(max(high, low + 2), CANVAS)


def _in_square(cut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = cut.shape[:2]
    square = np.zeros((max(height, width),) * 2 + (3,), dtype=np.uint8)
    square[:height, :width] = cut
    return square
