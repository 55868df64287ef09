# SPDX-License-Identifier: Apache-2.0
"""Images of how well training goes: rows of image, truth and what is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.simulation.scene import View

ROWS = 4


def gallery(views: Sequence[View], logits: torch.Tensor, truth: torch.Tensor) -> NDArray[np.uint8]:
    """A row for each of the first ROWS masks.

    Args:
        views: n, the view of each mask.
        logits: (n, MASK_SIDE, MASK_SIDE), found.
        truth: the same shape, the share of each coarse pixel that is wanted.

    Returns:
        RGB uint8, the rows below each other, three images wide; narrower rows are padded with black.
    """
    rows = [
        np.concatenate([view.rgb, _over(view, wanted > 0.5), _over(view, found > 0)], axis=1)
        for view, found, wanted in list(zip(views, logits, truth, strict=True))[:ROWS]
    ]
    width = max((row.shape[1] for row in rows), default=3)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(padded) if rows else np.zeros((1, 3, 3), np.uint8)


def _over(view: View, coarse: torch.Tensor) -> NDArray[np.uint8]:
    height, width = view.instances.shape
    side = max(height, width)
    mask = F.interpolate(coarse.float()[None, None], (side, side))[0, 0, :height, :width] > 0.5
    return draw_overlay(view.rgb, [mask.numpy()])
