# SPDX-License-Identifier: Apache-2.0
"""A camera picture as CLIP and as SAM want to see it: pixel for pixel what upstream shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lisa_ros.models.common.configuration import read_json
from lisa_ros.models.common.errors import CheckpointError

SAM_PIXEL_MEAN = (123.675, 116.28, 103.53)
SAM_PIXEL_STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's RGB, in 0..255 (segment-anything, build_sam)."""


MAX_ASPECT = 256
"""Long side over short side of the longest strip that is taken for a picture: CLIP's resize of a longer one would fill
the memory, and in SAM's input its short side would be nothing."""


def check_image(image: NDArray[np.uint8]) -> None:
    """Raises a ValueError unless the image is RGB, uint8, (H, W, 3), not empty and no strip beyond MAX_ASPECT."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image is uint8 (H, W, 3) RGB; this is {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f"an image of {width} x {height} pixels is a strip; the longest has sides of 1 to {MAX_ASPECT}"
        )


class ClipPreprocessing:
    """CLIP's input, resized by PIL as upstream's pinned transformers did (later ones resize with torchvision).

    Attributes:
        folder: the CLIP folder.
        size: (h, w) of the input, pixels.
    """

    def __init__(self, folder: Path) -> None:
        """Reads preprocessor_config.json of a CLIP folder.

        Raises:
            CheckpointError: it is missing, or cannot be worked by.
        """
        self.folder = folder
        read_json(folder / "preprocessor_config.json")
        try:
            self._processor = CLIPImageProcessorPil.from_pretrained(folder)
            height, width = self(np.zeros((48, 64, 3), dtype=np.uint8)).shape[2:]
        except Exception as error:  # whatever transformers raises for a value of another kind
            raise CheckpointError(f"{folder}/preprocessor_config.json has a value that no CLIP has: {error}") from error
        self.size = (int(height), int(width))

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 (H, W, 3) -> float32 (1, 3, h, w), h and w as the CLIP folder says."""
        check_image(image)
        pixels = self._processor.preprocess(image, return_tensors="pt", input_data_format="channels_last")
        tensor: torch.Tensor = pixels["pixel_values"]
        return tensor
