# SPDX-License-Identifier: Apache-2.0
"""The separate objects that one mask covers ("all the mugs"), by connected parts, area and depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.spatial.points import Depth, Mask, measured

GAP_PX = 5
"""Parts nearer to each other than this are one part: a model's mask has cracks."""
MIN_PART, MIN_PIXELS = 0.15, 40
"""A part is an object of its own if it has this share of the largest part's pixels, and so many pixels; otherwise it
belongs to the nearest object."""
IN_FRONT_M = 0.015
"""What separates two parts is in front of both if it is nearer to the camera by this."""
SAME_DEPTH_M = 0.1
"""Parts of one object behind another differ by at most this in depth."""


def separate_objects(mask: Mask, depth_m: Depth | None) -> list[Mask]:
    """Split a mask into the separate objects that it covers.

    Two parts are one object if what lies between them in the image is nearer to the camera than both: it hides the
    middle of one object. Without depth, that cannot be seen, and the parts are two objects.

    Args:
        mask: (H, W), not empty.
        depth_m: (H, W) metres along the optical axis, see `points.measured`; None: unknown.

    Returns:
        masks (H, W), from left to right, which together are the mask; the mask itself if it is one object.
    """
    x, y, width, height = bounding_box(mask)
    part = slice(y, y + height), slice(x, x + width)
    objects = _separate(mask[part], None if depth_m is None else depth_m[part])
    return [mask] if len(objects) == 1 else [_at(found, part, mask.shape) for found in objects]


def _separate(mask: Mask, depth_m: Depth | None) -> list[Mask]:
    """The same in the part of the image that holds the mask."""
    square = np.ones((GAP_PX, GAP_PX), np.uint8)
    count, joined = cv2.connectedComponents(cv2.dilate(mask.view(np.uint8), square))
    labels = np.where(mask, joined, 0)
    sizes = np.bincount(labels.ravel(), minlength=count)
    sizes[0] = 0
    large = [label for label in range(1, count) if sizes[label] >= max(MIN_PIXELS, MIN_PART * sizes.max())]
    if len(large) < 2:
        return [mask]
    parts = [np.asarray(labels == label) for label in large]
    if depth_m is not None:
        parts = _joined(parts, mask, depth_m)
    objects = _with_scraps(parts, np.asarray((labels > 0) & ~np.isin(labels, large)))
    return sorted(objects, key=lambda found: float(np.nonzero(found)[1].mean()))


def _at(found: Mask, part: tuple[slice, slice], shape: tuple[int, ...]) -> Mask:
    """A mask of a part of the image as one of the whole image."""
    whole = np.zeros(shape, dtype=np.bool_)
    whole[part] = found
    return whole


def _joined(parts: list[Mask], mask: Mask, depth_m: Depth) -> list[Mask]:
    """The parts, with those joined that something in front separates."""
    objects = list(parts)
    first = 0
    while first < len(objects):
        hidden = next(
            (i for i in range(first + 1, len(objects)) if _one_object(objects[first], objects[i], mask, depth_m)), 0
        )
        if hidden:
            objects[first] = objects[first] | objects.pop(hidden)
        else:
            first += 1
    return objects


def _one_object(one: Mask, other: Mask, mask: Mask, depth_m: Depth) -> bool:
    known = measured(depth_m)
    depths = [_median(depth_m[part & known]) for part in (one, other)]
    between = _median(depth_m[_line_between(one, other) & ~mask & known])
    if not np.isfinite([*depths, between]).all():
        return False
    return abs(depths[0] - depths[1]) <= SAME_DEPTH_M and between < min(depths) - IN_FRONT_M


def _median(values: NDArray[np.float32]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _line_between(one: Mask, other: Mask) -> Mask:
    """The pixels of the line between the nearest pixels of two parts."""
    end = _nearest(one, other)
    start = _nearest(np.asarray(_single(end, one.shape)), one)
    line = np.zeros(one.shape, dtype=np.uint8)
    cv2.line(line, start[::-1], end[::-1], (1,), thickness=3)
    return np.asarray(line > 0)


def _nearest(to: Mask, part: Mask) -> tuple[int, int]:
    """Row and column of the part's pixel that is nearest to `to`."""
    distance = np.where(part, cv2.distanceTransform((~to).view(np.uint8), cv2.DIST_L2, 5), np.inf)
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    return int(row), int(column)


def _single(pixel: tuple[int, int], shape: tuple[int, ...]) -> Mask:
    made = np.zeros(shape, dtype=np.bool_)
    made[pixel] = True
    return made


def _with_scraps(parts: list[Mask], scraps: Mask) -> list[Mask]:
    """The parts, each with the small pieces that are nearer to it than to another."""
    if not scraps.any():
        return parts
    distances = np.stack([cv2.distanceTransform((~part).view(np.uint8), cv2.DIST_L2, 5) for part in parts])
    nearest = distances.argmin(axis=0)
    return [np.asarray(part | (scraps & (nearest == index))) for index, part in enumerate(parts)]
