# SPDX-License-Identifier: Apache-2.0
"""HIPIE's decoder: queries attend to the image in several layers, and each layer refines their boxes.

Ten queries stand for the background. They come first, start from learned boxes (some lie outside of the image), and
are dropped at the end; until then the other queries attend to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.segllm.hipie.transformer.deformable import HEADS, DeformableAttention, Size
from lisa_ros.models.segllm.hipie.transformer.perceptron import Perceptron
from lisa_ros.models.segllm.hipie.transformer.sines import CHANNELS, box_sines

_EPSILON = 1e-5


class DecoderLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the image, and a feed-forward part; a norm after each."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(width)
        self.norm1 = nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self,
        queries: torch.Tensor,
        positions: torch.Tensor,
        boxes: torch.Tensor,
        memory: torch.Tensor,
        sizes: Sequence[Size],
    ) -> torch.Tensor:
        """(n, width) queries with positions (n, width) and boxes (n, 4), on (tokens, width) -> (n, width)."""
        placed = (queries + positions).unsqueeze(0)
        mixed, _ = self.self_attn(placed, placed, queries.unsqueeze(0), need_weights=False)
        queries = self.norm2(queries + mixed[0])
        queries = self.norm1(queries + self.cross_attn(queries + positions, boxes, memory, sizes))
        out: torch.Tensor = self.norm3(queries + self.linear2(F.relu(self.linear1(queries))))
        return out


@dataclass(frozen=True)
class Decoded:
    """The decoded queries, those of the background first.

    Attributes:
        queries: (n, width).
        boxes: (n, 4) x and y of the centre, width, height, 0 to 1.
        attended: (n, 4), the boxes that the last layer attended to.
    """

    queries: torch.Tensor
    boxes: torch.Tensor
    attended: torch.Tensor


class Decoder(nn.Module):
    """The layers, each followed by a refinement of the boxes."""

    def __init__(self, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, inner) for _ in range(layers))
        self.bbox_embed = nn.ModuleList(Perceptron([width, width, width, 4]) for _ in range(layers))
        self.ref_point_head = Perceptron([4 * CHANNELS, width, width])

    def forward(
        self, queries: torch.Tensor, boxes: torch.Tensor, memory: torch.Tensor, sizes: Sequence[Size]
    ) -> Decoded:
        """(n, width) queries with their first boxes (n, 4), on (tokens, width)."""
        attended = boxes
        for layer, refine in zip(self.layers, self.bbox_embed, strict=True):
            attended = boxes
            queries = layer(queries, self.ref_point_head(box_sines(boxes)), boxes, memory, sizes)
            boxes = (refine(queries) + _inverse_sigmoid(boxes)).sigmoid()
        return Decoded(queries, boxes, attended)


def _inverse_sigmoid(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return (x.clamp(min=_EPSILON) / (1 - x).clamp(min=_EPSILON)).log()
