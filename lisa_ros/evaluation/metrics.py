# SPDX-License-Identifier: Apache-2.0
"""gIoU and cIoU exactly as LISA's authors compute them, and the scores of SegLLM's rounds.

Sources: dvlab-research/LISA, train_ds.py (`validate`) and utils/utils.py (`intersectionAndUnionGPU`, `AverageMeter`);
berkeley-hipie/segllm, hipie_utils.py and llava_trainer.py (`evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.samples import IGNORE, Truth
from lisa_ros.segmentation.masks import bounding_box

Mask = NDArray[np.bool_]
"""(H, W)."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

_IOU_EPSILON = np.float32(1e-5)
_COUNT_EPSILON = np.float32(1e-5)
_CIOU_EPSILON = np.float32(1e-10)

# SegLLM's.
_ROUND_IOU_EPSILON = 1e-4
_ROUND_EPSILON = 1e-10


@dataclass(frozen=True)
class Overlap:
    """Intersection and union of a mask and the truth, in pixels; ignored pixels are in neither."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """I / (U + 1e-5) in float32; 1 where both are empty ("no-object target")."""
        return float(_iou(self))


def overlap(found: Mask, truth: Truth) -> Overlap:
    """Intersection and union of a mask and the truth, both (H, W), for the object class.

    Raises:
        ValueError: their sizes differ.
    """
    if found.shape != truth.shape:
        raise ValueError(f"the mask is {found.shape} (H, W), the truth {truth.shape}; they must have the same size")
    counted, true = truth != IGNORE, truth == 1
    return Overlap(int(np.count_nonzero(found & true)), int(np.count_nonzero((found & counted) | true)))


def box_around(mask: Mask) -> Box:
    """The box around a mask (H, W); its area is 0 where the mask is empty."""
    x, y, width, height = bounding_box(mask)
    return x, y, x + width, y + height


def boxes_iou(one: Box, other: Box) -> float:
    """IoU of two boxes; 0 where one has no area."""
    (x, y, right, bottom), (u, v, farther, lower) = one, other
    wide = max(0, min(right, farther) - max(x, u))
    high = max(0, min(bottom, lower) - max(y, v))
    either = (right - x) * (bottom - y) + (farther - u) * (lower - v) - wide * high
    return wide * high / either if either > 0 else 0.0


@dataclass(frozen=True)
class Score:
    """gIoU and cIoU of some masks; nan where there are none."""

    giou: float
    ciou: float


def score(images: Iterable[Sequence[Overlap]]) -> Score:
    """GIoU and cIoU.

    gIoU is the mean of the masks' IoU, cIoU the sum of intersections over the sum of unions. The values equal those of
    upstream's meters to the last digit: the meters add up float32 image by image, and their means have epsilons.

    Args:
        images: the masks of each image, in the order in which they were scored.
    """
    intersections = unions = ious = np.float32(0)
    count = 0
    for masks in images:
        if not masks:
            continue
        number = np.float32(len(masks))
        intersections += _total(np.float32(one.intersection) for one in masks)
        unions += _total(np.float32(one.union) for one in masks)
        ious += np.float32(_total(map(_iou, masks)) / number) * number
        count += len(masks)
    if not count:
        return Score(float("nan"), float("nan"))
    return Score(float(ious / (np.float32(count) + _COUNT_EPSILON)), float(intersections / (unions + _CIOU_EPSILON)))


@dataclass(frozen=True)
class RoundScore:
    """SegLLM's scores of one round.

    Attributes:
        mean_iou: mean of I / (U + 1e-4).
        overall_iou: sum of I over sum of U.
        box_precision: share of boxes with an IoU over 0.5.
    """

    mean_iou: float
    overall_iou: float
    box_precision: float


def score_round(overlaps: Sequence[Overlap], box_ious: Sequence[float]) -> RoundScore:
    """SegLLM's scores of the masks of one round, from all dialogues that have it; nan where there are none."""
    if not overlaps:
        return RoundScore(*[float("nan")] * 3)
    ious = sum(one.intersection / (one.union + _ROUND_IOU_EPSILON) for one in overlaps)
    intersections, unions = sum(one.intersection for one in overlaps), sum(one.union for one in overlaps)
    hits = sum(iou > 0.5 for iou in box_ious)
    return RoundScore(
        ious / (_ROUND_EPSILON + len(overlaps)),
        intersections / (_ROUND_EPSILON + unions),
        hits / (_ROUND_EPSILON + len(box_ious)),
    )


def _iou(one: Overlap) -> np.float32:
    iou = np.float32(one.intersection) / (np.float32(one.union) + _IOU_EPSILON)
    return np.float32(iou + np.float32(one.union == 0))


def _total(values: Iterable[np.float32]) -> np.float32:
    total = np.float32(0)
    for value in values:
        total += value
    return total
