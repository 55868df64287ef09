# SPDX-License-Identifier: Apache-2.0
"""From masks to boxes and points, in pixels."""

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
    """A point on the object: the mean of the mask's pixels, or, where that is off it, the mask pixel nearest to it.

    Args:
        mask: (H, W), not empty.

    Returns:
        (u, v) = (column, row) in pixels, pixel centres at whole numbers.

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
    """IoU of two masks (H, W); 1 where both are empty."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0


def union(masks: Iterable[Mask], shape: tuple[int, int]) -> Mask:
    """All masks in one; empty, of the given (H, W), where there are none."""
    together = np.zeros(shape, dtype=np.bool_)
    for mask in masks:
        together |= mask
    return together
