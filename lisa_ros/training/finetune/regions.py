# SPDX-License-Identifier: Apache-2.0
"""Whether the region of the objects, which the embedded model is given, shows what it is to learn.

The classifier that finds the region knows the objects of the simulated table. In images of other things the region can
miss what is asked for, and a model that is not shown it cannot learn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lisa_ros.datasets.samples import Sample, Truth
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.lisa import Lisa
from lisa_ros.models.lisa.encoded_image import FindRegion
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.training.scenes.frozen_features import image_of

INSIDE = 0.9
"""Share of a mask's pixels in the region, at least, if the region counts as showing it."""
LEAST_SHOWN = 0.97
"""Share of the masks that the regions show, at least, if the model learns from regions."""


def choose_images(lisa: Lisa, samples: Sequence[Sample]) -> str:
    """Lets the model encode whole images from now on where the regions do not show what these samples ask for.

    Returns:
        a sentence about it; empty where nothing changes.
    """
    if lisa.find_region is None:
        return ""
    shown, masks = shown_masks(samples, lisa.find_region)
    if shown >= LEAST_SHOWN * masks:
        return ""
    lisa.find_region = None
    return (
        f"the region of the objects, which this checkpoint is given of an image, shows {shown} of {masks} masks of the "
        "training images: the new checkpoint learns from whole images and will be given whole images"
    )


def shown_masks(samples: Sequence[Sample], find_region: FindRegion) -> tuple[int, int]:
    """How many of the samples' masks lie in the regions of their images, and how many there are; empty ones not."""
    shown = masks = 0
    for sample in tqdm(samples, desc="regions", unit="image", mininterval=10.0):
        region = find_region(image_of(sample))
        for truth in {id(asked.truth): asked.truth for asked in sample.rounds}.values():
            mask: Truth = truth()
            pixels = np.count_nonzero(mask == 1)
            masks += pixels > 0
            shown += 0 < INSIDE * pixels <= np.count_nonzero(region.of(mask) == 1)
    return shown, masks


def give_whole_images(folder: Path) -> None:
    """Deletes the classifier from a checkpoint folder's config.json: the model is given whole images."""
    raw = read_json(folder / "config.json")
    write_json(folder / "config.json", {name: value for name, value in raw.items() if name != OBJECT_PATCHES})
