# SPDX-License-Identifier: Apache-2.0
"""Which query is the answer: SegLLM's way from the queries' logits to one box and one mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import batched_nms, box_convert

REFERENCE, TARGET = 0, 1
"""Labels: the first half of the words means the mask that is referred to, the second half the one that is wanted."""

_NMS_IOU = 0.7
_LONGEST = 100


@dataclass(frozen=True)
class Kept:
    """What is left after non-maximum suppression, best first; a query is in it twice, once for each label.

    Attributes:
        score: (k,) 0 to 1.
        label: (k,) REFERENCE or TARGET.
        query: (k,) numbers of the queries.
    """

    score: torch.Tensor
    label: torch.Tensor
    query: torch.Tensor

    @property
    def chosen(self) -> int:
        """Place of the answer: the best target, or the best of all where no target is left."""
        targets = (self.label == TARGET).nonzero()
        return int(targets[0]) if len(targets) else 0


def keep(logits: torch.Tensor, iou_logits: torch.Tensor, boxes: torch.Tensor) -> Kept:
    """Non-maximum suppression, within each label.

    Args:
        logits: (n, words) of each query for each word.
        iou_logits: (n,) how well each query thinks that its box fits.
        boxes: (n, 4) x, y, w, h, 0 to 1.
    """
    likeness = logits.unflatten(1, (2, -1)).mean(-1).sigmoid()
    scores = (likeness * iou_logits.sigmoid().unsqueeze(1)).sqrt()
    best, label = scores.max(-1)
    left = batched_nms(box_convert(boxes, "cxcywh", "xyxy"), best, label, _NMS_IOU)
    score, place = scores[left].flatten().sort(descending=True, stable=True)
    score, place = score[:_LONGEST], place[:_LONGEST]
    return Kept(score, place % 2, left[place // 2])
