# SPDX-License-Identifier: Apache-2.0
"""Synthetic frames: a textured target that moves over a textured background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 160

RgbImage = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def pattern(seed: int, colour: tuple[int, int, int], height: int = HEIGHT, width: int = WIDTH) -> RgbImage:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0.0, 1.0, (height, width, 1)), (0, 0), 2.0)
    return np.clip(np.array(colour) + 120.0 * noise.reshape(height, width, 1), 0, 255).astype(np.uint8)


def placed(image: RgbImage, patch: RgbImage, x: int, y: int) -> tuple[RgbImage, Mask]:
    """The image with a patch whose corner is at (x, y), and the mask of the patch's visible pixels."""
    height, width = image.shape[:2]
    margin = max(patch.shape[:2]) + max(abs(x), abs(y))
    canvas = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_REPLICATE)
    visible = np.zeros(canvas.shape[:2], dtype=bool)
    rows = slice(margin + y, margin + y + patch.shape[0])
    columns = slice(margin + x, margin + x + patch.shape[1])
    canvas[rows, columns] = patch
    visible[rows, columns] = True
    inner = (slice(margin, margin + height), slice(margin, margin + width))
    return np.ascontiguousarray(canvas[inner]), np.ascontiguousarray(visible[inner])


def background(shift: int) -> RgbImage:
    """A background that moves left by `shift` pixels, as if the camera turned right."""
    return np.ascontiguousarray(pattern(1, (120, 130, 110), width=2 * WIDTH)[:, shift : shift + WIDTH])


def target() -> RgbImage:
    return pattern(2, (170, 60, 60), 36, 44)
