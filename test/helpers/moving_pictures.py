# SPDX-License-Identifier: Apache-2.0
"""Hand-made frames: a patterned thing that moves over a patterned ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 160

EncodedImage = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def pattern(seed: int, colour: tuple[int, int, int], height: int = HEIGHT, width: int = WIDTH) -> EncodedImage:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0.0, 1.0, (height, width, 1)), (0, 0), 2.0)
    return np.clip(np.array(colour) + 120.0 * noise.reshape(height, width, 1), 0, 255).astype(np.uint8)


def put(picture: EncodedImage, thing: EncodedImage, x: int, y: int) -> tuple[EncodedImage, Mask]:
    """The picture with the thing's corner at (x, y), and where that is seen."""
    height, width = picture.shape[:2]
    margin = max(thing.shape[:2]) + max(abs(x), abs(y))
    canvas = cv2.copyMakeBorder(picture, *[margin] * 4, cv2.BORDER_REPLICATE)
    seen = np.zeros(canvas.shape[:2], dtype=bool)
    rows = slice(margin + y, margin + y + thing.shape[0])
    columns = slice(margin + x, margin + x + thing.shape[1])
    canvas[rows, columns] = thing
    seen[rows, columns] = True
    inner = (slice(margin, margin + height), slice(margin, margin + width))
    return np.ascontiguousarray(canvas[inner]), np.ascontiguousarray(seen[inner])


def ground(shift: int) -> EncodedImage:
    """A ground that goes left by `shift` pixels, as for a camera that turns right."""
    return np.ascontiguousarray(pattern(1, (120, 130, 110), width=2 * WIDTH)[:, shift : shift + WIDTH])


def thing() -> EncodedImage:
    return pattern(2, (170, 60, 60), 36, 44)
