# SPDX-License-Identifier: Apache-2.0
"""Features of a data set's images from frozen vision encoders, computed once and cached."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.datasets.samples import DataError, Sample
from lisa_ros.models.common.preprocessing import ClipPreprocessing, check_image
from lisa_ros.models.lisa.encoded_image import FindRegion, ShownPart
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.sam.pixels import sam_pixels
from lisa_ros.segmentation.files.image_files import read_image
from lisa_ros.segmentation.region import Region

KEPT_BYTES = 2 * 1024**3
"""Features that are kept from one epoch to the next. 239 images take 1.5 GB with LISA-7B in bf16."""


@dataclass(frozen=True)
class FrozenFeatures:
    """The encoded form of an image; every question about it shares this.

    Attributes:
        tokens: (patches, hidden), the tokens that LLaMA gets.
        features: (1, prompt_width, grid, grid), the features that SAM's mask decoder gets.
        resized: (h, w) of the image inside SAM's square input.
        region: the part of the image that was encoded.
    """

    tokens: torch.Tensor
    features: torch.Tensor
    resized: tuple[int, int]
    region: Region

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of that part."""
        return self.region.height, self.region.width

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.tokens.nbytes + self.features.nbytes


class FeatureCache:
    """Encodes images and keeps the result: CLIP, projector and SAM's encoder are frozen, so features never change."""

    def __init__(
        self,
        network: LisaNetwork,
        clip: ClipPreprocessing,
        room: int = KEPT_BYTES,
        find_region: FindRegion | None = None,
    ) -> None:
        """Keeps up to `room` bytes in the computer's memory, of the images used last; find_region as Lisa's."""
        self._network, self._clip, self._room, self._find_region = network, clip, room, find_region
        self._kept: OrderedDict[str, FrozenFeatures] = OrderedDict()

    def __call__(self, sample: Sample) -> FrozenFeatures:
        """Features of a sample's image; on the CPU. Raises a DataError, see `image_of`."""
        features = self._kept.pop(sample.name, None) or self._encode(image_of(sample))
        self._kept[sample.name] = features
        while sum(kept.nbytes for kept in self._kept.values()) > self._room:
            self._kept.popitem(last=False)
        return features

    @torch.no_grad()
    def _encode(self, image: NDArray[np.uint8]) -> FrozenFeatures:
        part = ShownPart(image, self._find_region)
        pixels, resized = sam_pixels(part.pixels(), self._network.image_size)
        tokens = self._network.visual_tokens(self._clip(part.pixels()))[0].cpu()
        return FrozenFeatures(tokens, self._network.sam_features(pixels).cpu(), resized, part.region)


def image_of(sample: Sample) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of a sample.

    Raises:
        DataError: it cannot be read, or no network takes it.
    """
    try:
        image = read_image(sample.image) if isinstance(sample.image, Path) else sample.image()
        check_image(image)
    except (ValueError, OSError) as error:
        raise DataError(f"the image of {sample.name} cannot be used: {error}") from error
    return image
