# SPDX-License-Identifier: Apache-2.0
"""The networks' inputs from a camera image, CLIP's equal to upstream's to the last pixel; which images are accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.segmentation.errors import ImageError

SAM_PIXEL_MEAN = (123.675, 116.28, 103.53)
SAM_PIXEL_STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's RGB, in 0..255 (segment-anything, build_sam)."""

MAX_ASPECT = 256
"""Largest ratio of an image's long side to its short side: beyond it CLIP's resize would fill the memory, and in SAM's
input the short side would have no pixel."""


def check_image(image: NDArray[np.uint8]) -> None:
    """Raises an ImageError unless the image is RGB, uint8, (H, W, 3), not empty and within MAX_ASPECT."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f"an image is uint8 (H, W, 3) RGB; this is {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ImageError(
            f"an image of {width} x {height} pixels is too narrow a strip; one side may be at most "
            f"{MAX_ASPECT} times the other"
        )


def normalized(image: NDArray[np.uint8]) -> torch.Tensor:
    """RGB uint8 (H, W, 3) -> float32 (3, H, W) with SAM_PIXEL_MEAN and SAM_PIXEL_STD."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    return (pixels - torch.tensor(SAM_PIXEL_MEAN).view(3, 1, 1)) / torch.tensor(SAM_PIXEL_STD).view(3, 1, 1)


class ClipPreprocessing:
    """Makes CLIP's input; resizes with PIL as upstream's version of transformers (later ones use torchvision).

    Attributes:
        folder: the CLIP folder.
        size: (h, w) of the input, pixels.
        crops: whether the input shows the middle of the image alone.
    """

    def __init__(self, folder: Path) -> None:
        """Reads preprocessor_config.json of a CLIP folder.

        Raises:
            CheckpointError: it is missing, or has a value that CLIP does not have.
        """
        self.folder = folder
        read_json(folder / "preprocessor_config.json")
        try:
            self._processor = CLIPImageProcessorPil.from_pretrained(folder)
            height, width = self(np.zeros((48, 64, 3), dtype=np.uint8)).shape[2:]
        except Exception as error:  # whatever transformers raises for a value of another type
            raise CheckpointError(f"{folder}/preprocessor_config.json has a value that no CLIP has: {error}") from error
        self.size = (int(height), int(width))
        self.crops = bool(self._processor.do_center_crop)

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 (H, W, 3) -> float32 (1, 3, h, w), with `size` for h and w."""
        check_image(image)
        pixels = self._processor.preprocess(image, return_tensors="pt", input_data_format="channels_last")
        tensor: torch.Tensor = pixels["pixel_values"]
        return tensor
