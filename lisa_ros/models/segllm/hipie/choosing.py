# SPDX-License-Identifier: Apache-2.0
"""Which query is the answer: SegLLM's way from the queries' logits to one box and one mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import batched_nms, box_convert

REFERENCE, TARGET = 0, 1
"""Labels: the first half of the text tokens stands for the referenced mask, the second half for the requested one."""

_NMS_IOU = 0.7
_MAX_KEPT = 100


@dataclass(frozen=True)
class Kept:
    """The result of non-maximum suppression, best first. A query is in it twice, once for each label.

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
        """Index of the answer: the best target, or the best of all if no target is left."""
        targets = (self.label == TARGET).nonzero()
        return int(targets[0]) if len(targets) else 0


def keep(logits: torch.Tensor, iou_logits: torch.Tensor, boxes: torch.Tensor) -> Kept:
    """Non-maximum suppression, within each label.

    Args:
        logits: (n, text tokens), of each query for each text token.
        iou_logits: (n,), the predicted IoU of each query's box.
        boxes: (n, 4) x and y of the centre, width, height, 0 to 1.
    """
    similarity = logits.unflatten(1, (2, -1)).mean(-1).sigmoid()
    scores = (similarity * iou_logits.sigmoid().unsqueeze(1)).sqrt()
    best, label = scores.max(-1)
    left = batched_nms(box_convert(boxes, "cxcywh", "xyxy"), best, label, _NMS_IOU)
    score, index = scores[left].flatten().sort(descending=True, stable=True)
    score, index = score[:_MAX_KEPT], index[:_MAX_KEPT]
    return Kept(score, index % 2, left[index // 2])
