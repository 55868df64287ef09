# SPDX-License-Identifier: Apache-2.0
"""Masks as run lengths: how many pixels are alike, column by column, beginning with those outside the mask.

This is the order of COCO's run-length encoding (Lin et al., arXiv 1405.0312, pycocotools). pycocotools itself trusts
what it decodes: run lengths that do not fit their image make it read beyond its memory. What comes from elsewhere, a
file or a message, is therefore decoded or checked here.
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


def runs_of_text(text: bytes) -> list[int]:
    """The run lengths in COCO's compressed text; whether they fit an image is not checked here, see `mask_of`.

    The code (cocoapi, maskApi.c, rleFrString): a character from "0" on holds 5 bits, the sixth bit means that more
    follow; from the fourth run on, a number is the difference to the run two before.

    Raises:
        ValueError: a character is not part of the code, the text ends within a number, or a run is negative.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError("a compressed run-length code has a character that is not part of the code")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift or any(run < 0 for run in runs):
        raise ValueError("a compressed run-length code is cut off, or has a run of less than 0 pixels")
    return runs
