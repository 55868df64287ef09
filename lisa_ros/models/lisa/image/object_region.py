# SPDX-License-Identifier: Apache-2.0
"""Finds the region of an image that shows objects, with CLIP's features of its patches.

A camera far from the table shows small objects. The embedded model is given the region around all of them instead of
the whole image, so that they are about as large as those that it was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.image.patch_classifier import PatchClassifier
from lisa_ros.segmentation.region import Region, box_around, region_around

LIKELY, CERTAIN = 0.35, 0.75
"""Patches with an object at the first probability belong to the region, if a neighbour does or they reach the second
one (hysteresis: Canny, A Computational Approach to Edge Detection, 1986, section VIII)."""
POSSIBLE = 0.2
"""Where no patch of a whole image is certain, the likeliest one counts if it has at least this probability. Small or
dark objects give no more, and in a whole image they are too small for the answer."""
MARGIN = 0.1
"""Around the objects, as a share of the longer side of their box."""
PASSES = 2
"""How often the region is searched for: the second time in the first one's result, where objects are larger."""
UNCHANGED = 0.5
"""A region of at least this share of the image is not searched again: its objects are large, and a pass takes time."""
ENOUGH_PIXELS = 288
"""Of the shorter side of an image that is searched: more are averaged first, which is faster than CLIP's resizing and
shows one and a half times what CLIP sees."""
WHOLE = 0.9
"""A region of at least this share of the image's area counts as the whole image."""


@dataclass(frozen=True)
class RegionFinder:
    """Finds the region of the objects; the same image always gives the same region.

    Attributes:
        features: the features of patches (B, patches, channels) that the classifier reads, from what `clip` makes.
        clip: CLIP's preprocessing, which must not crop.
        classifier: of CLIP's patches.
    """

    features: Callable[[torch.Tensor], torch.Tensor]
    clip: ClipPreprocessing
    classifier: PatchClassifier

    def __call__(self, image: NDArray[np.uint8]) -> Region:
        """The region of all objects, or the whole image where they fill it or none is found.

        Args:
            image: RGB uint8 (H, W, 3).
        """
        height, width = image.shape[:2]
        whole = region = Region(0, 0, height, width)
        for number in range(PASSES):
            box = self._box(np.ascontiguousarray(region.of(image)), CERTAIN if number else POSSIBLE)
            if box is None:
                break
            top, left, bottom, right = box
            found = (top + region.top, left + region.left, bottom + region.top, right + region.left)
            before, region = region, region_around(found, (height, width), (MARGIN,) * 4)
            if region.area >= UNCHANGED * before.area:
                break
        return whole if region.area >= WHOLE * whole.area else region

    def _box(self, image: NDArray[np.uint8], least: float) -> tuple[float, float, float, float] | None:
        """Top, left, bottom and right of all objects, pixels; None where no patch shows one; `least` of object_box."""
        with torch.inference_mode():
            probabilities = self.classifier.probabilities(self.features(self.clip(averaged(image)))[0])
        box = object_box(probabilities, least)
        if box is None:
            return None
        rows, columns = (side / len(probabilities) for side in image.shape[:2])
        return box[0] * rows, box[1] * columns, box[2] * rows, box[3] * columns


def averaged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The means of squares of pixels, as large as ENOUGH_PIXELS allows: (H, W, 3) -> (H / n, W / n, 3)."""
    height, width = image.shape[:2]
    side = min(height, width) // ENOUGH_PIXELS
    if side < 2:
        return image
    size = (round(width / side), round(height / side))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def object_box(probabilities: NDArray[np.float32], least: float = CERTAIN) -> tuple[float, float, float, float] | None:
    """Top, left, bottom and right of the objects, in patches; the outermost patches count as far as they are covered.

    Args:
        probabilities: (grid, grid), of each patch that it shows an object.
        least: probability of the likeliest patch, at least, for there to be an object.
    """
    certain = min(CERTAIN, max(least, float(probabilities.max())))
    count, groups = cv2.connectedComponents((probabilities >= min(LIKELY, certain)).astype(np.uint8), connectivity=8)
    shown = np.isin(groups, [group for group in range(1, count) if probabilities[groups == group].max() >= certain])
    box = box_around(shown)
    if box is None:
        return None
    cover = np.where(shown, probabilities * (CERTAIN / certain), 0.0)  # a box of one patch is not empty
    rows, columns = cover.max(axis=1), cover.max(axis=0)
    top, left, bottom, right = (int(side) for side in box)
    return (
        top + 1.0 - float(rows[top]),
        left + 1.0 - float(columns[left]),
        bottom - 1.0 + float(rows[bottom - 1]),
        right - 1.0 + float(columns[right - 1]),
    )
