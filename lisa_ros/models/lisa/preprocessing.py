# SPDX-License-Identifier: Apache-2.0
"""A camera picture as CLIP and as SAM want to see it: pixel for pixel what upstream shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lisa_ros.models.lisa.configuration import read_json
from lisa_ros.models.lisa.errors import CheckpointError

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


def sam_pixels(image: NDArray[np.uint8], image_size: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """SAM's input: long side resized to image_size (PIL bilinear), normalized, then zeros right and below.

    Args:
        image: RGB uint8 (H, W, 3).
        image_size: side of SAM's square input, pixels.

    Returns:
        float32 (1, 3, image_size, image_size), and the (h, w) of the resized picture in it.
    """
    check_image(image)
    resized = ResizeLongestSide(image_size).apply_image(image)
    height, width = resized.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1).float()
    mean = torch.tensor(SAM_PIXEL_MEAN).view(3, 1, 1)
    std = torch.tensor(SAM_PIXEL_STD).view(3, 1, 1)
    padded = F.pad((pixels - mean) / std, (0, image_size - width, 0, image_size - height))
    return padded.unsqueeze(0), (height, width)
