# SPDX-License-Identifier: Apache-2.0
"""OMG-Seg's panoptic pass after the decoder: the class of each query, and the queries that an image consists of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.lira.configuration import OmgSizes

LOGIT_SCALE = 4.6052
"""Class logits are multiplied by exp of it, about 100 (CLIP's temperature). In bfloat16 it is 4.59375, and the factor
98.86, as in LIRA's own tools, which round every weight first."""

_CHUNK = 16
"""Queries that are resized to the input's size at a time: 300 of them at 1024 x 1024 would take 1.2 GB."""


@dataclass(frozen=True)
class Proposals:
    """The decoded learned queries.

    Attributes:
        masks: logits (queries, h, w), a quarter of the input's size.
        classes: logits (queries, classes + 1), "nothing" last.
        embeddings: (queries, 2 * width), feature and position of each.
    """

    masks: torch.Tensor
    classes: torch.Tensor
    embeddings: torch.Tensor


class ClassHead(nn.Module):
    """A query's similarity to the class names in CLIP's space (OMG-Seg, section 3.2).

    Attributes:
        class_embeddings: (classes, prototypes, text_width) of CLIP's text encoder, of length 1.
        logit_scale: of the logits, see LOGIT_SCALE.
    """

    def __init__(self, sizes: OmgSizes) -> None:
        super().__init__()
        width = sizes.width
        self.mask_pooling_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.cls_proj = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, sizes.text_width)
        )
        self.class_embeddings = nn.Parameter(torch.empty(sizes.classes, sizes.prototypes, sizes.text_width))
        self.logit_scale = LOGIT_SCALE

    def forward(self, query: torch.Tensor, masks: torch.Tensor, mask_features: torch.Tensor) -> torch.Tensor:
        """Class logits.

        Args:
            query: (B, n, width), normalized.
            masks: logits (B, n, h, w).
            mask_features: (B, width, h, w).

        Returns:
            (B, n, classes + 1).
        """
        inside = (masks > 0).to(mask_features.dtype)
        pooled = torch.einsum("bchw,bnhw->bnc", mask_features, inside) / (inside.sum((-1, -2)).unsqueeze(-1) + 1e-8)
        embedded = F.normalize(self.cls_proj(query + self.mask_pooling_proj(pooled)), dim=-1)
        similarity = torch.einsum("bnd,cpd->bncp", embedded, self.class_embeddings).amax(-1)
        scale = torch.tensor(self.logit_scale, device=similarity.device).exp()
        return scale * F.pad(similarity, (0, 1))  # "nothing" is a row of zeros


def pixel_queries(found: Proposals, image_size: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Assign queries to the cells of a coarse grid.

    A query weighs (s + 1) / 2 times its mask's probability, s being its likeliest class's (LIRA's
    panoptic_postprocess).

    Args:
        found: of the panoptic pass.
        image_size: side of the input, pixels; masks are resized to it first.
        side: of the grid.

    Returns:
        (side * side, 2 * width), the queries' embeddings mixed for each cell; and bool (queries,), whether a query is
        the likeliest in one cell or more.
    """
    score = found.classes.softmax(-1)[:, :-1].amax(-1)
    parts = [
        _shrunk(masks, share, image_size, side)
        for masks, share in zip(found.masks.split(_CHUNK), score.split(_CHUNK), strict=True)
    ]
    weights = torch.cat(parts)
    kept = torch.zeros(len(weights), dtype=torch.bool, device=weights.device)
    kept[weights.argmax(0)] = True
    return weights.softmax(0).T @ found.embeddings, kept


def _shrunk(masks: torch.Tensor, score: torch.Tensor, image_size: int, side: int) -> torch.Tensor:
    """Weights (n, side * side) of queries; resized as in the public code, without antialiasing."""
    size = (image_size, image_size)
    full = F.interpolate(masks.unsqueeze(0), size, mode="bilinear", align_corners=False).sigmoid()
    weights = (0.5 * score + 0.5).view(1, -1, 1, 1) * full
    return F.interpolate(weights, (side, side), mode="bilinear", align_corners=False)[0].flatten(1)
