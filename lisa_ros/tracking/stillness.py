# SPDX-License-Identifier: Apache-2.0
"""Whether two pictures show the same still scene, so that what the model saw in one serves for the other."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

SPOT_PIXELS = 8
"""Side of the squares that are compared by their means: large for a sensor's noise, small for a thing that matters."""


def same_scene(first: RgbImage, second: RgbImage, limit: float) -> bool:
    """Whether no spot differs by more than `limit`.

    A scene that changes slowly must be compared with the picture that was looked at, not with the one before.

    Args:
        first: RGB.
        second: RGB; one of another size is never the same.
        limit: largest difference, levels of 255; 0: only an identical picture is the same.
    """
    if first.shape != second.shape:
        return False
    return np.array_equal(first, second) or (limit > 0.0 and largest_difference(first, second) <= limit)


def largest_difference(first: RgbImage, second: RgbImage) -> float:
    """The largest absolute difference of the means of any square of SPOT_PIXELS, in any channel, levels of 255.

    Args:
        first: RGB.
        second: RGB, of the same size.
    """
    difference = cv2.subtract(first, second, dtype=cv2.CV_32F)
    return float(np.abs(cv2.blur(difference, (SPOT_PIXELS, SPOT_PIXELS))).max())
