# SPDX-License-Identifier: Apache-2.0
"""The square in which SegLLM's masks and boxes are: the image resized to a long side of 1024, padded with black."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide

from lisa_ros.models.common.preprocessing import check_image, normalized
from lisa_ros.models.segllm.hipie.network import CANVAS


@dataclass(frozen=True)
class Canvas:
    """An image on the square.

    Attributes:
        pixels: uint8 (CANVAS, CANVAS, 3) RGB.
        inner: (h, w) of the resized image on it.
        original: (H, W) of the image.
    """

    pixels: NDArray[np.uint8]
    inner: tuple[int, int]
    original: tuple[int, int]

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Canvas:
        """Puts an image, RGB uint8 (H, W, 3), on the square; resized by PIL, bilinear."""
        check_image(image)
        resized = ResizeLongestSide(CANVAS).apply_image(image)
        height, width = resized.shape[:2]
        pixels = np.zeros((CANVAS, CANVAS, 3), dtype=np.uint8)
        pixels[:height, :width] = resized
        return cls(pixels, (height, width), (image.shape[0], image.shape[1]))

    @property
    def scale(self) -> float:
        """Pixels of the canvas per pixel of the image."""
        return CANVAS / max(self.original)

    def normalized(self) -> torch.Tensor:
        """HIPIE's input, float32 (3, CANVAS, CANVAS); the padding is normalized, too."""
        return normalized(self.pixels)

    def upsampled(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits (h, w) of the whole canvas -> (CANVAS, CANVAS)."""
        return _resized(logits, (CANVAS, CANVAS))

    def in_original(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits (CANVAS, CANVAS) -> (H, W), the size of the image."""
        height, width = self.inner
        return _resized(logits[:height, :width], self.original)


def _resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]
