# SPDX-License-Identifier: Apache-2.0
"""Masks as run lengths: how many pixels are alike, column by column, beginning with those outside the mask.

This is the order of COCO's uncompressed run-length encoding (Lin et al., arXiv 1405.0312, pycocotools).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lisa_ros.segmentation.answers import Mask


def runs_of(mask: Mask) -> list[int]:
    """The run lengths of a mask (H, W)."""
    pixels = np.asarray(mask, dtype=np.bool_).ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels, prepend=np.False_))
    return [int(length) for length in np.diff(np.concatenate(([0], changes, [pixels.size])))]


def mask_of(runs: Any, size: tuple[int, int]) -> Mask:
    """The mask of run lengths.

    Args:
        runs: from `runs_of`, or from a stranger.
        size: (H, W) in pixels.

    Raises:
        ValueError: they are not whole numbers of 0 or more, or their sum is not H * W.
    """
    height, width = size
    whole = isinstance(runs, list) and all(type(length) is int and 0 <= length <= height * width for length in runs)
    if not whole or sum(runs) != height * width:
        raise ValueError(f"run lengths are whole numbers that sum up to {height} x {width}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape((height, width), order="F")


class PixelBudget:
    """Bounds the masks of one message: a few bytes of run lengths can stand for a mask of any size."""

    def __init__(self, pixels: int) -> None:
        """Allows masks of so many pixels, all together."""
        self._left = pixels

    def take(self, size: tuple[int, int]) -> None:
        """Raises a ValueError unless a mask of this size (H, W) is allowed."""
        height, width = size
        if height < 1 or width < 1 or height * width > self._left:
            raise ValueError(f"a mask of {width} x {height} pixels: the masks of a message have too many pixels")
        self._left -= height * width
