# SPDX-License-Identifier: Apache-2.0
"""Whether two images show the same still scene, so that one encoded image serves both."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

BLOCK_PX = 8
"""Side of the squares whose means are compared: averages a sensor's noise, and is smaller than objects that matter."""


def same_scene(first: RgbImage, second: RgbImage, limit: float) -> bool:
    """Whether the mean colour of no square differs by more than `limit`.

    A scene that changes slowly must be compared with the image that was encoded, not with the previous one.

    Args:
        first: RGB.
        second: RGB; an image of another size is never the same scene.
        limit: Largest difference, levels of 255; 0: only an identical image is the same scene.
    """
    if first.shape != second.shape:
        return False
    return np.array_equal(first, second) or (limit > 0.0 and largest_difference(first, second) <= limit)


def largest_difference(first: RgbImage, second: RgbImage) -> float:
    """The largest absolute difference of the means of any square of BLOCK_PX, in any channel, levels of 255.

    Args:
        first: RGB.
        second: RGB, of the same size.
    """
    difference = cv2.subtract(first, second, dtype=cv2.CV_32F)
    return float(np.abs(cv2.blur(difference, (BLOCK_PX, BLOCK_PX))).max())
