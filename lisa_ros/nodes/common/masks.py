# SPDX-License-Identifier: Apache-2.0
"""Masks of ObjectMask messages, as images or run lengths, to arrays and back."""

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lisa_ros.images.image_headers import MAX_PIXELS
from lisa_ros.msg import ObjectMask, RunLengthMask
from lisa_ros.nodes.common.conversions import ImageError, rgb_image_from
from lisa_ros.segmentation.files.run_lengths import mask_of as mask_of_runs
from lisa_ros.segmentation.files.run_lengths import runs_of_text


def run_length_message(mask: NDArray[np.bool_]) -> RunLengthMask:
    """A mask (H, W) in COCO's compressed run-length encoding."""
    encoded = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    height, width = mask.shape
    return RunLengthMask(height=height, width=width, counts=encoded["counts"].decode("ascii"))


def mask_of(message: ObjectMask) -> NDArray[np.bool_] | None:
    """An object's mask (H, W), whichever way it was sent; None: the command asked for none.

    Raises:
        ImageError: The message is inconsistent.
    """
    runs = message.run_length_mask
    if runs.height and runs.width:
        return _decoded(runs)
    if not message.mask.height:
        return None
    return rgb_image_from(message.mask)[:, :, 0] > 0


def _decoded(message: RunLengthMask) -> NDArray[np.bool_]:
    height, width = message.height, message.width
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"The run-length mask has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million are decoded."
        )
    try:
        return mask_of_runs(runs_of_text(message.counts.encode("ascii")), (height, width))
    except ValueError as error:
        raise ImageError(f"The run-length mask cannot be decoded: {error}.") from error
