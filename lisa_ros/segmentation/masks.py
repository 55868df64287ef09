# SPDX-License-Identifier: Apache-2.0
"""Geometry of masks in pixels: boxes, centroids, overlap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """The smallest upright box around a mask.

    Args:
        mask: (H, W).

    Returns:
        (x, y, width, height) in pixels; (0, 0, 0, 0) for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def centroid_pixel(mask: Mask) -> tuple[float, float]:
    """A point on the object: the mean of the mask's pixels, or the mask pixel nearest to it if that is off the mask.

    Args:
        mask: (H, W), not empty.

    Returns:
        (u, v) = (column, row) in pixels; pixel centres have whole numbers.

    Raises:
        ValueError: the mask is empty.
    """
    x, y, width, height = bounding_box(mask)
    if not width:
        raise ValueError("an empty mask has no centroid")
    rows, columns = np.nonzero(mask[y : y + height, x : x + width])
    rows, columns = rows + y, columns + x
    u, v = float(columns.mean()), float(rows.mean())
    if mask[round(v), round(u)]:
        return u, v
    nearest = int(np.argmin((columns - u) ** 2 + (rows - v) ** 2))
    return float(columns[nearest]), float(rows[nearest])


def intersection_over_union(one: Mask, other: Mask) -> float:
    """IoU of two masks (H, W); 1 if both are empty."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0


def union(masks: Iterable[Mask], shape: tuple[int, int]) -> Mask:
    """The union of masks of shape (H, W); without masks an empty one."""
    all_pixels = np.zeros(shape, dtype=np.bool_)
    for mask in masks:
        all_pixels |= mask
    return all_pixels
