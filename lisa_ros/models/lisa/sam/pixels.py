# SPDX-License-Identifier: Apache-2.0
"""SAM's input from a camera image, equal to segment-anything's to the last pixel."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide

from lisa_ros.models.common.preprocessing import check_image, normalized


def sam_pixels(image: NDArray[np.uint8], image_size: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """SAM's input: long side resized to image_size (PIL bilinear), normalized, then zeros right and below.

    Args:
        image: RGB uint8 (H, W, 3).
        image_size: side of SAM's square input, pixels.

    Returns:
        float32 (1, 3, image_size, image_size), and the (h, w) of the resized image in it.
    """
    check_image(image)
    resized = ResizeLongestSide(image_size).apply_image(image)
    height, width = resized.shape[:2]
    padded = F.pad(normalized(resized), (0, image_size - width, 0, image_size - height))
    return padded.unsqueeze(0), (height, width)
