# SPDX-License-Identifier: Apache-2.0
"""A sample's image, and how its truth is drawn for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.samples import IGNORE, ImageSource, Truth
from lisa_ros.segmentation.files.image_files import read_image
from lisa_ros.segmentation.overlay import draw_overlay


def load_image(source: ImageSource) -> NDArray[np.uint8]:
    """A sample's image, RGB (H, W, 3).

    Raises:
        ValueError: it cannot be read.
    """
    return read_image(source) if isinstance(source, Path) else source()


def draw_truth(image: NDArray[np.uint8], truth: Truth, caption: str = "") -> NDArray[np.uint8]:
    """The truth as a mask on an image; ignored pixels are greyed out. RGB."""
    shown = image.copy()
    shown[truth == IGNORE] = shown[truth == IGNORE] // 3 + np.uint8(85)
    return draw_overlay(shown, [truth == 1], caption)
